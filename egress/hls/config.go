package hls

import (
	"errors"
	"fmt"
	"time"
)

// Modes of a [Server].
const (
	OnDemand = "on_demand" // a camera is followed while somebody watches it
	Always   = "always"    // every camera is followed, and its segments are written as files
)

// Config is a server's settings. The zero value of each field means its
// default.
type Config struct {
	Mode   string        // OnDemand (the default) or Always
	Window time.Duration // footage in a live playlist; default 60s, and never less than 6 segments or 3 target durations

	// Files of complete segments and inits, in mode Always.
	Dir        string        // private to this server, which removes what it finds there at its start; no default
	FileLinger time.Duration // a file stays that long after its segment left the window; default 60s
	Reserve    int64         // bytes of disk that stay free: below it there are no files; default 3 GiB

	// Limits.
	Linger           time.Duration // a camera is followed that long after its last request; default 30s
	FirstWait        time.Duration // a playlist waits that long for a camera's first footage; default 5s
	MaxTails         int           // cameras that are followed; default 256
	MaxWaiters       int           // requests that wait for something that is to come, and segments that wait to be made; default 4096
	MaxRebuilds      int           // segments that are made from the log at a time; default 4
	CacheBytes       int64         // of segments at hand; default 256 MiB
	LiveBytes        int64         // of these, of the segments that a followed camera has at hand before anybody asks: the newest always, older ones within this; default 4 MiB
	ProvisionalBytes int64         // of parts a camera that have no entry yet; default 32 MiB
	LoadTimeout      time.Duration // of reading one segment from the log; default 10s
	MaxAge           time.Duration // segments may be kept by caches that long: less than the log's retention; default 1h

	// Known says whether there is such a camera; nil: any may be. An unknown
	// one gets 404 at once, where a known one without footage gets 503.
	Known func(camera string) bool

	free func(dir string) (int64, error) // bytes of disk; tests have their own
}

func (c Config) withDefaults() (Config, error) {
	if c.free == nil {
		c.free = freeBytes
	}
	err := errors.Join(
		setDefault(&c.Window, 60*time.Second, "window"),
		setDefault(&c.FileLinger, 60*time.Second, "file_linger"),
		setDefault(&c.Linger, 30*time.Second, "linger"),
		setDefault(&c.FirstWait, 5*time.Second, "first_wait"),
		setDefault(&c.LoadTimeout, 10*time.Second, "load_timeout"),
		setDefault(&c.MaxAge, time.Hour, "max_age"),
		setDefault(&c.Reserve, 3<<30, "reserve"),
		setDefault(&c.CacheBytes, 256<<20, "cache_bytes"),
		setDefault(&c.LiveBytes, 4<<20, "live_bytes"),
		setDefault(&c.ProvisionalBytes, 32<<20, "provisional_bytes"),
		setDefault(&c.MaxTails, 256, "max_tails"),
		setDefault(&c.MaxWaiters, 4096, "max_waiters"),
		setDefault(&c.MaxRebuilds, 4, "max_rebuilds"),
	)
	if err != nil {
		return c, err
	}
	switch c.Mode {
	case "", OnDemand:
		c.Mode = OnDemand
	case Always:
		if c.Dir == "" {
			return c, errors.New("hls: mode always needs a directory for its files")
		}
	default:
		return c, fmt.Errorf("hls: mode %q: want %s or %s", c.Mode, OnDemand, Always)
	}
	return c, nil
}

// setDefault fills a field that is 0. One below 0 is an error.
func setDefault[T ~int | ~int64](field *T, value T, name string) error {
	if *field < 0 {
		return fmt.Errorf("hls: %s is below 0", name)
	}
	if *field == 0 {
		*field = value
	}
	return nil
}
