package medialog

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

var sub = schemas.Topic{Camera: cam.Camera, Rendition: schemas.Sub}

// besides are the options of a writer of sub.
func besides(l *Log, o OpenOptions) OpenOptions {
	o.Role = schemas.RoleAlternative
	o.Life = func(ctx context.Context) (string, error) {
		life, err := l.Life(ctx, cam)
		if err == nil && life == "" || slices.Contains(o.Purged, life) {
			err = errors.New("not yet")
		}
		return life, err
	}
	return o
}

// TestWriterBesideRaw: a rendition with numbers of its own waits for the life of raw, keeps
// footage meanwhile, and has that life and its role in all that it writes. Purged footage
// of it is not continued.
func TestWriterBesideRaw(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log()
		record := func(topic schemas.Topic, o OpenOptions, fragments int) *Writer {
			w := l.Open(t.Context(), topic, o)
			f := newFeed(w, 1)
			for range fragments {
				if err := f.fragment(2); err != nil {
					t.Fatal(err)
				}
			}
			return w
		}
		second := record(sub, besides(l, OpenOptions{}), 3)
		time.Sleep(20 * time.Second) // of the bubble
		select {
		case <-second.Ready():
			t.Fatal("it is open although raw has no life yet")
		default:
		}
		if topics, err := l.Topics(t.Context()); err != nil || len(topics) != 0 {
			t.Errorf("topics %v, %v", topics, err)
		}
		first := record(cam, OpenOptions{}, 1)
		ready(t, second)
		closeWriter(t, second)
		closeWriter(t, first)
		closeWriter(t, record(sub, besides(l, OpenOptions{}), 1))
		life, err := l.Life(t.Context(), cam)
		if err != nil || life == "" {
			t.Fatal(life, err)
		}
		for _, x := range indexOf(t, l, sub) {
			if x.Role != schemas.RoleAlternative || x.Life != life && (x.Kind != schemas.KindOpen || x.Life != "") {
				t.Errorf("%s %d has role %q and life %q, raw has %q", x.Kind, x.Seq, x.Role, x.Life, life)
			}
		}
		entries := topicEntries(t, l, sub, Range{})
		dense(t, entries)
		played := slices.DeleteFunc(slices.Clone(entries), func(x schemas.Entry) bool { return !x.Playable() })
		if len(played) != 4 || played[0].Session != 1 || played[3].Session != 2 {
			t.Errorf("entries %+v", played)
		}

		// Raw begins anew, and a late process has left footage of the purged life.
		if _, err := l.deleteTopics(t.Context(), []string{l.names.Media(cam), l.names.Index(cam)}); err != nil {
			t.Fatal(err)
		}
		purged := OpenOptions{Purged: []string{life}, Remember: func(context.Context) (schemas.Standing, error) {
			return schemas.Standing{Life: life, Seq: 1 << 40, Session: 9}, nil
		}}
		waiting := record(sub, besides(l, purged), 1)
		first = record(cam, purged, 1)
		ready(t, waiting)
		closeWriter(t, waiting)
		closeWriter(t, first)
		anew, err := l.Life(t.Context(), cam)
		if entries = topicEntries(t, l, sub, Range{}); err != nil || len(entries) != 1 || entries[0].Life != anew || anew == life || entries[0].Session != 1 {
			t.Errorf("after the purge of %s raw has %s, %v, and the rendition %+v", life, anew, err, entries)
		}
		if n := len(entriesOf(t, l, Range{})); n != 1 {
			t.Errorf("raw has %d entries, want 1: the writer of the rendition deletes nothing else", n)
		}
	})
}

// TestWriterBesideRemoved: the writer of a rendition creates no topics for a camera that is
// removed.
func TestWriterBesideRemoved(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log()
		w := l.Open(t.Context(), sub, OpenOptions{
			Role:   schemas.RoleAlternative,
			Life:   func(context.Context) (string, error) { return "5f3a91c2", nil },
			Create: func(context.Context) (bool, error) { return false, nil },
		})
		select {
		case <-w.Fenced():
		case <-time.After(testenv.Patience):
			t.Fatal("it does not end")
		}
		if topics, err := l.Topics(t.Context()); !errors.Is(w.Err(), ErrRemoved) || err != nil || len(topics) != 0 {
			t.Errorf("%v, topics %v, %v", w.Err(), topics, err)
		}
	})
}

// TestFollowerOfSub: no processor writes the rendition of a second stream.
func TestFollowerOfSub(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log()
		first := l.Open(t.Context(), cam, OpenOptions{})
		second := l.Open(t.Context(), sub, besides(l, OpenOptions{}))
		for _, w := range []*Writer{first, second} {
			if err := newFeed(w, 1).fragment(1); err != nil {
				t.Fatal(err)
			}
			ready(t, w)
			closeWriter(t, w)
		}
		ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
		defer cancel()
		f, err := l.Follow(ctx, sub, FollowOptions{Processor: "small", Role: schemas.RoleVariant})
		if !errors.Is(err, ErrOtherProcessor) {
			t.Errorf("followed: %v, %v", f, err)
		}
	})
}
