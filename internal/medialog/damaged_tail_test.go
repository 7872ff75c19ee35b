package medialog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// watched notes what a tail yields. It begins again a second after each error.
type watched struct {
	mu     sync.Mutex
	seqs   []uint64 // of entries
	chunks int
	errs   []error
}

func (w *watched) follow(ctx context.Context, l *Log, t schemas.Topic) {
	for ctx.Err() == nil {
		for ev, err := range l.Tail(ctx, t, Position{}) {
			w.mu.Lock()
			switch {
			case err != nil:
				w.errs = append(w.errs, err)
			case ev.Entry != nil:
				w.seqs = append(w.seqs, ev.Entry.Seq)
			case ev.Chunk != nil:
				w.chunks++
			}
			w.mu.Unlock()
		}
		time.Sleep(time.Second)
	}
}

func (w *watched) state() (newest uint64, chunks int, errs []error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.seqs); n > 0 {
		newest = w.seqs[n-1]
	}
	return newest, w.chunks, slices.Clone(w.errs)
}

// A record comes damaged to the tail of a camera. The tail ends, and the client, which the tails of
// other cameras share, fetches the record twice at most for each tail that begins again: once
// before it hears of the damage. When the fragment has its entry, the tail goes on behind.
func TestDamagedTail(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		e.partitions = 1
		const id = 0xDA3A6ED0
		bad := testenv.DamagedReads{Mark: binary.BigEndian.AppendUint64(nil, id<<32|13), Most: 1000}
		e.dial = bad.Of(e.dial)
		l := e.log()
		ctx, cancel := context.WithCancel(t.Context())
		var tails sync.WaitGroup
		defer tails.Wait()
		defer cancel()
		second := schemas.Topic{Camera: "back-door"}
		feeds, readers := map[schemas.Topic]*feed{}, map[schemas.Topic]*watched{}
		for at, topic := range []schemas.Topic{cam, second} {
			w := l.Open(ctx, topic, OpenOptions{Writer: "w"})
			ready(t, w)
			f, r := newFeed(w, uint32(id+at)), &watched{}
			feeds[topic], readers[topic] = f, r
			if err := f.fragment(2); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the first entry", func() bool { return w.items() == 0 })
			tails.Go(func() { r.follow(ctx, l, topic) })
			waitFor(t, "the tail has it", func() bool { newest, _, _ := r.state(); return newest > 0 })
		}
		broken, other := readers[cam], readers[second]
		first, shown, _ := broken.state()
		chunk := func(index uint32, last bool) {
			t.Helper()
			if err := feeds[cam].chunk(index, 5, last, 100); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the chunk has a batch of its own", func() bool { return feeds[cam].w.buffered() == 0 })
		}
		chunk(0, false) // frames 11 to 15: the damaged one
		waitFor(t, "the tail ends", func() bool { _, _, errs := broken.state(); return len(errs) > 0 })
		began := time.Now()
		for time.Since(began) < 20*time.Second {
			if err := feeds[second].fragment(2); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		_, chunks, errs := broken.state()
		if n := bad.Hits(); chunks != shown || n < 10 || n > 2*len(errs)+2 {
			t.Errorf("%d fetches of the damaged record for %d tails, and %d chunks", n, len(errs), chunks-shown)
		}
		where := fmt.Sprintf("%s partition 0: the record at offset 2", l.names.Media(cam))
		for _, err := range errs {
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), where) {
				t.Fatalf("a tail ends with %v", err)
			}
		}
		if n := e.logged("cannot be decoded"); n != 1 {
			t.Errorf("%d lines in the log, want one", n)
		}
		if newest, _, errs := other.state(); len(errs) > 0 || newest < first+20 {
			t.Errorf("the other camera's tail is at %d, with the errors %v", newest-first, errs)
		}
		chunk(1, true)
		waitFor(t, "the fragment has its entry", func() bool { newest, _, _ := broken.state(); return newest == first+1 })
		chunk(0, false)
		waitFor(t, "the next one comes chunk by chunk", func() bool { _, chunks, _ := broken.state(); return chunks == shown+1 })
		cancel()
		for _, f := range feeds {
			closeWriter(t, f.w)
		}
	})
}
