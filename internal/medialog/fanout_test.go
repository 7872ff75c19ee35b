package medialog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// connections counts the connections to the brokers that are open, and the most that
// were open at once.
type connections struct{ open, most atomic.Int32 }

// of counts the connections that the logs of e make from now on.
func (n *connections) of(e *env) {
	dial := e.dial
	e.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if now := n.open.Add(1); now > n.most.Load() {
			n.most.Store(now)
		}
		return &counted{Conn: c, closed: sync.OnceFunc(func() { n.open.Add(-1) })}, nil
	}
}

type counted struct {
	net.Conn
	closed func()
}

func (c *counted) Close() error {
	c.closed()
	return c.Conn.Close()
}

// TestTailsOfOneTopic: tails of one topic begin and end at any time while a writer runs.
// Each gets every entry from its first on, and chunks with the bytes that were written.
// One client serves all of them.
func TestTailsOfOneTopic(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		var conns connections
		conns.of(e)
		l := e.log()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		w := l.Open(ctx, cam, OpenOptions{Writer: "w1"})
		ready(t, w)
		f := newFeed(w, 1)
		if err := f.fragment(5); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the first entry", func() bool { return w.items() == 0 })
		first := entriesOf(t, l, Range{})[0].Seq
		const fragments = 60
		go func() {
			for range fragments - 1 {
				for k := range 5 {
					time.Sleep(time.Duration(rand.IntN(400)) * time.Millisecond)
					if err := f.chunk(uint32(k), 5, k == 4, 100); err != nil {
						t.Error(err)
					}
				}
			}
		}()

		const last = fragments - 1
		entries := make([][]schemas.Entry, 50)
		chunks := make([][]*schemas.Chunk, 50)
		var tails sync.WaitGroup
		for i := range entries {
			tails.Go(func() {
				time.Sleep(time.Duration(rand.IntN(50_000)) * time.Millisecond)
				until := first + last
				if i%5 == 0 { // some end earlier
					until = first + 1 + rand.Uint64N(last)
				}
				for ev, err := range l.Tail(ctx, cam, Position{}) {
					switch {
					case err != nil:
						t.Errorf("tail %d: %v", i, err)
					case ev.Chunk != nil:
						chunks[i] = append(chunks[i], ev.Chunk)
					case ev.Entry != nil:
						entries[i] = append(entries[i], *ev.Entry)
						if ev.Entry.Seq >= until {
							return
						}
					}
				}
			})
		}
		tails.Wait()
		closeWriter(t, w)
		es := entriesOf(t, l, Range{})
		for i := range entries {
			for k, got := range entries[i] {
				if want := es[entries[i][0].Seq-first+uint64(k)]; got != want {
					t.Fatalf("tail %d: entry %d is\n%+v\nwant\n%+v", i, k, got, want)
				}
			}
			for k, c := range chunks[i] {
				if k > 0 {
					if p := chunks[i][k-1]; c.Seq < p.Seq || c.Seq == p.Seq && c.Index != p.Index+1 {
						t.Fatalf("tail %d: chunk %d.%d follows %d.%d", i, c.Seq, c.Index, p.Seq, p.Index)
					}
				}
				for n, s := range c.Video() {
					if count := (c.Seq-first)*25 + uint64(c.Index)*5 + uint64(n) + 1; string(s.Data) != string(f.sent[uint32(count)]) {
						t.Fatalf("tail %d: sample %d of chunk %d.%d has other bytes than were written", i, n, c.Seq, c.Index)
					}
				}
			}
			if n := len(chunks[i]); i%5 != 0 && n < 10 && len(entries[i]) > 5 {
				t.Errorf("tail %d: %d provisional chunks with %d entries", i, n, len(entries[i]))
			}
		}
		// Each of the log's two clients has several connections: one to find the brokers, others
		// for chunks, for fetches, and for other requests.
		if n := conns.most.Load(); n > 15 {
			t.Errorf("%d connections were open at once", n)
		}
		waitFor(t, "the client has forgotten the topic", func() bool { return len(l.hub.client.GetConsumeTopics()) == 0 })
	})
}

// TestJoin: a tail begins at an offset that the client has not read up to yet.
func TestJoin(t *testing.T) {
	f := newHub(newEnv(t, []string{"127.0.0.1:1"}, 1).log()).fanout("m.index", "m")
	at := topicPartition{"m", 0}
	subs := []*subscription{f.join(map[topicPartition]int64{at: 3}), f.join(map[topicPartition]int64{at: 5})}
	for o := range int64(8) {
		f.push(at, []*kgo.Record{{Offset: o}}, nil)
	}
	for i, first := range []int64{3, 5} {
		for want := first; want < 8; want++ {
			if r, err := subs[i].take(t.Context()); err != nil || r.Offset != want {
				t.Errorf("tail %d gets %+v, %v; want offset %d", i, r, err, want)
			}
		}
	}
}

// TestFanout: subscriptions begin at any time and at any offset that exists. Each gets
// every record of each partition once and in order, and they share the records.
func TestFanout(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		const partitions, records, subscriptions = 3, 400, 50
		l := e.log()
		if _, err := l.admin.CreateTopic(t.Context(), partitions, 1, nil, "m"); err != nil {
			t.Fatal(err)
		}
		if _, err := l.admin.CreateTopic(t.Context(), 1, 1, nil, "m.index"); err != nil {
			t.Fatal(err)
		}
		all := []topicPartition{{"m.index", 0}, {"m", 0}, {"m", 1}, {"m", 2}}
		go func() {
			for i := range records {
				time.Sleep(10 * time.Millisecond)
				for _, at := range all {
					l.producer.Produce(t.Context(), &kgo.Record{Topic: at.topic, Partition: at.n, Value: fmt.Append(nil, at, i)}, nil)
				}
			}
		}()
		var mu sync.Mutex
		newest := map[*kgo.Record]int{}
		var subs sync.WaitGroup
		for i := range subscriptions {
			subs.Go(func() {
				time.Sleep(time.Duration(rand.IntN(4000)) * time.Millisecond)
				next := map[topicPartition]int64{}
				for _, topic := range []string{"m", "m.index"} {
					s, err := l.spans(t.Context(), topic)
					if err != nil {
						t.Error(err)
						return
					}
					for n := range s {
						next[topicPartition{topic, int32(n)}] = rand.Int64N(s[n].end + 1)
					}
				}
				begin := fmt.Sprint(next)
				sub, err := l.hub.subscribe("m.index", "m", next)
				if err != nil {
					t.Error(err)
					return
				}
				defer sub.close()
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				left := len(all)
				for _, offset := range next {
					if offset == records {
						left--
					}
				}
				if left == 0 {
					return
				}
				for r, err := range sub.records(ctx) {
					if err != nil {
						t.Errorf("subscription %d from %s ends at %v: %v", i, begin, next, err)
						return
					}
					at := topicPartition{r.Topic, r.Partition}
					if want := fmt.Sprint(at, next[at]); r.Offset != next[at] || string(r.Value) != want {
						t.Errorf("subscription %d from %s: %s at offset %d, want %s", i, begin, r.Value, r.Offset, want)
						return
					}
					next[at]++
					if next[at] == records {
						mu.Lock()
						newest[r]++
						mu.Unlock()
						if left--; left == 0 {
							return
						}
					}
				}
			})
		}
		subs.Wait()
		if len(newest) > 2*len(all) {
			t.Errorf("the newest record of %d partitions is %d times in memory", len(all), len(newest))
		}
	})
}

// TestSlowTailEndsAlone: the queue of a tail that does not read is full. The tail ends;
// another of the same topic goes on.
func TestSlowTailEndsAlone(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log(func(c *Config) { c.TailBytes = 20_000 })
		ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
		defer cancel()
		w := l.Open(ctx, cam, OpenOptions{Writer: "w1"})
		f := newFeed(w, 1)
		last := record(t, l, f, 1)[0].Seq + 50

		awake, slow, live := make(chan struct{}), make(chan error, 1), make(chan struct{})
		go func() {
			for ev, err := range l.Tail(ctx, cam, Position{}) {
				if err != nil {
					slow <- err
				}
				if ev.Live {
					close(live)
					<-awake
				}
			}
		}()
		<-live
		go func() {
			for range 50 {
				time.Sleep(100 * time.Millisecond)
				if err := f.fragment(1); err != nil {
					t.Error(err)
				}
			}
		}()
		n := 0
		for ev, err := range l.Tail(ctx, cam, Position{}) {
			if err != nil {
				t.Fatalf("the tail whose reader is fast ends with %v", err)
			}
			if ev.Entry != nil {
				if n++; ev.Entry.Seq == last {
					break
				}
			}
		}
		close(awake)
		if err := <-slow; !errors.Is(err, ErrSlow) {
			t.Errorf("the tail whose reader stands still ends with %v", err)
		}
		if n != 51 {
			t.Errorf("the other got %d entries, want 51", n)
		}
		closeWriter(t, w)
	})
}
