package clip

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/internal/clip"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// footage is a log: a session of 4 s and one of 2 s. The rendition "gone" has expired, and
// "cut" expires after 3 reads of its media.
type footage struct {
	fragments []testmedia.Fragment
	reads     atomic.Int32  // of media
	block     chan struct{} // not nil: a read of media waits for it
}

func newFootage(start time.Time) *footage {
	place := testmedia.Place{Seq: 7, Session: 3, Epoch: 9, Layout: testmedia.Layout, Start: start}
	all := testmedia.Synthetic(place, 6)
	for i := 4; i < 6; i++ {
		all[i].Entry.Session++
	}
	return &footage{fragments: all}
}

func (x *footage) Entries(_ context.Context, t schemas.Topic, r medialog.Range) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		if t.Camera == "away" {
			yield(schemas.Entry{}, errors.New("no brokers"))
			return
		}
		if t.Rendition == "unmounted" {
			yield(schemas.Entry{}, &fs.PathError{Op: "open", Path: "archive", Err: fs.ErrPermission})
			return
		}
		for _, f := range x.fragments {
			if f.Entry.Start.Before(r.To) && f.Entry.End().After(r.From) && !yield(f.Entry, nil) {
				return
			}
		}
	}
}

func (x *footage) Chunks(_ context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	n := x.reads.Add(1)
	if x.block != nil {
		<-x.block
	}
	if t.Rendition == "gone" || t.Rendition == "cut" && n > 3 {
		return func(yield func(*schemas.Chunk, error) bool) { yield(nil, medialog.ErrExpired) }
	}
	if t.Rendition == "odd" { // no muxer takes a sample of a track that is not declared
		return func(yield func(*schemas.Chunk, error) bool) {
			yield(&schemas.Chunk{Runs: []schemas.Run{{Track: 9, Samples: []schemas.Sample{{Duration: 1, Data: []byte{1}}}}}}, nil)
		}
	}
	return x.fragments[slices.IndexFunc(x.fragments, func(f testmedia.Fragment) bool { return f.Entry.Seq == e.Seq })].All()
}

// serve runs a server with the routes of clips, for everybody.
func serve(t *testing.T, log *footage, cfg Config) (url string, s *Server) {
	t.Helper()
	s = New(cfg, Deps{Log: log, Known: func(c string) bool { return c == "yard" || c == "away" }})
	mux, err := access.NewMux(access.Policy{Authorize: access.Everyone}, s.Routes(), func(_ access.Route, h http.Handler) http.Handler { return h })
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	return web.URL, s
}

func get(t *testing.T, method, url string, header ...string) (*http.Response, []byte, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	b, err := io.ReadAll(w.Body)
	return w, b, err
}

const inside = "?start=2026-03-01T12:00:01.4Z&end=2026-03-01T12:00:03Z"

// The whole file, its parts, and what stands in their headers.
func TestFile(t *testing.T) {
	url, s := serve(t, newFootage(testmedia.Start), Config{})
	w, whole, err := get(t, "GET", url+"/clip/yard.mp4"+inside)
	if err != nil || w.StatusCode != 200 || w.ContentLength != int64(len(whole)) || string(whole[4:8]) != "ftyp" {
		t.Fatalf("%d, %d bytes of %d, %v", w.StatusCode, len(whole), w.ContentLength, err)
	}
	for name, want := range map[string]string{
		"Content-Type": "video/mp4", "Content-Disposition": `attachment; filename="yard-20260301T120001Z.mp4"`,
		"Framelog-Start": "2026-03-01T12:00:01.38Z", "Cache-Control": "no-store", "Accept-Ranges": "bytes",
	} {
		if got := w.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	tag := w.Header.Get("ETag")
	w, part, err := get(t, "GET", url+"/clip/yard.mp4"+inside, "Range", "bytes=1000-3999", "If-Range", tag)
	if err != nil || w.StatusCode != 206 || !bytes.Equal(part, whole[1000:4000]) {
		t.Errorf("a part: %d, %d bytes, %v", w.StatusCode, len(part), err)
	}
	w, again, err := get(t, "GET", url+"/clip/yard/720p.mp4"+inside, "Range", "bytes=1000-3999", "If-Range", `"other"`)
	if err != nil || w.StatusCode != 200 || !bytes.Equal(again, whole) {
		t.Errorf("a part of another file: %d, %d bytes, %v", w.StatusCode, len(again), err)
	}
	w, all, err := get(t, "GET", url+"/clip/yard.mp4"+inside, "Range", "bytes=0-0,1000-1000")
	if err != nil || w.StatusCode != 200 || !bytes.Equal(all, whole) {
		t.Errorf("several parts: %d, %d bytes, %v", w.StatusCode, len(all), err)
	}
	w, none, err := get(t, "HEAD", url+"/clip/yard.mp4"+inside)
	if err != nil || w.StatusCode != 200 || w.ContentLength != int64(len(whole)) || len(none) > 0 {
		t.Errorf("HEAD: %d, %d, %v", w.StatusCode, w.ContentLength, err)
	}
	if n := testutil.ToFloat64(s.results.WithLabelValues("ok")); n != 4 { // HEAD sends none
		t.Errorf("%g files are counted", n)
	}
}

// A range with relative times, or of which footage may still come, is another file at the next
// request, so there are no parts of it.
func TestRelativeTimes(t *testing.T) {
	url, _ := serve(t, newFootage(time.Now().Add(-time.Minute)), Config{})
	ago := func(d time.Duration) string { return time.Now().Add(-d).UTC().Format(time.RFC3339) }
	for _, times := range []string{"start=-59s&end=-57s", "start=" + ago(59*time.Second) + "&end=" + ago(57*time.Second)} {
		w, b, err := get(t, "GET", url+"/clip/yard.mp4?"+times, "Range", "bytes=1000-3999")
		if err != nil || w.StatusCode != 200 || int64(len(b)) != w.ContentLength {
			t.Errorf("%s: %d, %d bytes, %v", times, w.StatusCode, len(b), err)
		}
	}
}

// Whoever loses the right to a camera gets no more of its clip.
func TestRightTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(testmedia.Start.Add(time.Hour)))
		log, allowed := newFootage(testmedia.Start), true
		s := New(Config{}, Deps{Log: log, Known: func(string) bool { return true }})
		policy := access.Policy{Authorize: func(_ *http.Request, camera, rendition string, a access.Action) bool {
			return allowed && camera == "yard" && rendition == schemas.Raw && a == access.Export
		}}
		mux, err := access.NewMux(policy, s.Routes(), func(_ access.Route, h http.Handler) http.Handler { return h })
		if err != nil {
			t.Fatal(err)
		}
		slow := &slowClient{ResponseRecorder: httptest.NewRecorder(), after: func() { allowed = false }}
		func() {
			defer func() {
				if r := recover(); r != http.ErrAbortHandler { //nolint:errorlint // it is panicked as it is
					t.Errorf("the answer is not cut off: %v", r)
				}
			}()
			mux.ServeHTTP(slow, httptest.NewRequestWithContext(t.Context(), "GET", "/clip/yard.mp4"+inside, nil))
		}()
		if n := testutil.ToFloat64(s.results.WithLabelValues("denied")); n != 1 || slow.Body.Len() == 0 {
			t.Errorf("%g are counted, %d bytes were sent", n, slow.Body.Len())
		}
	})
}

// slowClient takes a minute for each write.
type slowClient struct {
	*httptest.ResponseRecorder
	after func()
}

func (c *slowClient) Write(b []byte) (int, error) {
	time.Sleep(time.Minute)
	c.after()
	return c.ResponseRecorder.Write(b)
}

// Whatever is no file is an answer in JSON, and counted.
func TestNoFile(t *testing.T) {
	url, _ := serve(t, newFootage(testmedia.Start), Config{MaxRange: 20 * 365 * 24 * time.Hour})
	for path, want := range map[string]int{
		"/clip/yard.mp4":                                                     400,
		"/clip/yard.mp4?start=yesterday":                                     400,
		"/clip/yard.mp4" + inside + "&seq=x":                                 400,
		"/clip/yard.mp4" + inside + "&seq=0":                                 400,
		"/clip/yard.mp4" + inside + "&seq=11":                                404, // it is in the log, and not in this range
		"/clip/yard/RAW.mp4" + inside:                                        400,
		"/clip/ghost.mp4" + inside:                                           404,
		"/clip/yard.avi" + inside:                                            404,
		"/clip/.mp4" + inside:                                                404,
		"/clip/yard.mp4?start=2026-03-01T11:00:00Z&end=2026-03-01T11:59:00Z": 404,
		"/clip/yard/gone.mp4" + inside:                                       410,
		"/clip/yard/odd.mp4" + inside:                                        500,
		"/clip/away.mp4" + inside:                                            503,
	} {
		w, b, err := get(t, "GET", url+path)
		var body struct{ Error string }
		if err != nil || w.StatusCode != want || json.Unmarshal(b, &body) != nil || body.Error == "" || w.Header.Get("Content-Disposition") != "" {
			t.Errorf("%s: %d %s, %v; want %d", path, w.StatusCode, b, err, want)
		}
	}
	if w, b, err := get(t, "GET", url+"/clip/yard/unmounted.mp4"+inside); err != nil || w.StatusCode != 503 || !bytes.Contains(b, []byte("archive.dir")) {
		t.Errorf("with the archive away: %d %s, %v", w.StatusCode, b, err)
	}
	w, b, err := get(t, "GET", url+"/clip/yard.mp4?start=2026-03-01T12:00:01.4Z&end=2026-03-01T12:00:05Z")
	var body several
	want := []span{{testmedia.Start.Add(1400 * time.Millisecond), testmedia.Start.Add(4 * time.Second), 8}, {testmedia.Start.Add(4 * time.Second), testmedia.Start.Add(5 * time.Second), 11}}
	if err != nil || w.StatusCode != 409 || json.Unmarshal(b, &body) != nil || !slices.Equal(body.Clips, want) || body.Remedy == "" {
		t.Errorf("two sessions: %d %s, %v", w.StatusCode, b, err)
	}
}

// A file that cannot be completed is cut off, so that no client takes it for whole.
func TestCutOff(t *testing.T) {
	url, s := serve(t, newFootage(testmedia.Start), Config{})
	_, b, err := get(t, "GET", url+"/clip/yard/cut.mp4?start=2026-03-01T12:00:01Z&end=2026-03-01T12:00:03Z")
	if err == nil || len(b) == 0 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if n := testutil.ToFloat64(s.results.WithLabelValues("failed")); n != 1 {
		t.Errorf("%g failures are counted", n)
	}
}

// More clips than max_clips at once are refused.
func TestBusy(t *testing.T) {
	log := newFootage(testmedia.Start)
	log.block = make(chan struct{})
	url, _ := serve(t, log, Config{MaxClips: 1})
	first := make(chan int)
	go func() {
		w, _, _ := get(t, "GET", url+"/clip/yard.mp4"+inside)
		first <- w.StatusCode
	}()
	log.block <- struct{}{} // the first one reads
	if w, b, _ := get(t, "GET", url+"/clip/yard/720p.mp4"+inside); w.StatusCode != 503 || w.Header.Get("Retry-After") == "" {
		t.Errorf("the second one: %d %s", w.StatusCode, b)
	}
	close(log.block)
	if code := <-first; code != 200 {
		t.Errorf("the first one: %d", code)
	}
}

// HEAD reads no footage, and tells the length of a file that was asked for before. Parts of such
// a file are read alone, also by several requests at once.
func TestPartsReadOnlyTheirs(t *testing.T) {
	log := newFootage(testmedia.Start)
	url, _ := serve(t, log, Config{MaxClips: 1})
	w, _, err := get(t, "HEAD", url+"/clip/yard.mp4"+inside)
	if err != nil || w.StatusCode != 200 || w.ContentLength != -1 || log.reads.Load() > 0 {
		t.Errorf("HEAD of a new file: %d, %d bytes, %v; %d reads", w.StatusCode, w.ContentLength, err, log.reads.Load())
	}
	_, whole, err := get(t, "GET", url+"/clip/yard.mp4"+inside)
	if err != nil {
		t.Fatal(err)
	}
	log.reads.Store(0)
	if w, _, err = get(t, "HEAD", url+"/clip/yard.mp4"+inside); err != nil || w.ContentLength != int64(len(whole)) || log.reads.Load() > 0 {
		t.Errorf("HEAD of a known file: %d bytes, %v; %d reads", w.ContentLength, err, log.reads.Load())
	}
	w, part, err := get(t, "GET", url+"/clip/yard.mp4"+inside, "Range", "bytes=-100")
	if err != nil || w.StatusCode != 206 || !bytes.Equal(part, whole[len(whole)-100:]) || log.reads.Load() != 1 {
		t.Errorf("the last bytes: %d, %d bytes, %v; %d reads", w.StatusCode, len(part), err, log.reads.Load())
	}

	log.reads.Store(0)
	log.block = make(chan struct{})
	got := make(chan int)
	for range 8 { // more than may be made
		go func() {
			w, _, _ := get(t, "GET", url+"/clip/yard/720p.mp4"+inside, "Range", "bytes=10-19")
			got <- w.StatusCode
		}()
	}
	log.block <- struct{}{}
	close(log.block)
	for range 8 {
		if code := <-got; code != 206 {
			t.Errorf("one of several parts at once: %d", code)
		}
	}
	if n := log.reads.Load(); n > 3 { // those of one clip, for the tables
		t.Errorf("several parts at once read %d fragments", n)
	}
}

// However slow clients are, others get their clips.
func TestSlowClients(t *testing.T) {
	log := newFootage(testmedia.Start)
	s := New(Config{MaxClips: 1}, Deps{Log: log, Known: func(string) bool { return true }})
	mux, err := access.NewMux(access.Policy{Authorize: access.Everyone}, s.Routes(), func(_ access.Route, h http.Handler) http.Handler { return h })
	if err != nil {
		t.Fatal(err)
	}
	read, stop := make(chan struct{}), make(chan struct{})
	ended := make(chan struct{})
	for range 6 {
		go func() {
			defer func() { ended <- struct{}{} }()
			w := &stuckClient{ResponseRecorder: httptest.NewRecorder(), began: read, stop: stop}
			mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/clip/yard.mp4"+inside, nil))
		}()
		<-read // it has a file, and takes nothing more
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/clip/yard/720p.mp4"+inside, nil))
	if w.Code != 200 || w.Body.Len() == 0 {
		t.Errorf("beside slow clients: %d %s", w.Code, w.Body)
	}
	close(stop)
	for range 6 {
		<-ended
	}
}

// stuckClient takes its first bytes when it may.
type stuckClient struct {
	*httptest.ResponseRecorder
	began, stop chan struct{}
	once        bool
}

func (c *stuckClient) Write(b []byte) (int, error) {
	if !c.once {
		c.once = true
		c.began <- struct{}{}
		<-c.stop
	}
	return c.ResponseRecorder.Write(b)
}

// The tables in memory are bounded: those that nobody uses go first, and then there is no place.
func TestTablesAreBounded(t *testing.T) {
	log := newFootage(testmedia.Start)
	of := func(topic string) (*clip.File, error) {
		all, err := clip.Plan(t.Context(), log, schemas.Topic{Camera: "yard", Rendition: topic}, testmedia.Start, testmedia.Start.Add(2*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		return all[0].Prepare(t.Context(), log, func(int64) {})
	}
	one, _ := of("a")
	f := newFiles(2 * one.Memory())
	get := func(key string) (func(), error) {
		_, release, err := f.get(t.Context(), key, func() (*clip.File, error) { return of(key) })
		return release, err
	}
	a, errA := get("a")
	b, errB := get("b")
	if _, err := get("c"); errA != nil || errB != nil || !errors.Is(err, errBusy) {
		t.Fatalf("%v, %v; the third one: %v", errA, errB, err)
	}
	a()
	b()
	c, err := get("c")
	if err != nil || f.has("a") != nil || f.has("b") == nil || f.used > f.limit {
		t.Errorf("%v; a %v, b %v, %d of %d bytes", err, f.has("a"), f.has("b"), f.used, f.limit)
	}
	c()
	if _, err := get("b"); err != nil { // it may be used again
		t.Error(err)
	}
	// A file that could not be made is made by the next one.
	failed := errors.New("no brokers")
	if _, _, err := f.get(t.Context(), "d", func() (*clip.File, error) { return nil, failed }); !errors.Is(err, failed) {
		t.Error(err)
	}
	if _, err := get("d"); err != nil {
		t.Error(err)
	}
}
