package examples

import (
	"bytes"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// copyAll copies the source as follower.py does, with Framelog's own follower.
func (e *env) copyAll(to schemas.Topic, source []schemas.Entry) {
	t := e.t
	t.Helper()
	f, err := e.log.Follow(t.Context(), to, medialog.FollowOptions{Processor: "copy", Version: "1", Role: schemas.RoleAlternative, Writer: "go"})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i, en := range source {
		if i == 0 || en.Seq != source[i-1].Seq+1 {
			if err := f.Jump(t.Context(), en.Seq); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		switch {
		case !en.Playable():
			err = f.Gaps(t.Context(), "", en)
		case errors.Is(e.log.Available(t.Context(), raw, en), medialog.ErrExpired):
			err = f.Gaps(t.Context(), schemas.ReasonExpired, en)
		default:
			err = e.copyOne(f, en)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (e *env) copyOne(f *medialog.Follower, en schemas.Entry) error {
	var w *medialog.Work
	n := uint32(0)
	for c, err := range e.log.Chunks(e.t.Context(), raw, en) {
		if err != nil {
			return err
		}
		if n++; w == nil {
			if w, err = f.Begin(e.t.Context(), c); err != nil {
				return err
			}
		}
		if err := w.Write(e.t.Context(), c); err != nil {
			return err
		}
	}
	_, err := w.Commit(e.t.Context(), en, medialog.Output{Used: n})
	return err
}

// nameless returns an entry's value without the names of its writer and host.
func nameless(t *testing.T, r *kgo.Record) []byte {
	t.Helper()
	en, err := schemas.DecodeEntry(r.Value)
	if err != nil {
		t.Fatal(err)
	}
	en.Writer, en.Host = "", ""
	return entry(t, en)
}

// Framelog's follower and follower.py write the same bytes for the same source.
func TestFollowersWriteTheSame(t *testing.T) {
	e := newEnv(t)
	e.record()
	source := e.entries(raw)
	e.expire(raw, source[2]) // in one partition: the first and the third fragment
	p := e.follow()
	e.copiedUpTo(p, source[len(source)-1].Seq)
	own := schemas.Topic{Camera: raw.Camera, Rendition: "own"}
	e.copyAll(own, source)
	for _, topic := range []func(schemas.Topic) string{e.names.Media, e.names.Index} {
		got, want := e.records(topic(copied)), e.records(topic(own))
		if len(got) != len(want) {
			t.Fatalf("%d records in %s, want %d", len(got), topic(copied), len(want))
		}
		for i, r := range got {
			a, b := r.Value, want[i].Value
			if topic(copied) == e.names.Index(copied) {
				a, b = nameless(t, r), nameless(t, want[i])
			}
			if !bytes.Equal(a, b) || r.Partition != want[i].Partition || !bytes.Equal(r.Key, want[i].Key) || !r.Timestamp.Equal(want[i].Timestamp) {
				t.Errorf("record %d of partition %d of %s is\n%s at %v %x, want\n%s at %v %x", r.Offset, r.Partition, topic(copied), r.Key, r.Timestamp, a, want[i].Key, want[i].Timestamp, b)
			}
		}
	}
}
