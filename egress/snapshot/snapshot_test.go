package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

var epoch = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// fakeLog has fragments of two seconds by rendition: each has the given number of JPEGs,
// below 0 it is a gap. raw of 0 is H.264.
type fakeLog map[string][]int

func (l fakeLog) entry(rendition string, i int) schemas.Entry {
	e := schemas.Entry{
		Kind: schemas.KindWhole, Seq: uint64(100 + i), Start: at(float64(2 * i)), Media: 900, Duration: 2 * schemas.MediaTimescale,
		Layout: schemas.Layout{Video: schemas.MJPEG}, Role: schemas.RoleAlternative,
	}
	switch {
	case rendition == schemas.Raw && l[rendition][i] == 0:
		e.Role, e.Layout.Video = "", schemas.H264
	case rendition == schemas.Raw:
		e.Role = ""
	case rendition == "720p":
		e.Role, e.Layout.Video = schemas.RoleVariant, schemas.H264
	}
	if l[rendition][i] < 0 {
		e.Kind = schemas.KindGap
	}
	return e
}

func at(seconds float64) time.Time {
	return epoch.Add(time.Duration(seconds * float64(time.Second)))
}

func (l fakeLog) Entries(ctx context.Context, t schemas.Topic, r medialog.Range) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(schemas.Entry{}, err)
			return
		}
		for i := range l[t.Name()] {
			e := l.entry(t.Name(), i)
			if e.Seq < r.FromSeq || !r.To.IsZero() && !e.Start.Before(r.To) || !r.From.IsZero() && !e.End().After(r.From) {
				continue
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Chunks gives pictures that name themselves, one a chunk, with a hole behind each. raw in
// H.264 has four of them, in two GOPs.
func (l fakeLog) Chunks(_ context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	return func(yield func(*schemas.Chunk, error) bool) {
		n := l[t.Name()][e.Seq-100]
		if e.Layout.Video == schemas.H264 {
			n = 4
		}
		for i := range n {
			step := e.Duration / int64(n)
			s := schemas.Sample{DTS: e.Media + int64(i)*step, Duration: uint32(step - 9), Sync: n != 4 || i%2 == 0, Data: fmt.Appendf(nil, "%s %d.%d", t.Name(), e.Seq, i)}
			c := &schemas.Chunk{Seq: e.Seq, Index: uint32(i), Runs: []schemas.Run{
				{Track: schemas.AudioTrack, Samples: []schemas.Sample{{Data: []byte("sound")}}}, {Track: schemas.VideoTrack, Samples: []schemas.Sample{s}},
			}}
			if i == 0 {
				c.Tracks = []schemas.Track{{ID: schemas.VideoTrack, Codec: e.Layout.Video, Config: []byte("sets")}, {ID: schemas.AudioTrack, Codec: schemas.AAC}}
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

// fakeDecoder gives the last sample that it gets.
type fakeDecoder struct {
	err   error
	hangs bool
	asked string
}

func (d *fakeDecoder) Picture(ctx context.Context, footage *schemas.Chunk, media int64, width int) ([]byte, int64, error) {
	if d.hangs {
		<-ctx.Done()
		return nil, 0, ctx.Err()
	}
	if _, err := schemas.EncodeChunk(footage); err != nil || len(footage.Runs) != 1 || len(footage.Tracks) != 1 || d.err != nil {
		return nil, 0, fmt.Errorf("%+v: %w", footage, errors.Join(err, d.err))
	}
	v := footage.Video()
	last := v[len(v)-1]
	d.asked = fmt.Sprintf("%s to %s at %d, width %d", v[0].Data, last.Data, media-900, width)
	return last.Data, last.DTS, nil
}

// serve makes a server of the footage of each camera but nobody. One may not see hidden. Kafka has only
// what kafka has of the footage.
func serve(t testing.TB, l, kafka fakeLog, d Decoder, reg prometheus.Registerer) http.Handler {
	t.Helper()
	s := New(Config{MaxAge: 10 * time.Minute}, Deps{
		Log: l, Decoder: d, Known: func(camera string) bool { return camera != "nobody" }, Registerer: reg,
		Newest: func(context.Context, string) (map[string]schemas.Entry, error) {
			newest := map[string]schemas.Entry{}
			for name, all := range kafka {
				newest[name] = l.entry(name, len(all)-1)
			}
			return newest, nil
		},
	})
	mux, err := access.NewMux(access.Policy{Authorize: func(_ *http.Request, camera, rendition string, a access.Action) bool {
		return camera != "hidden" && (camera == "" || rendition == schemas.Raw) && a == access.Watch
	}}, s.Routes(), func(_ access.Route, h http.Handler) http.Handler { return h })
	if err != nil {
		t.Fatal(err)
	}
	return mux
}

// get asks a server, and returns the results that it counted too.
func get(t *testing.T, l fakeLog, d Decoder, path string) (w *httptest.ResponseRecorder, results string) {
	t.Helper()
	return ask(t, l, l, d, path)
}

// ask is get with a log whose Kafka has only what kafka has.
func ask(t *testing.T, l, kafka fakeLog, d Decoder, path string) (w *httptest.ResponseRecorder, results string) {
	t.Helper()
	reg := prometheus.NewRegistry()
	w = httptest.NewRecorder()
	serve(t, l, kafka, d, reg).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", path, nil))
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		for _, m := range f.GetMetric() {
			if m.GetCounter().GetValue() > 0 {
				results += m.GetLabel()[0].GetValue()
			}
		}
	}
	return w, results
}

// moment is the text of a time since epoch, for a query.
func moment(seconds float64) string { return url.QueryEscape(at(seconds).Format(time.RFC3339Nano)) }

func TestSnapshot(t *testing.T) {
	thumbnails := fakeLog{"720p": {1, 1}, "thumbnail": {1, 1, -1, -1, -1, 1, 1}, "dlq-x": {1}, "raw": {0, 0, 0, 0, 0, 0, 0, 0}}
	works, fails := &fakeDecoder{}, &fakeDecoder{err: errors.New("it is away")}
	for _, c := range []struct {
		name    string
		log     fakeLog
		decoder Decoder
		path    string // behind /snapshot/
		code    int
		body    string
		settled bool
		result  string
	}{
		{"newest", thumbnails, nil, "yard.jpg", 200, "thumbnail 106.0", false, "nearest"},
		{"in a fragment", thumbnails, nil, "yard.jpg?at=" + moment(3), 200, "thumbnail 101.0", true, "nearest"},
		{"in a gap, behind a picture", thumbnails, nil, "yard.jpg?at=" + moment(5), 200, "thumbnail 101.0", true, "nearest"},
		{"in a gap, before a picture", thumbnails, nil, "yard.jpg?at=" + moment(9), 200, "thumbnail 105.0", true, "nearest"},
		{"later than all", thumbnails, nil, "yard.jpg?at=" + moment(20), 200, "thumbnail 106.0", false, "nearest"},
		{"far from all", thumbnails, nil, "yard.jpg?at=" + moment(60), 404, "near this time", false, "none"},
		{"MJPEG camera", fakeLog{"raw": {10, 10}, "thumbnail": {1, 1}}, works, "yard.jpg?at=" + moment(2.41), 200, "raw 101.2", true, "exact"},
		{"newest of an MJPEG camera", fakeLog{"raw": {10, 10}}, nil, "yard.jpg", 200, "raw 101.9", false, "exact"},
		{"another rendition of MJPEG", fakeLog{"720p": {1}, "mosaic": {1}}, works, "yard.jpg", 200, "mosaic 100.0", false, "nearest"},
		{"nothing to show", fakeLog{"720p": {1}}, nil, "yard.jpg", 501, "run the processor thumbnail", false, "none"},
		{"gaps alone", fakeLog{"thumbnail": {-1, -1}}, nil, "yard.jpg", 404, "near this time", false, "none"},
		{"exact", thumbnails, works, "yard.jpg?width=320&at=" + moment(3.6), 200, "raw 101.3", true, "exact"},
		{"newest, exact", thumbnails, works, "yard.jpg", 200, "raw 107.3", false, "exact"},
		{"later than all, exact", thumbnails, works, "yard.jpg?at=" + moment(20), 200, "raw 107.3", false, "exact"},
		{"far from all, exact", thumbnails, works, "yard.jpg?at=" + moment(60), 404, "near this time", false, "none"},
		{"in a gap, exact", fakeLog{"raw": {0, -1, 0}}, works, "yard.jpg?at=" + moment(3.9), 200, "raw 102.0", true, "exact"},
		{"MJPEG camera, smaller", fakeLog{"raw": {10, 10}}, works, "yard.jpg?width=320&at=" + moment(2.41), 200, "raw 101.2", true, "exact"},
		{"MJPEG camera, no decoder", fakeLog{"raw": {10, 10}}, fails, "yard.jpg?width=320&at=" + moment(2.41), 200, "raw 101.2", false, "instead"},
		{"the decoder fails", thumbnails, fails, "yard.jpg?at=" + moment(2), 200, "thumbnail 101.0", false, "instead"},
		{"the decoder fails, no thumbnails", fakeLog{"raw": {0}}, fails, "yard.jpg", 503, "the processor thumbnail", false, "failed"},
		{"no time", thumbnails, nil, "yard.jpg?at=noon", 400, "at:", false, ""},
		{"no width", thumbnails, nil, "yard.jpg?width=wide", 400, "width:", false, ""},
		{"unknown camera", thumbnails, nil, "nobody.jpg", 404, "no camera", false, ""},
		{"hidden camera", thumbnails, nil, "hidden.jpg", 404, "no camera", false, ""},
		{"no picture's path", thumbnails, nil, "yard.png", 404, "/snapshot/<camera>.jpg", false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, result := get(t, c.log, c.decoder, "/snapshot/"+c.path)
			if w.Code != c.code || !strings.Contains(w.Body.String(), c.body) || result != c.result {
				t.Fatalf("%d %s, counted as %q; want %d with %q, counted as %q", w.Code, w.Body, result, c.code, c.body, c.result)
			}
			cache := "no-store"
			if c.settled {
				cache = "public, max-age=600"
			}
			if got := w.Header().Get("Cache-Control"); got != cache {
				t.Errorf("Cache-Control: %s", got)
			}
			if c.code == 200 && (w.Header().Get("Content-Type") != "image/jpeg" || w.Body.String() != c.body) {
				t.Errorf("%q as %s", w.Body, w.Header().Get("Content-Type"))
			}
		})
	}
}

// The decoder gets the GOP's pictures up to the one that is wanted, and the header tells
// which one it was.
func TestWhatIsDecoded(t *testing.T) {
	l := fakeLog{"raw": {0, 0}}
	for _, c := range []struct {
		at           float64
		asked, taken string
	}{
		{2.7, "raw 101.0 to raw 101.1 at 63000, width 640", "2030-01-02T03:04:07.5Z"},
		{3.2, "raw 101.2 to raw 101.2 at 108000, width 640", "2030-01-02T03:04:08Z"},
		{1.999, "raw 100.2 to raw 100.3 at 179910, width 640", "2030-01-02T03:04:06.5Z"},
		{-3, "raw 100.0 to raw 100.0 at -270000, width 640", "2030-01-02T03:04:05Z"},
		{30, "raw 101.2 to raw 101.3 at 2520000, width 640", "2030-01-02T03:04:08.5Z"},
	} {
		d := &fakeDecoder{}
		w, _ := get(t, l, d, "/snapshot/yard.jpg?width=640&at="+moment(c.at))
		if d.asked != c.asked || w.Header().Get("Framelog-Time") != c.taken {
			t.Errorf("at %g: asked for %q, taken at %s; want %q, %s", c.at, d.asked, w.Header().Get("Framelog-Time"), c.asked, c.taken)
		}
	}
}

// A camera that has been off for long has its past in the archive alone.
func TestArchivedPicture(t *testing.T) {
	l := fakeLog{"raw": {0, 0}}
	path := "/snapshot/yard.jpg?width=640&at=" + moment(2.7)
	if w, result := ask(t, l, nil, &fakeDecoder{}, path); w.Code != http.StatusOK || w.Body.String() != "raw 101.1" || result != "exact" {
		t.Errorf("%d %s (%s)", w.Code, w.Body, result)
	}
	if w, _ := ask(t, nil, nil, &fakeDecoder{}, path); w.Code != http.StatusNotFound {
		t.Errorf("of a camera without any footage: %d %s", w.Code, w.Body)
	}
}

// A decoder that does not answer leaves time for the nearest thumbnail.
func TestDecoderThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, result := get(t, fakeLog{"raw": {0}, "thumbnail": {1}}, &fakeDecoder{hangs: true}, "/snapshot/yard.jpg")
		if w.Body.String() != "thumbnail 100.0" || result != "instead" {
			t.Errorf("%d %s, counted as %s", w.Code, w.Body, result)
		}
	})
}

// Of a very long GOP no exact picture is made.
func TestFootageIsBounded(t *testing.T) {
	defer func(n int) { maxFootage = n }(maxFootage)
	maxFootage = 10 // one sample
	for at, code := range map[float64]int{0.1: 200, 0.6: 501, 1.1: 200} {
		if w, _ := get(t, fakeLog{"raw": {0}}, &fakeDecoder{}, "/snapshot/yard.jpg?at="+moment(at)); w.Code != code {
			t.Errorf("at %g: %d %s", at, w.Code, w.Body)
		}
	}
}

// Only so many pictures are made at a time.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		defer close(goOn)
		s := New(Config{MaxReads: 1}, Deps{
			Known:  func(string) bool { return true },
			Newest: func(context.Context, string) (map[string]schemas.Entry, error) { <-goOn; return nil, nil },
		})
		ask := func() *httptest.ResponseRecorder {
			w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/snapshot/yard.jpg", nil)
			r.SetPathValue("file", "yard.jpg")
			s.get(w, r)
			return w
		}
		go ask()
		synctest.Wait()
		if w := ask(); w.Code != 503 || !strings.Contains(w.Body.String(), "too many") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

// unmounted is a log whose archive is away.
type unmounted struct{ fakeLog }

func (unmounted) Entries(context.Context, schemas.Topic, medialog.Range) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		yield(schemas.Entry{}, &fs.PathError{Op: "open", Path: "archive", Err: fs.ErrPermission})
	}
}

func TestArchiveAway(t *testing.T) {
	s := New(Config{}, Deps{
		Log: unmounted{}, Known: func(string) bool { return true },
		Newest: func(context.Context, string) (map[string]schemas.Entry, error) {
			return map[string]schemas.Entry{}, nil
		},
	})
	w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/snapshot/yard.jpg?at="+moment(1), nil)
	r.SetPathValue("file", "yard.jpg")
	if s.get(w, r); w.Code != 503 || !strings.Contains(w.Body.String(), "archive.dir") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// FuzzRequests: whatever is asked for below /snapshot/, nothing panics, and the answer is the
// client's fault or a picture. Either is bounded.
func FuzzRequests(f *testing.F) {
	for _, s := range [][2]string{
		{"yard.jpg", ""},
		{"yard.jpg", "at=" + moment(3.6) + "&width=320"},
		{"yard.jpg", "at=0001-01-01T00:00:00Z"},
		{"yard.jpg", "at=9999-12-31T23:59:59.999999999Z"},
		{"yard.jpg", "at=2030-01-02T03:04:05%2B23:59"},
		{"yard.jpg", "width=99999999999999999999"},
		{"yard.jpg", "width=-1"},
		{"yard.jpg", "width=8192&width=1"},
		{"yard.jpg", "%zz&at=%ff"},
		{"../yard.jpg", ""},
		{"yard/raw.jpg", ""},
		{"yard\x00.jpg", ""},
		{".jpg", ""},
		{"hidden.jpg", ""},
		{"nobody.jpg", ""},
		{"", "at"},
	} {
		f.Add(s[0], s[1])
	}
	l := fakeLog{"720p": {1, 1}, "thumbnail": {1, -1, 1}, "raw": {0, 0, -1, 0}}
	handler := serve(f, l, l, &fakeDecoder{}, nil)
	f.Fuzz(func(t *testing.T, path, query string) {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		r.URL = &url.URL{Path: "/snapshot/" + path, RawQuery: query}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		picture := w.Code == 200 && w.Header().Get("Content-Type") == "image/jpeg" && strings.HasPrefix(w.Body.String(), "raw ")
		if !picture && (w.Code < 300 || w.Code >= 500) || w.Body.Len() > 1<<12+2*len(path) {
			t.Errorf("%q %q: %d, %d bytes: %.200s", path, query, w.Code, w.Body.Len(), w.Body)
		}
	})
}
