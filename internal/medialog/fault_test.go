package medialog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// stoppable is a broker that a test can take away and bring back.
type stoppable struct {
	brokers []string
	stop    func() // as kill -9 if the broker is a process
	start   func()
}

func stoppableEmbedded(t *testing.T) stoppable {
	b := &embedded{t: t, data: t.TempDir(), listen: fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))}
	b.start()
	t.Cleanup(b.stop)
	return stoppable{[]string{b.listen}, b.stop, b.start}
}

func stoppableKafka(t *testing.T) stoppable {
	k := testenv.OwnKafka(t)
	return stoppable{k.Brokers, func() { k.Kill(t) }, func() { k.Start(t) }}
}

// TestKafkaAway is guarantee 7: Kafka is away for an hour of footage. Nothing ends,
// and all that is left of it is one unbroken run of gaps of the right length. The
// hour is fed as fast as it goes.
func TestKafkaAway(t *testing.T) {
	for name, start := range map[string]func(*testing.T) stoppable{"embedded": stoppableEmbedded, "kafka": stoppableKafka} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := start(t)
			e := newEnv(t, b.brokers, 2)
			l := e.log(func(c *Config) { c.Budget = 200_000 })
			w := l.Open(t.Context(), cam, OpenOptions{Writer: "w1"})
			ready(t, w)
			f := newFeed(w, 1)
			for range 5 {
				if err := f.fragment(5); err != nil {
					t.Fatal(err)
				}
				waitFor(t, "the fragment is taken", func() bool { return w.buffered() == 0 })
			}
			b.stop()
			away := f.media
			refused := 0
			for range 3600 { // each fragment of 25 frames of 1000 bytes
				for k := range 5 {
					if err := f.chunk(uint32(k), 5, k == 4, 1000); errors.Is(err, ErrRefused) {
						refused++
					} else if err != nil {
						t.Fatal(err)
					}
				}
				if n := w.buffered(); n > 200_000 {
					t.Fatalf("%d bytes are buffered, the budget is 200000", n)
				}
				if n := w.items(); n > 64 {
					t.Fatalf("%d items are pending", n)
				}
			}
			if refused < 3500*5 {
				t.Errorf("only %d chunks were refused", refused)
			}
			b.start()
			waitFor(t, "Kafka takes chunks again", func() bool { return w.buffered() == 0 })
			back := f.media
			for range 5 {
				if err := f.fragment(5); err != nil {
					t.Fatal(err)
				}
				waitFor(t, "the fragment is taken", func() bool { return w.buffered() == 0 })
			}
			closeWriter(t, w)
			es := entriesOf(t, l, Range{})
			dense(t, es)
			runs, gap := 0, int64(0)
			for i, x := range es {
				if i > 0 && es[i-1].MediaEnd() != x.Media {
					t.Fatalf("seq %d begins at %d, the one before ends at %d", x.Seq, x.Media, es[i-1].MediaEnd())
				}
				if x.Kind == schemas.KindGap {
					if x.Reason != schemas.ReasonBudget || x.Duration > 2*schemas.MediaTimescale {
						t.Fatalf("gap %+v", x)
					}
					if es[i-1].Kind != schemas.KindGap {
						runs++
					}
					gap += x.Duration
				} else if x.Media < away || x.Media >= back {
					if x.Kind != schemas.KindWhole {
						t.Errorf("%+v", x)
					}
				}
			}
			held := int64(200_000 / 25_000 * schemas.MediaTimescale)
			if want := back - away - held; runs != 1 || gap < want || gap > want+2*schemas.MediaTimescale {
				t.Errorf("%d runs of gaps of %.1f s together, want one of about %.1f s", runs, float64(gap)/schemas.MediaTimescale, float64(want)/schemas.MediaTimescale)
			}
		})
	}
}

func (w *Writer) buffered() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.core.buffered + w.early.bytes
}
func (w *Writer) items() int { w.mu.Lock(); defer w.mu.Unlock(); return len(w.core.pending) }

// TestOpenWhileAway: a writer opens before Kafka is there. It keeps as much as its
// budget holds, the rest becomes a gap, and no time is missing.
func TestOpenWhileAway(t *testing.T) {
	b := stoppableEmbedded(t)
	b.stop()
	e := newEnv(t, b.brokers, 2)
	l := e.log(func(c *Config) { c.Budget = 60_000 })
	w := l.Open(t.Context(), cam, OpenOptions{Writer: "w1"})
	f := newFeed(w, 1)
	first := f.media
	for range 100 {
		for k := range 5 {
			_ = f.chunk(uint32(k), 5, k == 4, 1000)
		}
	}
	b.start()
	ready(t, w)
	waitFor(t, "the budget is free again", func() bool { return w.buffered() == 0 })
	if err := f.fragment(5); err != nil {
		t.Fatal(err)
	}
	closeWriter(t, w)
	es := entriesOf(t, l, Range{})
	dense(t, es)
	at := first
	for _, x := range es {
		if x.Media != at {
			t.Fatalf("seq %d begins at %d, want %d", x.Seq, x.Media, at)
		}
		at = x.MediaEnd()
	}
	if at != f.media || es[0].Kind != schemas.KindWhole || es[len(es)-1].Kind != schemas.KindWhole {
		t.Errorf("footage up to %d of %d; %+v … %+v", at, f.media, es[0], es[len(es)-1])
	}
}

// TestFaults runs real writers and readers against brokers that fail: requests
// that time out after they were applied, leaders that move, writers that are
// cut off in the middle, two owners at once, readers that come and go. It runs in
// real time: what is on its way when a writer is cut off depends on it.
func TestFaults(t *testing.T) {
	seeds := []uint64{1, 2, 3}
	if v := os.Getenv("FRAMELOG_TEST_SEED"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds = []uint64{n}
	}
	for _, seed := range seeds {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Logf("again: FRAMELOG_TEST_SEED=%d go test ./internal/medialog -run TestFaults", seed)
			faults(t, rand.New(rand.NewPCG(seed, 1)))
		})
	}
}

func faults(t *testing.T, rng *rand.Rand) {
	c, err := kfake.NewCluster(kfake.NumBrokers(3))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	e := newEnv(t, c.ListenAddrs(), 0)
	e.partitions = 1 + rng.Int32N(4)
	var mu sync.Mutex
	brokers := rand.New(rand.NewPCG(rng.Uint64(), 2)) // its own: the cluster's goroutine draws from it
	chance := func(p float64) func(kmsg.Request) bool {
		return func(kmsg.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			return brokers.Float64() < p
		}
	}
	c.Fault(
		kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: -1, When: chance(0.05)},
		kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicasAfterAppend, Count: -1, When: chance(0.02)},
		kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: -1, When: chance(0.02)},
		kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.NotLeaderForPartition, Count: -1, When: chance(0.02)},
	)
	ctx, cancel := context.WithTimeout(t.Context(), 3*testenv.Patience)
	defer cancel()

	// Readers: each follows as long as the test writes, and begins again where
	// it was when its tail ends.
	lastSeq := uint64(0)
	var seqMu sync.Mutex
	wanted := func() uint64 { seqMu.Lock(); defer seqMu.Unlock(); return lastSeq }
	var readers sync.WaitGroup
	got := make([][]schemas.Entry, 4)
	for i := range got {
		l := e.log()
		stop := rng.IntN(40) + 5
		readers.Go(func() {
			pos := Position{}
			for ctx.Err() == nil {
				n := 0
				for ev, err := range l.Tail(ctx, cam, pos) {
					if err != nil {
						break
					}
					if ev.Entry == nil {
						continue
					}
					got[i] = append(got[i], *ev.Entry)
					pos = Position{Seq: ev.Entry.Seq + 1}
					if w := wanted(); w != 0 && ev.Entry.Seq >= w {
						return
					}
					if n++; i%2 == 1 && n > stop {
						break // a reader that comes and goes
					}
				}
			}
		})
	}

	// Writers: one after another, each taking over; every other is cut off
	// as in a crash, the others go on until they learn that they are fenced.
	sent := map[uint32]map[uint32][]byte{}
	for id := uint32(1); id <= 6; id++ {
		l := e.log()
		w := l.Open(ctx, cam, OpenOptions{Writer: fmt.Sprint(id)})
		f := newFeed(w, id)
		sent[id] = f.sent
		ready(t, w)
		for range 5 + rng.IntN(15) {
			if rng.IntN(6) == 0 {
				c.ShufflePartitionLeaders()
			}
			if err := f.fragment(1 + rng.IntN(5)); err != nil && !errors.Is(err, ErrRefused) {
				t.Fatal(err)
			}
		}
		switch {
		case id == 6:
			closeWriter(t, w)
		case id%2 == 0:
			l.Close() // a crash: what is in flight may or may not arrive
		default:
			t.Cleanup(func() { _ = w.Close(ctx) })
		}
	}
	l := e.log()
	es := entriesOf(t, l, Range{})
	dense(t, es)
	seqMu.Lock()
	lastSeq = es[len(es)-1].Seq
	seqMu.Unlock()
	// A reader that had the last entry before lastSeq was set waits for one more
	// record. A writer that only opens and closes appends none, so this one writes a
	// fragment.
	w := l.Open(ctx, cam, OpenOptions{Writer: "end"})
	f := newFeed(w, 99)
	sent[99] = f.sent
	if err := f.fragment(1); err != nil {
		t.Fatal(err)
	}
	closeWriter(t, w)
	readers.Wait()
	es = entriesOf(t, l, Range{})
	dense(t, es)
	by := map[uint64]schemas.Entry{}
	last := map[uint32]uint32{}
	for _, x := range es {
		by[x.Seq] = x
		for c, err := range l.Chunks(ctx, cam, x) {
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range c.Video() {
				id, n := binary.BigEndian.Uint32(s.Data), binary.BigEndian.Uint32(s.Data[4:])
				if string(sent[id][n]) != string(s.Data) || n <= last[id] {
					t.Fatalf("seq %d holds sample %d of writer %d after %d, or other bytes", x.Seq, n, id, last[id])
				}
				last[id] = n
			}
		}
	}
	for i, r := range got {
		for k, x := range r {
			if by[x.Seq] != x || (k > 0 && x.Seq != r[k-1].Seq+1) {
				t.Fatalf("reader %d got, as number %d after %+v:\n%+v\nwant\n%+v", i, k, r[max(k-1, 0)], x, by[x.Seq])
			}
		}
	}
	if ctx.Err() != nil {
		t.Fatal("readers did not come to the end in time")
	}
}
