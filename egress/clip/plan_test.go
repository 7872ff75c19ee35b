package clip

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// held is footage whose reads stand still. One goroutine at a time runs in the tests that use it.
type held struct {
	*footage
	index, media bool          // what stands still, until the context of the read ends or goOn
	goOn         chan struct{} // when it is closed
	reads        int           // of the index
	read         []weak.Pointer[schemas.GapRun]
}

func (x *held) Entries(ctx context.Context, t schemas.Topic, r medialog.Range) iter.Seq2[schemas.Entry, error] {
	x.reads++
	return func(yield func(schemas.Entry, error) bool) {
		if x.index && !x.wait(ctx) {
			yield(schemas.Entry{}, ctx.Err())
			return
		}
		for e, err := range x.footage.Entries(ctx, t, r) {
			e.Run = &schemas.GapRun{} // it is in memory as long as the entry is
			x.read = append(x.read, weak.Make(e.Run))
			if !yield(e, err) {
				return
			}
		}
	}
}

func (x *held) Chunks(ctx context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	if x.media && !x.wait(ctx) {
		return func(yield func(*schemas.Chunk, error) bool) { yield(nil, ctx.Err()) }
	}
	return x.footage.Chunks(ctx, t, e)
}

// wait reports whether the read goes on.
func (x *held) wait(ctx context.Context) bool {
	select {
	case <-x.goOn:
		return true
	case <-ctx.Done():
		return false
	}
}

// ask begins a request. When it has ended, the answer is in the channel.
func ask(ctx context.Context, t *testing.T, s *Server, method string) <-chan *httptest.ResponseRecorder {
	t.Helper()
	mux, err := access.NewMux(access.Policy{Authorize: access.Everyone}, s.Routes(), func(_ access.Route, h http.Handler) http.Handler { return h })
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan *httptest.ResponseRecorder, 1)
	go func() {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequestWithContext(ctx, method, "/clip/yard.mp4"+inside, nil))
		got <- w
	}()
	synctest.Wait()
	return got
}

// newHeld makes a server with one place, and its footage.
func newHeld() (*held, *Server) {
	time.Sleep(time.Until(testmedia.Start.Add(time.Hour)))
	log := &held{footage: newFootage(testmedia.Start), goOn: make(chan struct{})}
	return log, New(Config{MaxClips: 1}, Deps{Log: log, Known: func(string) bool { return true }})
}

// The reads of the index are bounded, those of HEAD too: in number, and in time.
func TestPlansAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, s := newHeld()
		log.index = true
		begin := time.Now()
		first := ask(t.Context(), t, s, "HEAD")
		time.Sleep(time.Second)
		second := ask(t.Context(), t, s, "GET")
		gone, leave := context.WithCancel(t.Context())
		third := ask(gone, t, s, "HEAD")
		if log.reads != 1 {
			t.Errorf("%d ranges are read at once", log.reads)
		}
		leave()
		<-third
		if took := time.Since(begin); took != time.Second {
			t.Errorf("a request whose client has gone waits until %v", took)
		}
		if w := <-first; w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || time.Since(begin) != 10*time.Second {
			t.Errorf("a read that does not end: %d after %v", w.Code, time.Since(begin))
		}
		close(log.goOn)
		if w := <-second; w.Code != http.StatusOK {
			t.Errorf("the next one: %d %s", w.Code, w.Body)
		}
	})
}

// A request that finds no place in time gets 503.
func TestNoPlaceForAPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, s := newHeld()
		if !s.plans.TryAcquire(1) { // another request, for as long as the test
			t.Fatal("there is no place at all")
		}
		begin := time.Now()
		w := <-ask(t.Context(), t, s, "GET")
		var body struct{ Error, Remedy string }
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || time.Since(begin) != 10*time.Second || body.Remedy == "" {
			t.Errorf("%d after %v: %s", w.Code, time.Since(begin), w.Body)
		}
		if log.reads != 0 {
			t.Error("the index is read without a place")
		}
	})
}

// Who waits for a file that another request makes keeps no entries, and makes it itself if the other
// one goes.
func TestWaitsWithoutEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, s := newHeld()
		log.media = true
		ctx, leave := context.WithCancel(t.Context())
		first := ask(ctx, t, s, "GET")
		log.read = nil
		second := ask(t.Context(), t, s, "GET")
		if log.reads != 2 || len(log.read) == 0 {
			t.Fatalf("the index was read %d times", log.reads)
		}
		runtime.GC()
		for _, p := range log.read {
			if p.Value() != nil {
				t.Fatal("a request that waits for another one's file keeps its entries")
			}
		}
		leave()
		<-first
		close(log.goOn)
		if w := <-second; w.Code != http.StatusOK || log.reads != 3 {
			t.Errorf("the one that waited: %d after %d reads of the index", w.Code, log.reads)
		}
	})
}
