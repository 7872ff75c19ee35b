package medialog

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// TestBeyondTheEnd: a partition was cut back or created again. A reader of offsets that
// it had before gets an error, and does not wait for ever.
func TestBeyondTheEnd(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		e.partitions = 1
		brief := func(c *Config) { c.LostAfter = 300 * time.Millisecond }
		ctx, cancel := context.WithTimeout(t.Context(), 2*testenv.Patience)
		defer cancel()

		// Another process deletes the topics of a camera, and creates them again. The
		// first process keeps the offsets that it read before.
		l := e.log(brief)
		w := l.Open(ctx, cam, OpenOptions{Writer: "w1"})
		f := newFeed(w, 1)
		for range 3 {
			if err := f.fragment(2); err != nil {
				t.Fatal(err)
			}
		}
		closeWriter(t, w)
		es := entriesOf(t, l, Range{})
		index, media := l.names.Index(cam), l.names.Media(cam)
		before, err := l.spans(ctx, index)
		if err != nil {
			t.Fatal(err)
		}
		other := e.log(brief)
		// Its media alone are gone: the index still names them.
		if res, err := other.admin.DeleteTopics(ctx, media); err != nil || res.Error() != nil {
			t.Fatal(err, res.Error())
		}
		if err := other.Ensure(ctx, cam); err != nil {
			t.Fatal(err)
		}
		if got, err := other.Entry(ctx, cam, es[2].Seq); !errors.Is(err, ErrBeyond) || got != es[2] {
			t.Errorf("an entry whose media are lost: %+v, %v", got, err)
		}
		if _, err := other.Purge(ctx, cam.Camera); err != nil {
			t.Fatal(err)
		}
		if err := other.Ensure(ctx, cam); err != nil {
			t.Fatal(err)
		}
		if err := other.producer.ProduceSync(ctx, &kgo.Record{Topic: media, Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}

		last := es[len(es)-1]
		if err := l.Available(ctx, cam, last); !errors.Is(err, ErrBeyond) {
			t.Errorf("media that are lost: %v", err)
		}
		replaced := es[0]
		replaced.Partition, replaced.First, replaced.Last = 0, 0, 0 // another record is there
		for _, err := range l.Chunks(ctx, cam, replaced) {
			if !errors.Is(err, ErrExpired) {
				t.Errorf("chunks in whose place another record is: %v", err)
			}
		}
		var got error
		for _, err := range l.Chunks(ctx, cam, last) {
			got = err
		}
		if !errors.Is(got, ErrExpired) || !strings.Contains(got.Error(), media+" partition 0 ends at offset 1") {
			t.Errorf("chunks that are gone: %v", got)
		}
		for name, r := range map[string][2]int64{"from its end on": {1, 4}, "beyond its end": {2, 4}, "over its end": {0, 4}} {
			n, got := 0, error(nil)
			for _, err := range l.records(ctx, media, 0, r[0], r[1]) {
				if got = err; err == nil {
					n++
				}
			}
			if !errors.Is(got, errCutBack) || n != int(max(1-r[0], 0)) {
				t.Errorf("%s: %d records, then %v", name, n, got)
			}
		}
		if _, err := l.newestBefore(ctx, index, before[0].end); !errors.Is(err, errCutBack) {
			t.Errorf("the newest entry of an index that is shorter than it was: %v", err)
		}
		if opened, err := l.openBetween(ctx, index, before[0].end-2, before[0].end); err != nil || !opened {
			t.Errorf("between entries that are gone: %v, %v; want them to be void", opened, err)
		}
	})
}

// TestSettlesWhatIsLeft: a partition is cut back while a new writer reads it. The
// writer settles what is left, and goes on.
func TestSettlesWhatIsLeft(t *testing.T) {
	virtual(t, 1, func(t *testing.T, c *kfake.Cluster, e *env) {
		e.partitions = 1
		l := e.log(func(c *Config) { c.LostAfter = 300 * time.Millisecond })
		ctx, cancel := context.WithTimeout(t.Context(), 2*testenv.Patience)
		defer cancel()
		if err := l.Ensure(ctx, cam); err != nil {
			t.Fatal(err)
		}
		media := l.names.Media(cam)
		answered := endsOnceAt(c, media, 7)
		left, err := l.readLeftover(ctx, media, newest{epoch: -1, complete: true})
		if err != nil || left.partitions() != 1 || len(left.chunks) != 0 || !answered() {
			t.Errorf("%+v, %v", left, err)
		}
	})
}

// endsOnceAt makes the first answer for the end of a topic's partition 0 out of date. The function
// that it returns reports whether it was given.
func endsOnceAt(c *kfake.Cluster, topic string, end int64) (answered func() bool) {
	var given atomic.Bool
	c.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		r := req.(*kmsg.ListOffsetsRequest)
		if given.Load() || len(r.Topics) != 1 || r.Topics[0].Topic != topic || r.Topics[0].Partitions[0].Timestamp != -1 {
			return nil, nil, false
		}
		given.Store(true)
		resp := r.ResponseKind().(*kmsg.ListOffsetsResponse)
		t := kmsg.NewListOffsetsResponseTopic()
		t.Topic = topic
		p := kmsg.NewListOffsetsResponseTopicPartition()
		p.Offset, p.LeaderEpoch = end, 0
		t.Partitions = append(t.Partitions, p)
		resp.Topics = append(resp.Topics, t)
		return resp, nil, true
	})
	return given.Load
}

// TestNewTopicThatItsLeaderDoesNotKnow: the controller has created the topic, and the broker
// that leads it has not heard of it yet. The writer waits.
func TestNewTopicThatItsLeaderDoesNotKnow(t *testing.T) {
	virtual(t, 1, func(t *testing.T, c *kfake.Cluster, e *env) {
		l := e.log()
		unknown := 0
		c.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			r := req.(*kmsg.ListOffsetsRequest)
			if unknown == 3 || len(r.Topics) != 1 || r.Topics[0].Topic != l.names.Media(cam) {
				return nil, nil, false
			}
			unknown++
			resp := r.ResponseKind().(*kmsg.ListOffsetsResponse)
			t := kmsg.NewListOffsetsResponseTopic()
			t.Topic = r.Topics[0].Topic
			for _, asked := range r.Topics[0].Partitions {
				p := kmsg.NewListOffsetsResponseTopicPartition()
				p.Partition, p.ErrorCode = asked.Partition, kerr.UnknownTopicOrPartition.Code
				t.Partitions = append(t.Partitions, p)
			}
			resp.Topics = append(resp.Topics, t)
			return resp, nil, true
		})
		if entries := record(t, l, newFeed(l.Open(t.Context(), cam, OpenOptions{Writer: "w"}), 1), 2); len(entries) != 2 || unknown != 3 {
			t.Errorf("%d entries, after %d answers without the topic", len(entries), unknown)
		}
	})
}

// TestEndThatIsBehind: a new leader may be behind for a moment. The reader waits for it.
func TestEndThatIsBehind(t *testing.T) {
	virtual(t, 1, func(t *testing.T, c *kfake.Cluster, e *env) {
		e.partitions = 1
		l := e.log(func(c *Config) { c.LostAfter = testenv.Patience })
		ctx, cancel := context.WithTimeout(t.Context(), 2*testenv.Patience)
		defer cancel()
		if err := l.Ensure(ctx, cam); err != nil {
			t.Fatal(err)
		}
		media := l.names.Media(cam)
		asked := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: media, Observe: true, Count: -1})
		go func() {
			// Once the reader has looked for the end, the record comes.
			if asked.Wait(ctx, 1) != nil {
				return
			}
			l.producer.Produce(ctx, &kgo.Record{Topic: media, Value: []byte("x")}, nil)
		}()
		n := 0
		for _, err := range l.records(ctx, media, 0, 0, 1) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != 1 {
			t.Errorf("%d records, want the one", n)
		}
	})
}

// TestIndexCutBack: a writer ends if its index is shorter than it was. The next one
// settles the fragments whose entries are gone.
func TestIndexCutBack(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		e.partitions = 1
		l := e.log()
		ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
		defer cancel()
		w := l.Open(ctx, cam, OpenOptions{Writer: "w1"})
		f := newFeed(w, 1)
		for range 3 {
			if err := f.fragment(2); err != nil {
				t.Fatal(err)
			}
		}
		ready(t, w)
		waitFor(t, "three entries", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			if len(w.core.pending) > 0 {
				return false
			}
			w.core.prev += 10 // as if ten more had stood there
			return true
		})
		if err := f.fragment(2); err != nil {
			t.Fatal(err)
		}
		select {
		case <-w.Fenced():
			if err := w.Err(); !errors.Is(err, errShorter) || errors.Is(err, ErrExpired) {
				t.Errorf("the writer ended with %v", err)
			}
		case <-ctx.Done():
			t.Fatal("the writer goes on")
		}
		closeWriter(t, w)
		w = l.Open(ctx, cam, OpenOptions{Writer: "w1"})
		ready(t, w)
		closeWriter(t, w)
		es := entriesOf(t, l, Range{})
		dense(t, es)
		if len(es) != 4 || es[3].Kind != schemas.KindWhole {
			t.Errorf("the fourth fragment is not settled: %+v", es)
		}
	})
}

// TestFollowerCutBack: a follower ends if its index is shorter than it was, or cannot begin. No
// error of its calls is ErrExpired: the footage that it works on is there.
func TestFollowerCutBack(t *testing.T) {
	for name, fails := range map[string]func(t *testing.T, c *kfake.Cluster, l *Log) error{
		"an entry": func(t *testing.T, _ *kfake.Cluster, l *Log) error {
			f, source := followFirst(t, l, 3)
			copyFragments(t, l, f, source[:1])
			longer(f)
			return cmp.Or(copyFragment(t, l, f, source[1]), f.Gaps(t.Context(), "", source[2]))
		},
		"an open": func(t *testing.T, _ *kfake.Cluster, l *Log) error {
			f, source := followFirst(t, l, 2)
			copyFragments(t, l, f, source[:1])
			w, _ := work(t, l, f, source[1], 1)
			allSent(t, f)
			longer(f)
			_, err := w.Fail(t.Context())
			<-f.Done()
			return cmp.Or(err, f.Err())
		},
		"what a new one reads": func(t *testing.T, c *kfake.Cluster, l *Log) error {
			f, source := followFirst(t, l, 2)
			copyFragments(t, l, f, source)
			f.Close()
			endsOnceAt(c, f.index, 20)
			_, err := tryFollow(t, l)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, 1, func(t *testing.T, c *kfake.Cluster, e *env) {
				if err := fails(t, c, e.log(func(c *Config) { c.LostAfter = 300 * time.Millisecond })); !errors.Is(err, errShorter) || errors.Is(err, ErrExpired) {
					t.Errorf("the error is %v", err)
				}
			})
		})
	}
}

// longer makes a follower believe that ten more entries had stood in its index.
func longer(f *Follower) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.core.prev += 10
}
