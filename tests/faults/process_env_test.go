package faults

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/oracle/hlscheck"
	"github.com/framelog/framelog/tests/testenv"
)

// procCameras serves a clip on n cameras and gives the lines of a
// configuration that name them: cam-0 has B-frames and sound, the others have
// neither.
func procCameras(t *testing.T, n int, kbits int) (ids []string, config string) {
	t.Helper()
	first := testenv.Clip{Size: "320x240", FPS: 15, Seconds: 6, KBits: kbits, BFrames: 2, Audio: "aac"}
	other := testenv.Clip{Size: "320x240", FPS: 15, Seconds: 6, KBits: kbits}
	var cfg camsim.Config
	for i := range n {
		clip := other
		if i == 0 {
			clip = first
		}
		c, err := camsim.LoadMP4(clip.File(t))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, fmt.Sprintf("cam-%d", i))
		cfg.Cameras = append(cfg.Cameras, camsim.CameraConfig{Path: ids[i], Feed: c.With(true, 1)})
	}
	s, err := camsim.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	config = "cameras:\n"
	for _, id := range ids {
		config += fmt.Sprintf("  - id: %s\n    url: %s\n", id, s.URL(id))
	}
	return ids, config
}

// procCamera is one camera more.
func procCamera(t *testing.T, id string, clip testenv.Clip) (_, config string) {
	t.Helper()
	c, err := camsim.LoadMP4(clip.File(t))
	if err != nil {
		t.Fatal(err)
	}
	s, err := camsim.Start(t.Context(), camsim.Config{Cameras: []camsim.CameraConfig{{Path: id, Feed: c.With(true, 1)}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return id, fmt.Sprintf("  - id: %s\n    url: %s\n", id, s.URL(id))
}

// procStatus is what the API says of the cameras.
func procStatus(t *testing.T, base string) map[string]schemas.Status {
	t.Helper()
	all := map[string]schemas.Status{}
	status, body, err := testenv.Get(t, base+"/v1/cameras")
	if err != nil || status != http.StatusOK {
		return all
	}
	var list struct {
		Cameras []struct {
			ID     string
			Status *schemas.Status
		}
	}
	if err := json.Unmarshal(body, &list); err != nil {
		t.Fatal(err)
	}
	for _, c := range list.Cameras {
		if c.Status != nil {
			all[c.ID] = *c.Status
		}
	}
	return all
}

// procLog is the log as any reader has it.
type procLog struct{ *medialog.Log }

func procConnect(t *testing.T, brokers ...string) procLog {
	t.Helper()
	l, err := medialog.Connect(medialog.Config{Kafka: kafka.Config{Brokers: brokers, ClientID: "test"}}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return procLog{l}
}

// entries is the index of a camera as it stands, none while the camera has no
// topic. A broker that is away is waited for.
func (l procLog) entries(t *testing.T, id string) []schemas.Entry {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*testenv.Patience)
	defer cancel()
	var out []schemas.Entry
	var failed error
	if !camWait(t, 2*testenv.Patience, func() bool {
		out, failed = nil, nil
		for e, err := range l.Entries(ctx, schemas.Topic{Camera: id}, medialog.Range{}) {
			if failed = err; err != nil {
				return errors.Is(err, medialog.ErrNoTopic)
			}
			out = append(out, e)
		}
		return true
	}) {
		t.Fatalf("%s: read index: %v", id, failed)
	}
	return out
}

// begun is how many sessions began after the entry last, beside corrections.
func begun(entries []schemas.Entry, last schemas.Entry) (n int) {
	for i := 1; i < len(entries); i++ {
		if p, e := &entries[i-1], &entries[i]; e.Seq > last.Seq && e.Session != p.Session && !corrected(p, e) {
			n++
		}
	}
	return n
}

// grown waits until each camera has n fragments with footage that start after
// from. It gives the time that it took.
func (l procLog) grown(t *testing.T, ids []string, from time.Time, n int) time.Duration {
	t.Helper()
	const limit = 2 * testenv.Patience
	began := time.Now()
	for _, id := range ids {
		var all []schemas.Entry
		if !camWait(t, limit, func() bool {
			all = l.entries(t, id)
			found := 0
			for _, e := range all {
				if e.Playable() && e.Start.After(from) {
					found++
				}
			}
			return found >= n
		}) {
			t.Fatalf("%s: no %d fragments after %s within %v:\n%s", id, n, from.Format("15:04:05.000"), limit, camIndex(all))
		}
	}
	return time.Since(began)
}

// index is the indexes of cameras.
type procIndex map[string][]schemas.Entry

func (l procLog) index(t *testing.T, ids []string) procIndex {
	t.Helper()
	all := procIndex{}
	for _, id := range ids {
		all[id] = l.entries(t, id)
	}
	return all
}

// kept checks that all that was safe before is there as it was, with all of
// its chunks, and that numbers, sessions and times are in order.
func (l procLog) kept(t *testing.T, before procIndex) procIndex {
	t.Helper()
	after := procIndex{}
	for id, was := range before {
		is := l.entries(t, id)
		after[id] = is
		if len(is) < len(was) {
			t.Errorf("%s: the index has %d entries, and had %d", id, len(is), len(was))
			continue
		}
		for i, e := range was {
			if !reflect.DeepEqual(e, is[i]) {
				t.Errorf("%s: an entry was %+v, is %+v", id, e, is[i])
				break
			}
		}
		for _, e := range is {
			if n, err := l.chunks(t, id, e); err != nil || n != e.Chunks {
				t.Fatalf("%s: fragment %d (%s) has %d chunks, its entry says %d (%v)", id, e.Seq, e.Kind, n, e.Chunks, err)
			}
		}
		procDense(t, id, is)
	}
	return after
}

// chunks counts those of a fragment that are there.
func (l procLog) chunks(t *testing.T, id string, e schemas.Entry) (n uint32, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*testenv.Patience)
	defer cancel()
	for _, err := range l.Chunks(ctx, schemas.Topic{Camera: id}, e) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// procDense checks that numbers have no hole, sessions grow by one, and media
// time never goes back.
func procDense(t *testing.T, id string, entries []schemas.Entry) {
	t.Helper()
	bad := false
	for i := 1; i < len(entries); i++ {
		p, e := entries[i-1], entries[i]
		switch {
		case e.Seq != p.Seq+1:
			t.Errorf("%s: fragment %d comes after %d", id, e.Seq, p.Seq)
		case e.Session != p.Session && e.Session != p.Session+1:
			t.Errorf("%s: session %d comes after %d", id, e.Session, p.Session)
		case e.Media < p.MediaEnd():
			t.Errorf("%s: fragment %d starts %d ticks before the end of the one before", id, e.Seq, p.MediaEnd()-e.Media)
		default:
			continue
		}
		bad = true
	}
	if bad {
		t.Logf("%s: index:\n%s", id, camIndex(entries))
	}
}

// procPause is the longest time without footage in public time, between entries
// that start after from.
func procPause(entries []schemas.Entry, from time.Time) (longest time.Duration) {
	for i := 1; i < len(entries); i++ {
		if entries[i].Start.After(from) {
			longest = max(longest, entries[i].Start.Sub(entries[i-1].End()))
		}
	}
	return longest
}

// procPlaylist is a camera's live media playlist and its URL; nil: there is
// none now.
func procPlaylist(t *testing.T, base, id string) (*hlscheck.Media, string) {
	t.Helper()
	u := base + "/hls/" + id + "/index.m3u8"
	status, body, err := testenv.Get(t, u)
	if err != nil || status != http.StatusOK {
		return nil, ""
	}
	m, err := hlscheck.ParseMultivariant(string(body))
	if err != nil {
		t.Errorf("%s: %v", u, err) // not Fatalf: several ask at once
		return nil, ""
	}
	u = procResolve(t, u, m.Variants[0].URI)
	status, body, err = testenv.Get(t, u)
	if err != nil || status != http.StatusOK {
		return nil, ""
	}
	p, err := hlscheck.ParseMedia(string(body))
	if err != nil {
		t.Errorf("%s: %v", u, err)
		return nil, ""
	}
	return p, u
}

func procResolve(t *testing.T, base, ref string) string {
	t.Helper()
	b, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	r, err := url.Parse(ref)
	if err != nil {
		t.Fatal(err)
	}
	return b.ResolveReference(r).String()
}

// procHash fetches a file until it is there, and hashes it.
func procHash(t *testing.T, u string) string {
	t.Helper()
	var sum [32]byte
	var last string
	if !camWait(t, 2*testenv.Patience, func() bool {
		status, body, err := testenv.Get(t, u)
		last = fmt.Sprint(status, err)
		sum = sha256.Sum256(body)
		return err == nil && status == http.StatusOK
	}) {
		t.Errorf("%s: %s", u, last)
	}
	return hex.EncodeToString(sum[:6])
}

// procFiles fetches all segments and their initialisation of a camera's live
// playlist: their paths and hashes.
func procFiles(t *testing.T, base, id string) map[string]string {
	t.Helper()
	var p *hlscheck.Media
	var at string
	testenv.Wait(t, 2*testenv.Patience, "a playlist of "+id, func() bool {
		p, at = procPlaylist(t, base, id)
		return p != nil && len(p.Segments) > 0
	})
	files := map[string]string{}
	for _, s := range p.Segments {
		for _, ref := range []string{s.Map, s.URI} {
			if ref == "" {
				continue // a gap at the head needs no map
			}
			path := strings.TrimPrefix(procResolve(t, at, ref), base)
			if files[path] == "" && (!s.Gap || ref != s.URI) {
				files[path] = procHash(t, base+path)
			}
		}
	}
	return files
}

// procSame checks that all files have the bytes that they had.
func procSame(t *testing.T, base string, files map[string]string) {
	t.Helper()
	if len(files) < 3 {
		t.Errorf("only %d files to compare", len(files))
	}
	for path, was := range files {
		if is := procHash(t, base+path); is != was {
			t.Errorf("%s has other bytes than before", path)
		}
	}
}

// procMetric is the sum of a metric's samples whose labels contain label. Those
// of a role that does not answer in time are left out, so it asks until they are
// there.
func procMetric(t *testing.T, base, name, label string) (sum float64) {
	t.Helper()
	re := regexp.MustCompile(`(?m)^` + name + `(\{[^}]*\})? (\S+)$`)
	found := false
	if !camWait(t, 2*testenv.Patience, func() bool {
		_, body, err := testenv.Get(t, base+"/metrics")
		if err != nil {
			return false
		}
		for _, m := range re.FindAllStringSubmatch(string(body), -1) {
			v, err := strconv.ParseFloat(m[2], 64)
			if err == nil && strings.Contains(m[1], label) {
				sum, found = sum+v, true
			}
		}
		return found
	}) {
		t.Errorf("no metric %s with %s", name, label)
	}
	return sum
}

// procWatchers are clients of all cameras, strict but for requests that fail.
type procWatchers map[string]*camWatcher

func procWatch(t *testing.T, base string, ids []string, stall time.Duration) procWatchers {
	t.Helper()
	all := procWatchers{}
	for i, id := range ids {
		cfg := hlscheck.Config{URL: base + "/hls/" + id + "/index.m3u8", LowLatency: true, Strict: true, Interruptions: true, MaxStall: stall}
		all[id+" low latency"] = camWatch(t, cfg)
		if i == 0 {
			cfg.LowLatency = false
			all[id+" polling"] = camWatch(t, cfg)
		}
	}
	return all
}

// end ends the clients and tells what they saw; least is the number of
// segments that each must have fetched.
func (w procWatchers) end(t *testing.T, least int) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for name, x := range w {
		wg.Go(func() {
			s := x.end(t, name)
			mu.Lock()
			defer mu.Unlock()
			t.Logf("%s: %+v", name, s)
			if s.SegmentsFetched < least {
				t.Errorf("%s: fetched only %d segments", name, s.SegmentsFetched)
			}
		})
	}
	wg.Wait()
}
