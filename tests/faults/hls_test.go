package faults

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/oracle/hlscheck"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// waitPlaylist waits until a camera's media playlist has a segment and cond holds
// for it; cond may be nil. The first request for a camera may have to wait for
// longer than egress allows, and a strict client takes that for a fault: the test
// waits here before it starts one.
func waitPlaylist(t *testing.T, base, id string, cond func(*system.Playlist) bool) (p *system.Playlist) {
	t.Helper()
	testenv.Wait(t, 2*testenv.Patience, "a playlist of "+id, func() bool {
		p = system.MediaPlaylist(t, system.Multivariant(base, id))
		return p != nil && len(p.Segments) > 0 && (cond == nil || cond(p))
	})
	return p
}

// fileHash fetches a file, waiting until it is there, and hashes it.
func fileHash(t *testing.T, url string) string {
	t.Helper()
	var sum [32]byte
	var last string
	if !testenv.Poll(t, 2*testenv.Patience, func() bool {
		status, body, err := testenv.Get(t, url)
		last = fmt.Sprint(status, err)
		sum = sha256.Sum256(body)
		return err == nil && status == http.StatusOK
	}) {
		t.Errorf("%s: %s", url, last)
	}
	return hex.EncodeToString(sum[:6])
}

// fileHashes fetches all segments and initialisation segments of a camera's live
// playlist. It returns their hashes by path.
func fileHashes(t *testing.T, base, id string) map[string]string {
	t.Helper()
	p := waitPlaylist(t, base, id, nil)
	files := map[string]string{}
	for _, s := range p.Segments {
		for _, ref := range []string{s.Map, s.URI} {
			if ref == "" || s.Gap && ref == s.URI {
				continue // a gap has no bytes, and one at the head needs no map
			}
			path := strings.TrimPrefix(system.Resolve(t, p.URL, ref), base)
			if files[path] == "" {
				files[path] = fileHash(t, base+path)
			}
		}
	}
	return files
}

// checkFiles checks that all files have the bytes that they had.
func checkFiles(t *testing.T, base string, files map[string]string) {
	t.Helper()
	if len(files) < 3 {
		t.Errorf("only %d files to compare", len(files))
	}
	for path, was := range files {
		if is := fileHash(t, base+path); is != was {
			t.Errorf("%s has other bytes than before", path)
		}
	}
}

// clients are HLS clients by name.
type clients map[string]*system.Client

// watchAll has a low-latency client watch each camera, and a polling one watch the
// first. They are strict, but requests may fail. stall is how long a playlist may
// stand still, negative: for ever.
func watchAll(t *testing.T, base string, ids []string, stall time.Duration) clients {
	t.Helper()
	all := clients{}
	for i, id := range ids {
		cfg := hlscheck.Config{URL: system.Multivariant(base, id), LowLatency: true, Strict: true, Interruptions: true, MaxStall: stall}
		all[id+" low latency"] = system.Watch(t, cfg)
		if i == 0 {
			cfg.LowLatency = false
			all[id+" polling"] = system.Watch(t, cfg)
		}
	}
	return all
}

// end ends the clients. Each must have fetched at least so many segments.
func (c clients) end(t *testing.T, least int) {
	t.Helper()
	for name, x := range c {
		if s := x.End(t, name); s.SegmentsFetched < least {
			t.Errorf("%s: fetched only %d segments", name, s.SegmentsFetched)
		}
	}
}

// waitListed waits until a client has seen the last of entries in its playlist.
func waitListed(t *testing.T, c *system.Client, id string, entries []schemas.Entry) {
	t.Helper()
	last := entries[len(entries)-1].Seq
	if !testenv.Poll(t, 2*testenv.Patience, func() bool { return c.Stats().Last >= last }) {
		t.Errorf("%s: segment %d was not listed, saw %+v", id, last, c.Stats())
	}
}
