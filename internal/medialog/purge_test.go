package medialog

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// TestPurge: another process deletes a camera's footage, and the camera begins again
// under its name. Clients that knew the topics before must find the new ones.
func TestPurge(t *testing.T) {
	virtualAndKafka(t, func(t *testing.T, e *env) {
		ingest, egress, api := e.log(), e.log(), e.log()
		ctx, cancel := context.WithTimeout(t.Context(), 2*testenv.Patience)
		defer cancel()
		w := ingest.Open(ctx, cam, OpenOptions{Writer: "w1"})
		f := newFeed(w, 1)
		for range 3 {
			if err := f.fragment(2); err != nil {
				t.Fatal(err)
			}
		}
		ready(t, w)
		live, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			for ev, err := range egress.Tail(ctx, cam, Position{}) {
				if err != nil {
					ended <- err
					return
				}
				if ev.Live {
					close(live)
				}
			}
		}()
		<-live
		closeWriter(t, w)
		old := entriesOf(t, egress, Range{})
		if names, err := api.Purge(ctx, cam.Camera); err != nil || len(names) != 2 {
			t.Fatal(names, err)
		}
		// A broker of Apache Kafka may know a topic for a moment after it was deleted,
		// and take records for it.
		waitFor(t, "the brokers know of the purge", func() bool {
			names, err := api.Purge(ctx, cam.Camera)
			return err == nil && len(names) == 0
		})
		// Or it may say for a moment that the new topics do not exist. Then the writer ends, and
		// ingest opens another one.
		for again := true; again; {
			w = ingest.Open(ctx, cam, OpenOptions{Writer: "w1"})
			select {
			case <-w.Ready():
				again = false
			case <-w.Fenced():
				if again = errors.Is(w.Err(), ErrNoTopic); !again {
					t.Fatalf("the writer ended: %v", w.Err())
				}
			}
		}
		f2 := newFeed(w, 2)
		f2.media, f = f.media, f2 // the feeds run ahead of the clock
		for range 3 {
			if err := f.fragment(2); err != nil {
				t.Fatal(err)
			}
		}
		closeWriter(t, w)
		if err := <-ended; !errors.Is(err, ErrNoTopic) {
			t.Errorf("the tail of a topic that was deleted ends with %v", err)
		}
		es := entriesOf(t, egress, Range{})
		dense(t, es)
		if len(es) != 3 || len(old) != 3 || !es[0].Start.After(old[2].Start) {
			t.Fatalf("after the purge: %+v", es)
		}
		for _, x := range es {
			if n := counts(t, egress, x, f.sent); len(n) != 10 {
				t.Errorf("seq %d has %d samples, want 10", x.Seq, len(n))
			}
		}
		for ev, err := range egress.Tail(ctx, cam, Position{Seq: es[1].Seq}) {
			if err != nil {
				t.Fatal(err)
			}
			if ev.Entry != nil && ev.Entry.Seq == es[2].Seq {
				break
			}
		}
	})
}

// TestRemovedCamera: a process does not know yet that its camera was removed and its
// footage purged. It creates no topic for it. When the camera is there again, it does.
func TestRemovedCamera(t *testing.T) {
	virtualAndKafka(t, func(t *testing.T, e *env) {
		ingest, api := e.log(), e.log()
		ctx, cancel := context.WithTimeout(t.Context(), 2*testenv.Patience)
		defer cancel()
		var removed atomic.Bool
		open := func() (*Writer, *feed) {
			w := ingest.Open(ctx, cam, OpenOptions{Writer: "w1", Create: func(context.Context) (bool, error) { return !removed.Load(), nil }})
			f := newFeed(w, 1)
			// The writer of a removed camera may have ended already.
			if err := f.fragment(2); err != nil && (!removed.Load() || !errors.Is(err, ErrFenced)) {
				t.Fatal(err)
			}
			return w, f
		}
		w, f := open()
		ready(t, w)
		waitFor(t, "the first entry", func() bool { return w.items() == 0 })
		removed.Store(true)
		gone := func() bool {
			names, err := api.Purge(ctx, cam.Camera)
			return err == nil && len(names) == 0
		}
		waitFor(t, "the brokers know of the purge", gone)
		for ended := false; !ended; {
			_ = f.fragment(2)
			select {
			case <-w.Fenced():
				ended = true
			case <-time.After(time.Second):
			case <-ctx.Done():
				t.Fatal("the writer of a purged camera goes on")
			}
		}
		closeWriter(t, w)

		w, _ = open()
		select {
		case <-w.Fenced():
		case <-ctx.Done():
			t.Fatal("a writer of a purged camera waits")
		}
		if err := w.Err(); !errors.Is(err, ErrRemoved) {
			t.Errorf("it ended with %v", err)
		}
		closeWriter(t, w)
		if names, err := api.Purge(ctx, cam.Camera); err != nil || len(names) != 0 {
			t.Errorf("topics that came after the purge: %v, %v", names, err)
		}

		removed.Store(false)
		w, _ = open()
		closeWriter(t, w)
		if es := entriesOf(t, ingest, Range{}); len(es) != 1 {
			t.Errorf("added again: %+v", es)
		}
	})
}

// formerLife makes topics of a life of the camera.
func formerLife(t *testing.T, l *Log, life string) {
	t.Helper()
	putIndex(t, l, indexRecord{schemas.Entry{Kind: schemas.KindOpen, Prev: -1, Life: life, Writer: "former"}, time.Now()})
	putMedia(t, l, 0, 1, 0)
}

// TestPurgedLife: a writer finds topics of a life that was purged, say since the command
// that purges was cut off. It deletes them and begins a new life.
func TestPurgedLife(t *testing.T) {
	virtualAndKafka(t, func(t *testing.T, e *env) {
		const purged = "5f3a91c2"
		l := e.log()
		ctx, cancel := context.WithTimeout(t.Context(), 2*testenv.Patience)
		defer cancel()
		formerLife(t, l, purged)
		if life, err := l.Life(ctx, cam); life != purged || err != nil {
			t.Fatalf("the life is %q, %v", life, err)
		}
		w := l.Open(ctx, cam, OpenOptions{
			Writer: "w1", Purged: []string{"00000000", purged},
			Remember: func(context.Context) (schemas.Standing, error) {
				return schemas.Standing{Life: purged, Seq: 1 << 40, Session: 7}, nil
			},
		})
		f := newFeed(w, 1)
		if err := f.fragment(2); err != nil {
			t.Fatal(err)
		}
		closeWriter(t, w)
		es := entriesOf(t, l, Range{})
		if len(es) != 1 || es[0].Life == "" || es[0].Life == purged || es[0].Session != 1 || es[0].Seq >= 1<<40 || len(counts(t, l, es[0], f.sent)) != 10 {
			t.Errorf("entries %+v", es)
		}
		for e, err := range l.walk(ctx, l.names.Index(cam), 0, 1) {
			if err != nil || e.Writer != "w1" {
				t.Errorf("the index begins with %+v, %v", e, err)
			}
		}
	})
}

// TestPurgedLifeWithoutDelete: a writer that may not delete the topics of a purged life
// waits for the right, with long pauses. The log names the right once.
func TestPurgedLifeWithoutDelete(t *testing.T) {
	virtual(t, 1, func(t *testing.T, c *kfake.Cluster, e *env) {
		const purged, minutes = "5f3a91c2", 5
		l := e.log()
		formerLife(t, l, purged)
		denied := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DeleteTopics}, Err: kerr.TopicAuthorizationFailed, Count: -1})
		w := l.Open(t.Context(), cam, OpenOptions{Writer: "w1", Purged: []string{purged}})
		time.Sleep(minutes * time.Minute)
		if n, most := denied.Hits(), 1+minutes*int(time.Minute/missingRightPause); n == 0 || n > most {
			t.Errorf("%d requests were denied, want 1 to %d", n, most)
		}
		if n := e.logged("grant this process the right DELETE on the topic"); n != 1 {
			t.Errorf("the missing right is in %d lines", n)
		}
		if n := e.logged("deleted footage"); n != 0 {
			t.Error("the log says that footage was deleted")
		}
		denied.Remove()
		select {
		case <-w.Ready():
		case <-time.After(missingRightPause + time.Second):
			t.Fatal("the writer is not ready after the right was granted")
		}
		if n := e.logged("deleted footage"); n != 1 {
			t.Errorf("%d lines say that footage was deleted", n)
		}
		closeWriter(t, w)
	})
}

// TestMediaTopicDeleted: somebody deletes the media topic alone, say to free the disk.
// The camera loses what is written meanwhile, its index tells so, and it goes on in a
// new topic.
func TestMediaTopicDeleted(t *testing.T) {
	virtualAndKafka(t, func(t *testing.T, e *env) {
		l, other := e.log(), e.log()
		w := l.Open(t.Context(), cam, OpenOptions{Writer: "w1"})
		f := newFeed(w, 1)
		for range 3 {
			if err := f.fragment(2); err != nil {
				t.Fatal(err)
			}
		}
		ready(t, w)
		waitFor(t, "three entries", func() bool { return len(entriesOf(t, l, Range{})) == 3 })
		if _, err := other.admin.DeleteTopic(t.Context(), other.names.Media(cam)); err != nil {
			t.Fatal(err)
		}
		late := time.After(2 * testenv.Patience)
		for fenced := false; !fenced; {
			// Kafka may take some chunks before it has deleted the topic.
			if err := f.fragment(2); err != nil && !errors.Is(err, ErrRefused) && !errors.Is(err, ErrFenced) {
				t.Fatal(err)
			}
			select {
			case <-w.Fenced():
				fenced = true
			case <-time.After(time.Second):
			case <-late:
				t.Fatal("the writer goes on")
			}
		}
		if err := w.Err(); err == nil || errors.Is(err, ErrFenced) {
			t.Errorf("the writer ended with %v", err)
		}
		closeWriter(t, w)
		w = l.Open(t.Context(), cam, OpenOptions{Writer: "w1"})
		f2 := newFeed(w, 2)
		f2.media = f.media
		ready(t, w)
		for range 3 {
			if err := f2.fragment(2); err != nil {
				t.Fatal(err)
			}
		}
		closeWriter(t, w)
		var all []schemas.Entry
		for en, err := range l.walk(t.Context(), l.names.Index(cam), 0, 1<<40) {
			if err != nil {
				break
			}
			if en.Footage() {
				all = append(all, en)
			}
		}
		dense(t, all)
		es := entriesOf(t, other, Range{})
		if len(es) < 3 {
			t.Fatalf("%d entries are left", len(es))
		}
		for _, x := range es[len(es)-3:] {
			if n := counts(t, other, x, f2.sent); x.Kind != schemas.KindWhole || len(n) != 10 {
				t.Errorf("seq %d: %s with %d samples, want 10", x.Seq, x.Kind, len(n))
			}
		}
	})
}

// virtualAndKafka runs f in virtual time and on Apache Kafka, whose topics are deleted
// in another way. What f waits for takes a client many seconds.
func virtualAndKafka(t *testing.T, f func(t *testing.T, e *env)) {
	t.Run("virtual", func(t *testing.T) {
		virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) { f(t, e) })
	})
	t.Run("kafka", func(t *testing.T) {
		t.Parallel()
		f(t, newEnv(t, sharedKafka(t), 4))
	})
}
