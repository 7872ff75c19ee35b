package medialog

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/framelog/framelog/schemas"
)

// TestFollow: a copy of a camera, over the death of the process in the middle of a
// fragment and a second owner.
func TestFollow(t *testing.T) {
	virtualAndKafka(t, func(t *testing.T, e *env) {
		l := e.log()
		w := l.Open(t.Context(), cam, OpenOptions{Writer: "w"})
		camera := newFeed(w, 1)
		camera.media -= 3600 * schemas.MediaTimescale // the feed runs ahead of the clock
		record(t, l, camera, 3)
		w.Gap(publicTime(camera.media), camera.media, 3*schemas.MediaTimescale, schemas.ReasonKeyframe)
		camera.media += 3 * schemas.MediaTimescale
		source := record(t, l, camera, 3)

		f := follow(t, l)
		if seq, _ := f.Next(); seq != 0 {
			t.Errorf("an empty rendition goes on at %d", seq)
		}
		if err := f.Jump(t.Context(), source[0].Seq); err != nil {
			t.Fatal(err)
		}
		copyFragments(t, l, f, source[:2])
		work(t, l, f, source[2], 1)
		allSent(t, f)
		f.Close() // it dies

		f2 := follow(t, l, func(o *FollowOptions) { o.Writer = "p2" })
		if seq, n := f2.Next(); seq != source[2].Seq || n != 0 {
			t.Errorf("goes on at %d after %d failures, want %d", seq, n, source[2].Seq)
		}
		copyFragments(t, l, f2, source[2:4])
		f3 := follow(t, l, func(o *FollowOptions) { o.Writer = "p3" }) // the group gives the camera to another process
		copyFragments(t, l, f3, source[4:5])
		if err := copyFragment(t, l, f2, source[4]); !errors.Is(err, ErrFenced) {
			t.Errorf("the former owner got %v", err)
		}
		copyFragments(t, l, f3, source[5:])
		sameAsSource(t, l, source, renditionOf(t, l))
		if got, want := opens(t, l, source[0].Seq), "start 0/0 hole 0/0 start 2/0 start 4/0"; got != want {
			t.Errorf("opens: %s, want %s", got, want)
		}
		notLater(t, l, l.names.Media(rendition), l.names.Media(cam))
		notLater(t, l, l.names.Index(rendition), l.names.Index(cam))
	})
}

// notLater checks that no record of a rendition's topic has a later timestamp than the
// newest record of its source's: nothing outlives its source.
func notLater(t *testing.T, l *Log, derived, source string) {
	t.Helper()
	newest := func(topic string) (at time.Time) {
		for _, r := range recordsOf(t, l, topic) {
			if r.Timestamp.After(at) {
				at = r.Timestamp
			}
		}
		return at
	}
	if d, s := newest(derived), newest(source); d.After(s) {
		t.Errorf("%s has a record of %v, the newest of %s is of %v", derived, d, source, s)
	}
}

// TestFollowRetries: failures are counted in the log, over the death of the process; a
// fragment that fails too often gets a gap. Under one epoch its chunks are sent once.
func TestFollowRetries(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log()
		f, source := followFirst(t, l, 3)
		copyFragments(t, l, f, source[:1])
		for want := uint32(1); want <= 2; want++ {
			w, _ := work(t, l, f, source[1], 1)
			allSent(t, f)
			if n, err := w.Fail(t.Context()); n != want || err != nil {
				t.Fatalf("%d failures, %v; want %d", n, err, want)
			}
			if err := w.Write(t.Context(), &schemas.Chunk{}); err == nil {
				t.Error("a work that has failed takes a chunk")
			}
		}
		f.Close()
		f = follow(t, l)
		if seq, n := f.Next(); seq != source[1].Seq || n != 2 {
			t.Errorf("goes on at %d after %d failures, want %d after 2", seq, n, source[1].Seq)
		}
		if err := f.Gaps(t.Context(), schemas.ReasonDeadLetter, source[1]); err != nil {
			t.Fatal(err)
		}
		copyFragments(t, l, f, source[2:])
		derived := renditionOf(t, l)
		if e := derived[1]; e.Kind != schemas.KindGap || e.Reason != schemas.ReasonDeadLetter || e.Duration != source[1].Duration {
			t.Errorf("the fragment that failed is %+v", e)
		}
		if got, want := opens(t, l, source[0].Seq), "start 0/0 hole 0/0 failure 1/1 failure 1/2 start 1/2"; got != want {
			t.Errorf("opens: %s, want %s", got, want)
		}
		chunks := map[heldKey]int{}
		for _, r := range recordsOf(t, l, l.names.Media(rendition)) {
			c, err := schemas.DecodeChunk(r.Value)
			if err != nil {
				t.Fatal(err)
			}
			chunks[heldKey{c.Epoch, c.Seq, c.Index}]++
		}
		for k, n := range chunks {
			if n != 1 {
				t.Errorf("chunk %d.%d of epoch %d is there %d times", k.seq, k.index, k.epoch, n)
			}
		}
		if len(chunks) != 2+2+2 {
			t.Errorf("%d chunks", len(chunks))
		}
	})
}

// TestFollowAhead: fragments are worked on at once and end in any order; the rendition
// has them in order. What waits for its turn is bounded.
func TestFollowAhead(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log()
		camera := newFeed(l.Open(t.Context(), cam, OpenOptions{Writer: "w"}), 1)
		source := record(t, l, camera, 3)
		f := follow(t, l, func(o *FollowOptions) { o.Ahead, o.AheadBytes = 3, source[2].Bytes-1 })
		if err := f.Jump(t.Context(), source[0].Seq); err != nil {
			t.Fatal(err)
		}
		third, chunks := work(t, l, f, source[2], 1)
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := third.Write(short, copied(chunks[1])); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a chunk beyond AheadBytes: %v", err)
		}
		ended := make(chan error, 2)
		go func() {
			err := third.Write(t.Context(), copied(chunks[1]))
			if err == nil {
				_, err = third.Commit(t.Context(), source[2], Output{Used: 2})
			}
			ended <- err
		}()
		second, _ := work(t, l, f, source[1], 0)
		go func() {
			_, err := second.Commit(t.Context(), source[1], Output{Used: 1, Filtered: true})
			ended <- err
		}()
		copyFragments(t, l, f, source[:1])
		for range 2 {
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
		}
		derived := renditionOf(t, l)
		if len(derived) != 3 || derived[1].Reason != schemas.ReasonFiltered {
			t.Fatalf("%+v", derived)
		}
		sameAsSource(t, l, []schemas.Entry{source[0], source[2]}, []schemas.Entry{derived[0], derived[2]})
		if got, want := opens(t, l, source[0].Seq), "start 0/0 hole 0/0"; got != want {
			t.Errorf("opens: %s, want %s", got, want)
		}
	})
}

// TestFollowSourceChanged: the source's entry names fewer chunks than the work has used,
// as after a hand-over in the middle of a fragment.
func TestFollowSourceChanged(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log()
		f, source := followFirst(t, l, 2)
		w, _ := work(t, l, f, source[0], 2)
		allSent(t, f)
		cut := source[0]
		cut.Kind, cut.Chunks = schemas.KindTruncated, 1
		if _, err := w.Commit(t.Context(), cut, Output{Used: 2}); !errors.Is(err, ErrSourceChanged) {
			t.Fatalf("the entry names fewer chunks: %v", err)
		}
		copyFragments(t, l, f, source)
		sameAsSource(t, l, source, renditionOf(t, l))
		if got, want := opens(t, l, source[0].Seq), "start 0/0 hole 0/0 source-changed 0/0"; got != want {
			t.Errorf("opens: %s, want %s", got, want)
		}
	})
}

// TestFollowOtherProcessor: two processors never share a rendition.
func TestFollowOtherProcessor(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log()
		camera := newFeed(l.Open(t.Context(), cam, OpenOptions{Writer: "w"}), 1)
		source := record(t, l, camera, 2)
		other := func(o *FollowOptions) { o.Processor = "mosaic" }
		waiting := follow(t, l, other) // it has not opened yet
		f := follow(t, l)
		if err := errors.Join(f.Jump(t.Context(), source[0].Seq), waiting.Jump(t.Context(), source[0].Seq)); err != nil {
			t.Fatal(err)
		}
		copyFragments(t, l, f, source[:1])
		_, late := tryFollow(t, l, other)
		for what, err := range map[string]error{"that begins": late, "that waited": waiting.Gaps(t.Context(), schemas.ReasonSkipped, source[0])} {
			if !errors.Is(err, ErrOtherProcessor) || !strings.Contains(err.Error(), `"copy"`) || !strings.Contains(err.Error(), `"mosaic"`) {
				t.Errorf("another processor %s: %v", what, err)
			}
		}
		copyFragments(t, l, f, source[1:])
	})
}

// TestFollowData: a rendition of timed metadata; a fragment without any sample has its
// entry too. Fragments that are left out are one entry.
func TestFollowData(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log()
		f, source := followFirst(t, l, 6, func(o *FollowOptions) { o.Role = schemas.RoleData })
		for i, s := range source[:2] {
			w, chunks := work(t, l, f, s, 0)
			c := &schemas.Chunk{
				Start: s.Start, Captured: chunks[0].Captured, Media: s.Media, Duration: s.Duration, Last: true,
				Tracks: []schemas.Track{{ID: schemas.DataTrack, Codec: schemas.JSON, Timescale: schemas.MediaTimescale}},
			}
			if i == 0 {
				c.Runs = []schemas.Run{{Track: schemas.DataTrack, Samples: []schemas.Sample{{DTS: s.Media, Duration: 10, Sync: true, Data: []byte(`{"n":1}`)}}}}
			}
			if err := w.Write(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Commit(t.Context(), s, Output{Used: uint32(len(chunks))}); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Gaps(t.Context(), schemas.ReasonSkipped, source[2:]...); err != nil {
			t.Fatal(err)
		}
		index := indexOf(t, l, rendition)
		skipped := index[len(index)-1]
		if skipped.Kind != schemas.KindGap || skipped.Run == nil || skipped.Seq != source[2].Seq || skipped.LastSeq() != source[5].Seq || skipped.Layout.Data != schemas.JSON {
			t.Errorf("what is left out is %+v", skipped)
		}
		for i, e := range index[len(index)-3 : len(index)-1] {
			if e.Kind != schemas.KindWhole || e.Seq != source[i].Seq || e.Duration != source[i].Duration || e.Layout.Data != schemas.JSON || e.Layout.Video != "" {
				t.Errorf("%+v", e)
			}
			if n := len(chunksOf(t, l, rendition, e)); n != 1 {
				t.Errorf("seq %d has %d chunks", e.Seq, n)
			}
		}
		if newest, _ := f.Newest(); newest.Seq != source[5].Seq {
			t.Errorf("the newest entry is that of %d, want %d", newest.Seq, source[5].Seq)
		}
	})
}

// TestSourceExpires: retention removes the source's entry while a follower resumes. The
// rendition goes on.
func TestSourceExpires(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log()
		source := record(t, l, newFeed(l.Open(t.Context(), cam, OpenOptions{Writer: "w"}), 1), 3)
		s, err := l.spans(t.Context(), l.names.Index(cam))
		if err != nil {
			t.Fatal(err)
		}
		st, err := l.readSource(t.Context(), l.names.Index(cam), s[0])
		if err != nil {
			t.Fatal(err)
		}
		expire(t, l, l.names.Index(cam), 0, source[1].Offset)
		if err := l.readSame(t.Context(), cam, &source[0], &st); err != nil {
			t.Fatal(err)
		}
		if got := resumptionOf(&source[0], st); got != goesOn {
			t.Errorf("the follower decides %d, want %d", got, goesOn)
		}
	})
}

// TestFollowMediaDeleted: somebody deletes the media topic of a rendition alone. The follower
// ends, so that no fragment counts as failed for it, and the next one goes on in a new topic.
func TestFollowMediaDeleted(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log()
		f, source := followFirst(t, l, 3)
		copyFragments(t, l, f, source[:1])
		if _, err := e.log().admin.DeleteTopic(t.Context(), l.names.Media(rendition)); err != nil {
			t.Fatal(err)
		}
		_ = copyFragment(t, l, f, source[1])
		select {
		case <-f.Done():
		case <-time.After(time.Minute):
			t.Fatal("the follower goes on")
		}
		if err := f.Err(); !errors.Is(err, ErrNoTopic) {
			t.Errorf("the follower ended with %v, want %v", err, ErrNoTopic)
		}
		f = follow(t, l)
		if seq, failures := f.Next(); seq != source[1].Seq || failures != 0 {
			t.Errorf("the next one goes on at %d with %d failures, want %d with none", seq, failures, source[1].Seq)
		}
		copyFragments(t, l, f, source[1:])
		sameAsSource(t, l, source[1:], renditionOf(t, l)[1:])
	})
}

// TestSourceBegins: the camera's index was emptied by retention, and a new writer has
// appended its first `open`, which tells no life. It is not known yet whether the footage is
// another one, so a follower waits, and deletes nothing.
func TestSourceBegins(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log()
		if err := l.Ensure(t.Context(), cam); err != nil {
			t.Fatal(err)
		}
		a, life := l.appender(cam), ""
		for end, want := range []error{ErrNotFound, ErrNotFound, nil} {
			if end > 0 {
				if _, err := a.append(t.Context(), &schemas.Entry{Kind: schemas.KindOpen, Prev: -1, Life: life}, time.Time{}); err != nil {
					t.Fatal(err)
				}
			}
			st, err := l.readSource(t.Context(), a.index, span{0, int64(end)})
			if !errors.Is(err, want) || st.life != life {
				t.Errorf("with %d opens the source has the life %q and the error %v, want %v", end, st.life, err, want)
			}
			if end == 1 {
				life = "0a1b2c3d"
			}
		}
	})
}

// TestFollowBegunAnew: the camera was purged while nothing followed it, and is recorded
// again. What was made of the purged footage goes.
func TestFollowBegunAnew(t *testing.T) {
	virtualAndKafka(t, func(t *testing.T, e *env) {
		l := e.log()
		w := l.Open(t.Context(), cam, OpenOptions{Writer: "w"})
		old := record(t, l, newFeed(w, 1), 2)
		f := follow(t, l)
		if err := f.Jump(t.Context(), old[0].Seq); err != nil {
			t.Fatal(err)
		}
		copyFragments(t, l, f, old)
		closeWriter(t, w)
		api := e.log()
		if _, err := api.admin.DeleteTopics(t.Context(), l.names.Media(cam), l.names.Index(cam)); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the topics are deleted", func() bool {
			return errors.Is(api.describe(t.Context(), time.Nanosecond, l.names.Index(cam))[l.names.Index(cam)].err, ErrNoTopic)
		})
		l = e.log()
		source := record(t, l, newFeed(l.Open(t.Context(), cam, OpenOptions{Writer: "w"}), 2), 2)
		if source[0].Life == old[0].Life {
			t.Fatalf("the new footage has the life %q, too", old[0].Life)
		}
		next := source[0]
		next.Seq, _ = f.Next()
		if err := f.Gaps(t.Context(), schemas.ReasonSkipped, next); !errors.Is(err, ErrNewLife) {
			t.Errorf("the follower of the old footage takes the new one: %v", err)
		}
		if <-f.Done(); !errors.Is(f.Err(), ErrNewLife) {
			t.Errorf("that follower ended with %v", f.Err())
		}
		forbidden := func(o *FollowOptions) { o.MayOpen = func() bool { return false } }
		if _, err := tryFollow(t, l, forbidden); !errors.Is(err, ErrFenced) {
			t.Errorf("a process that may not open begins the rendition anew: %v", err)
		}
		f = follow(t, l)
		if newest, ok := f.Newest(); ok {
			t.Errorf("the rendition has the entry %d of the old footage", newest.Seq)
		}
		if err := f.Jump(t.Context(), source[0].Seq); err != nil {
			t.Fatal(err)
		}
		copyFragments(t, l, f, source)
		sameAsSource(t, l, source, renditionOf(t, l))
	})
}
