package medialog

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

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
		w = ingest.Open(ctx, cam, OpenOptions{Writer: "w1"})
		f2 := newFeed(w, 2)
		f2.media, f = f.media, f2 // the feeds run ahead of the clock
		ready(t, w)
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
