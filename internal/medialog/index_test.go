package medialog

import (
	"context"
	"errors"
	"iter"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/schemas"
)

// TestNewestOffset: the media topic was created again. Chunks without an entry stand behind
// the newest entry's, although older entries name higher offsets.
func TestNewestOffset(t *testing.T) {
	n := newest{offsets: map[int32]int64{}}
	for i, last := range []int64{900, 4} {
		n.add(&schemas.Entry{Kind: schemas.KindWhole, Seq: uint64(7 + i), First: last, Last: last, Chunks: 1})
	}
	if n.offsets[0] != 5 {
		t.Errorf("chunks without an entry are looked for from offset %d on, want 5", n.offsets[0])
	}
}

// putOpen opens cam with a writer that writes nothing.
func putOpen(t *testing.T, l *Log) {
	t.Helper()
	w := l.Open(t.Context(), cam, OpenOptions{Writer: "w"})
	ready(t, w)
	closeWriter(t, w)
}

// TestFirstFetch: a reader of a long part of an index begins with a small fetch, since it may
// stop soon. The next fetches are larger.
func TestFirstFetch(t *testing.T) {
	virtual(t, 1, func(t *testing.T, c *kfake.Cluster, e *env) {
		l := e.log()
		putOpen(t, l)
		var mu sync.Mutex
		var sizes []int32
		c.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			mu.Lock()
			defer mu.Unlock()
			sizes = append(sizes, r.(*kmsg.FetchRequest).MaxBytes)
			return nil, nil, false
		})
		index := l.names.Index(cam)
		s, err := l.spans(t.Context(), index)
		if err != nil {
			t.Fatal(err)
		}
		n := int64(0)
		for _, err := range l.indexRecords(t.Context(), index, 0, 40_000) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == s[0].end {
				putOpen(t, l) // one more record
				continue
			}
			if n > s[0].end {
				break
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if first := int32(indexWindow * entrySize); !slices.Contains(sizes, first) || !slices.Contains(sizes, 4*first) || slices.Max(sizes) > 4*first {
			t.Errorf("fetches of %v bytes, want %d first and %d then", sizes, first, 4*first)
		}
	})
}

// TestFragmentFetch: whoever reads a fragment fetches it at once, and little of what stands
// behind it.
func TestFragmentFetch(t *testing.T) {
	virtual(t, 1, func(t *testing.T, c *kfake.Cluster, e *env) {
		l := e.log()
		w := l.Open(t.Context(), cam, OpenOptions{Writer: "w"})
		ready(t, w)
		f := newFeed(w, 1)
		for range 8 {
			for i := range 3 {
				if err := f.chunk(uint32(i), 5, i == 2, 20_000); err != nil {
					t.Fatal(err)
				}
				time.Sleep(200 * time.Millisecond) // a camera's pace: each chunk is a batch
			}
		}
		closeWriter(t, w)
		all := entriesOf(t, l, Range{})
		if len(all) != 8 {
			t.Fatalf("%d entries", len(all))
		}
		var sizes []int64
		c.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			sizes = append(sizes, int64(r.(*kmsg.FetchRequest).MaxBytes))
			return nil, nil, false
		})
		for _, e := range all {
			sizes = nil
			if n := len(counts(t, l, e, f.sent)); n != 15 {
				t.Errorf("seq %d: %d samples", e.Seq, n)
			}
			if len(sizes) != 1 || sizes[0] < e.Bytes || sizes[0] > e.Bytes*3/2 {
				t.Errorf("seq %d has %d bytes: fetches of %v bytes", e.Seq, e.Bytes, sizes)
			}
		}
	})
}

// TestReadBesideWait: a reader that waits for records does not keep another one waiting.
func TestReadBesideWait(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log()
		putOpen(t, l)
		index := l.names.Index(cam)
		s, err := l.spans(t.Context(), index)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			for _, err := range l.indexRecords(ctx, index, s[0].end, s[0].end+1) {
				if err == nil {
					t.Error("a record came that nobody wrote")
				}
			}
		})
		synctest.Wait() // its request is at the broker
		began := time.Now()
		for _, err := range l.indexRecords(t.Context(), index, 0, 1) {
			if err != nil {
				t.Error(err)
			}
		}
		if d := time.Since(began); d > 100*time.Millisecond {
			t.Errorf("the other reader had its record after %v", d)
		}
		cancel()
		wg.Wait()
	})
}

// TestFailingRead: a partition that cannot be read is logged once.
func TestFailingRead(t *testing.T) {
	virtual(t, 1, func(t *testing.T, c *kfake.Cluster, e *env) {
		l := e.log()
		putOpen(t, l)
		c.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			resp := r.ResponseKind().(*kmsg.FetchResponse)
			resp.ErrorCode = -1 // UNKNOWN_SERVER_ERROR
			return resp, nil, true
		})
		ctx, cancel := context.WithTimeout(t.Context(), 3*logAfter)
		defer cancel()
		for _, err := range l.indexRecords(ctx, l.names.Index(cam), 0, 1) {
			if err == nil {
				t.Error("a record was read")
			}
		}
		if n := e.logged("a partition cannot be read"); n != 1 {
			t.Errorf("it is logged %d times, want once", n)
		}
	})
}

// TestSlowOpening: a writer that does not open logs what it waits for.
func TestSlowOpening(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		w := e.log().Open(t.Context(), cam, OpenOptions{Writer: "w", Remember: func(ctx context.Context) (schemas.Standing, error) {
			time.Sleep(2 * logAfter)
			return schemas.Standing{}, ctx.Err()
		}})
		ready(t, w)
		if n := e.logged("waits_for=\"where the camera's numbers stood\""); n != 1 {
			t.Errorf("it is logged %d times, want once", n)
		}
	})
}

// ahead yields what is read, in order, with its errors; who stops waits for what is being read.
func TestAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := errors.New("failed")
		for n := range 6 { // of values before the error
			for stop := range 8 {
				running := false
				read := func(ctx context.Context) iter.Seq2[int, error] {
					return func(yield func(int, error) bool) {
						running = true
						defer func() { running = false }()
						for i := range n {
							select {
							case <-ctx.Done():
								yield(0, ctx.Err())
								return
							case <-time.After(time.Second):
							}
							if !yield(i, nil) {
								return
							}
						}
						yield(0, failed)
					}
				}
				got := 0
				for v, err := range ahead(t.Context(), read) {
					if err == nil && v != got || (err != nil) != (got == n) {
						t.Fatalf("%d values: %d, %v in place %d", n, v, err, got)
					}
					if got == stop {
						break
					}
					got++
				}
				if want := min(stop, n+1); got != want || running {
					t.Errorf("%d values, stopped at %d: %d came, reading %v", n, stop, got, running)
				}
			}
		}
	})
}

// A reader that stops while a fetch is under way does not cost the others their connection.
func TestReaderStops(t *testing.T) {
	virtual(t, 1, func(t *testing.T, c *kfake.Cluster, e *env) {
		dial, dials := e.dial, atomic.Int32{}
		e.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			dials.Add(1)
			return dial(ctx, network, address)
		}
		l := e.log()
		putOpen(t, l)
		index := l.names.Index(cam)
		read := func(ctx context.Context) (err error) {
			for _, failed := range l.indexRecords(ctx, index, 0, 1) {
				err = failed
			}
			return err
		}
		if err := read(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := dials.Load()
		c.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			c.SleepControl(func() { time.Sleep(2 * time.Second) })
			return nil, nil, false
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := read(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("the reader that stops: %v after %v", err, time.Since(began))
		}
		if err := read(t.Context()); err != nil {
			t.Error(err)
		}
		if n := dials.Load() - before; n != 0 {
			t.Errorf("%d connections were made anew", n)
		}
	})
}
