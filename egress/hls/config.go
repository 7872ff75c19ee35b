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
	Reserve    int64         // bytes of disk that stay free: below it no file is written; default 1 GiB

	// Limits.
	Linger           time.Duration // a camera is followed that long after its last request; default 30s
	FirstWait        time.Duration // a playlist waits that long for a camera's first footage; default 5s
	MaxTails         int           // cameras that are followed; default 256
	MaxWaiters       int           // requests that wait for something that is to come, and segments that wait to be made; default 4096
	MaxRebuilds      int           // segments that are made from the log at a time; default 4
	CacheBytes       int64         // of segments at hand; default 256 MiB
	ProvisionalBytes int64         // of parts a camera that have no entry yet; default 32 MiB
	LoadTimeout      time.Duration // of reading one segment from the log; default 10s
	MaxAge           time.Duration // segments may be kept by caches that long: less than the log's retention; default 1h

	// Known says whether there is such a camera; nil: any may be. An unknown
	// one gets 404 at once, where a known one without footage gets 503.
	Known func(camera string) bool
}

func (c Config) withDefaults() (Config, error) {
	durations := []struct {
		field *time.Duration
		value time.Duration
		name  string
	}{
		{&c.Window, 60 * time.Second, "window"}, {&c.FileLinger, 60 * time.Second, "file_linger"},
		{&c.Linger, 30 * time.Second, "linger"}, {&c.FirstWait, 5 * time.Second, "first_wait"},
		{&c.LoadTimeout, 10 * time.Second, "load_timeout"}, {&c.MaxAge, time.Hour, "max_age"},
	}
	for _, d := range durations {
		if *d.field < 0 {
			return c, fmt.Errorf("hls: %s is below 0", d.name)
		}
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	sizes := []struct {
		field *int64
		value int64
		name  string
	}{
		{&c.Reserve, 1 << 30, "reserve"}, {&c.CacheBytes, 256 << 20, "cache_bytes"},
		{&c.ProvisionalBytes, 32 << 20, "provisional_bytes"},
	}
	for _, s := range sizes {
		if *s.field < 0 {
			return c, fmt.Errorf("hls: %s is below 0", s.name)
		}
		if *s.field == 0 {
			*s.field = s.value
		}
	}
	counts := []struct {
		field *int
		value int
		name  string
	}{
		{&c.MaxTails, 256, "max_tails"}, {&c.MaxWaiters, 4096, "max_waiters"}, {&c.MaxRebuilds, 4, "max_rebuilds"},
	}
	for _, n := range counts {
		if *n.field < 0 {
			return c, fmt.Errorf("hls: %s is below 0", n.name)
		}
		if *n.field == 0 {
			*n.field = n.value
		}
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
