package archive

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// partly is a log whose partitions have expired apart: it has the entries from one on, but of some
// fragments no media, and of some only the first chunks when they are read.
type partly struct{ *kafka }

func (p partly) Available(ctx context.Context, t schemas.Topic, e schemas.Entry) error {
	if e.Seq%3 == 0 {
		return medialog.ErrExpired
	}
	return p.kafka.Available(ctx, t, e)
}

func (p partly) Chunks(ctx context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	return func(yield func(*schemas.Chunk, error) bool) {
		n := 0
		for c, err := range p.kafka.Chunks(ctx, t, e) {
			if err == nil && e.Seq%3 == 1 && n == 2 {
				yield(nil, medialog.ErrExpired)
				return
			}
			if n++; !yield(c, err) {
				return
			}
		}
	}
}

// Readers read all fragments that they have seen again and again, while retention deletes the files
// and a hold brings some back, in front of a log whose partitions expire apart. Each time a fragment
// is there as a whole, or has expired: nobody gets half of one without an error.
func TestReadersWhileRetentionDeletes(t *testing.T) { onStores(t, testReadersWhileRetentionDeletes) }

func testReadersWhileRetentionDeletes(t *testing.T, d Dir) {
	k := recorded()
	archiveAll(t, d, k)
	k.expired = k.all[len(k.all)/2].Seq
	j := NewJoined(partly{k}, NewSet(d, nil, nil))
	var seen []schemas.Entry // as of a playlist that a reader holds
	want := map[uint64][]byte{}
	for i, e := range k.all {
		if has, err := j.set.Has(t.Context(), topic, e); err != nil || !has {
			continue
		}
		b, err := cmaf.Segment(e, k.log[i].All())
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, e)
		want[e.Seq] = bytes.Join(b, nil)
	}
	if len(seen) < 120 {
		t.Fatalf("%d fragments are archived", len(seen))
	}
	// read returns how many fragments there are.
	read := func(t *testing.T) (there int) {
		t.Helper()
		for _, e := range seen {
			b, err := cmaf.Segment(e, j.Chunks(context.Background(), topic, e))
			switch {
			case err == nil && bytes.Equal(bytes.Join(b, nil), want[e.Seq]):
				there++
			case err == nil:
				t.Errorf("segment %d has %d bytes, want %d", e.Seq, b.Size(), len(want[e.Seq]))
			case !errors.Is(err, medialog.ErrExpired):
				t.Errorf("segment %d: %v", e.Seq, err)
			}
		}
		return there
	}
	if n := read(t); n != len(seen) {
		t.Fatalf("before anything is deleted there are %d of %d", n, len(seen))
	}

	at := &clock{time.Now()}
	keep, _, _ := keeper(KeepConfig{Dir: d, Limit: 1, Delay: time.Minute}, at)
	var readers sync.WaitGroup
	ended := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for again := true; again; {
				select {
				case <-ended:
					again = false // once more
				default:
				}
				read(t)
			}
		})
	}
	// Also behind a failure they end before the test does.
	end := sync.OnceFunc(func() {
		close(ended)
		readers.Wait()
	})
	t.Cleanup(end)
	look(t, keep) // hides all
	j.set.lists.expire(Series{"life1", topic})
	if n := read(t); n != len(seen) {
		t.Errorf("while the files are hidden there are %d of %d", n, len(seen))
	}
	for e, err := range j.Entries(t.Context(), topic, medialog.Range{ToSeq: k.expired - 1}) {
		t.Errorf("%d is listed although it is deleted (%v)", e.Seq, err)
	}
	held := seen[len(seen)/4]
	if _, err := d.AddHold(t.Context(), Hold{Camera: topic.Camera, From: held.Start, To: held.End(), Reason: "a burglary", At: at.at}); err != nil {
		t.Fatal(err)
	}
	look(t, keep) // brings back what is held
	at.at = at.at.Add(time.Minute)
	look(t, keep) // removes the others
	end()

	age(j.set)
	inLog := 0
	for _, e := range seen {
		if e.Seq >= k.expired && e.Seq%3 == 2 {
			inLog++
		}
	}
	if n := read(t); n <= inLog || n > inLog+130 || n == len(seen) {
		t.Errorf("there are %d of %d, of which the log has %d", n, len(seen), inLog)
	}
	if b, err := cmaf.Segment(held, j.Chunks(t.Context(), topic, held)); err != nil || !bytes.Equal(bytes.Join(b, nil), want[held.Seq]) {
		t.Errorf("the fragment that is held: %v", err)
	}
	for e, err := range j.Entries(t.Context(), topic, medialog.Range{FromSeq: seen[0].Seq, ToSeq: k.expired - 1}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Playable() && j.Available(t.Context(), topic, e) != nil {
			t.Errorf("%d is listed, and not there", e.Seq)
		}
	}
}
