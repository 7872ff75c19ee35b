package hls

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Modes of a [Server].
const (
	OnDemand = "on_demand" // a camera is followed while somebody watches it
	Always   = "always"    // every camera is followed, and its segments are written as files
)

// Config is the settings of a server. The zero value of a field means its
// default.
type Config struct {
	Mode   string        // OnDemand (the default) or Always
	Window time.Duration // footage in a live playlist; default 60s, and never less than 6 segments or 3 target durations

	// Files of complete segments and inits, in mode Always.
	Dir        string        // for this server alone, which removes what it finds there when it starts; no default
	FileLinger time.Duration // how long a file stays after its segment has left the window; default 60s
	Reserve    int64         // bytes of disk that stay free: below it there are no files; default 3 GiB

	// Limits.
	MaxRange         time.Duration // the longest range of time of a playlist; default 24h
	MaxDVR           time.Duration // the most footage that a live playlist lists on request; default 6h
	Linger           time.Duration // how long a camera is followed after its last request; default 30s
	FirstWait        time.Duration // how long a playlist waits for a camera's first footage; default 5s
	MaxTails         int           // cameras that are followed at a time; default 256
	MaxWaiters       int           // requests that wait for footage that is to come, and reads of the log that are under way or wait; default 4096
	MaxLookups       int           // reads of indexes at a time, for segments, parts and inits that no tail knows; default 8
	MaxRebuilds      int           // segments that are made from the log at a time; default 4
	MaxMisses        int           // answers of indexes that are kept for a moment, also "there is no such footage"; default 4096
	CacheBytes       int64         // segments in memory; default 256 MiB
	LiveBytes        int64         // of these, the newest segments of one followed camera, which are in memory before a request comes; the newest one always is; default 4 MiB
	RangeCache       int64         // playlists of ranges that get no more footage, in memory; one of 24 hours has up to 3 MB; default 32 MiB
	ProvisionalBytes int64         // parts of one camera that have no entry yet; default 32 MiB
	LoadTimeout      time.Duration // of reading one segment from the log. Footage that lies beyond the end of its partition for as long counts as lost; default 10s
	WriteTimeout     time.Duration // a client is cut off that takes longer for 1 MiB of a response; default 30s
	MaxAge           time.Duration // how long caches may keep segments: less than the log's retention; default 1h

	// Known reports whether a camera exists. nil: any camera may exist. Requests
	// for an unknown camera get 404 at once, those for a known one without footage
	// get 503.
	Known func(camera string) bool
	// MayWatch reports whether the sender of r may watch a rendition, for the multivariant
	// playlist of a camera, which lists several. nil: everybody may watch all.
	MayWatch func(r *http.Request, camera, rendition string) bool

	free func(dir string) (int64, error) // free bytes of the disk; tests replace it
}

// withDefaults fills in and checks c.
func (c Config) withDefaults() (Config, error) {
	c.Mode = cmp.Or(c.Mode, OnDemand)
	err := errors.Join(
		setDefault(&c.Window, 60*time.Second, "window"),
		setDefault(&c.FileLinger, 60*time.Second, "file_linger"),
		setDefault(&c.Linger, 30*time.Second, "linger"),
		setDefault(&c.FirstWait, 5*time.Second, "first_wait"),
		setDefault(&c.MaxRange, 24*time.Hour, "max_range"),
		setDefault(&c.MaxDVR, 6*time.Hour, "max_dvr"),
		setDefault(&c.LoadTimeout, 10*time.Second, "load_timeout"),
		setDefault(&c.WriteTimeout, 30*time.Second, "write_timeout"),
		setDefault(&c.MaxAge, time.Hour, "max_age"),
		setDefault(&c.Reserve, 3<<30, "reserve"),
		setDefault(&c.CacheBytes, 256<<20, "cache_bytes"),
		setDefault(&c.LiveBytes, 4<<20, "live_bytes"),
		setDefault(&c.RangeCache, 32<<20, "range_cache"),
		setDefault(&c.ProvisionalBytes, 32<<20, "provisional_bytes"),
		setDefault(&c.MaxTails, 256, "max_tails"),
		setDefault(&c.MaxWaiters, 4096, "max_waiters"),
		setDefault(&c.MaxLookups, 8, "max_lookups"),
		setDefault(&c.MaxRebuilds, 4, "max_rebuilds"),
		setDefault(&c.MaxMisses, 4096, "max_misses"),
	)
	switch {
	case err != nil:
		return c, err
	case c.Mode == Always && c.Dir == "":
		return c, errors.New("hls: mode always needs a directory for its files")
	case c.Mode != Always && c.Mode != OnDemand:
		return c, fmt.Errorf("hls: mode %q: want %s or %s", c.Mode, OnDemand, Always)
	}
	return c, nil
}

// setDefault sets a field that is 0 to its default. A field below 0 is an
// error.
func setDefault[T ~int | ~int64](field *T, value T, name string) error {
	if *field < 0 {
		return fmt.Errorf("hls: %s is below 0", name)
	}
	*field = cmp.Or(*field, value)
	return nil
}
