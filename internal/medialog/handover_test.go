package medialog

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/framelog/framelog/schemas"
)

// TestPlannedHandover: a second writer has a connection to the same camera, and opens
// the log with its first access unit. The chunk with this unit from the first writer is
// still on its way. Every frame is in the log once, and both times go on.
func TestPlannedHandover(t *testing.T) { plannedHandover(t, 0, false) }

// TestPlannedHandoverLate: the second writer comes so late that the fragments with its
// first access units have their entries. It leaves them out.
func TestPlannedHandoverLate(t *testing.T) { plannedHandover(t, 2, false) }

// TestPlannedHandoverBegun: the first writer has begun the fragment with which the second
// one comes, and readers have shown its first chunk. The first one ends it.
func TestPlannedHandoverBegun(t *testing.T) { plannedHandover(t, 0, true) }

// plannedHandover lets a second writer begin with fragments that have their entries, late
// of them. begun: or with one of which the first chunk is in the log.
func plannedHandover(t *testing.T, late int, begun bool) {
	t.Helper()
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log()
		w := l.Open(t.Context(), cam, OpenOptions{Writer: "w1", Absent: schemas.AbsentRestart})
		f := newFeed(w, 1)
		f.sound, f.late = true, 2 // its chunks have sound of the pictures before
		for range 3 {
			if err := f.fragment(3); err != nil {
				t.Fatal(err)
			}
			time.Sleep(600 * time.Millisecond)
		}
		frames, own := f.count, 3
		// The second one has the same frames. Its clock is 70 ms ahead.
		var told []schemas.Standing
		f2 := newFeed(nil, 1)
		f2.sound = true
		repeated := uint32(late * 3 * 5)
		f2.count, f2.media = f.count-repeated, f.media-int64(repeated)*frame+schemas.Ticks(70*time.Millisecond)
		unit := make([]byte, 100)
		binary.BigEndian.PutUint32(unit, 1)
		binary.BigEndian.PutUint32(unit[4:], f2.count+1)
		if begun {
			own, frames = own+1, frames+15
			if err := f.chunk(0, 5, false, 100); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		f2.w = e.log().Open(t.Context(), cam, OpenOptions{
			Writer: "w2", Absent: schemas.AbsentHandover, Unit: schemas.UnitHash(unit),
			Session: func(s schemas.Standing, absent time.Duration, reason string) {
				if told = append(told, s); absent != 0 || reason != "" {
					t.Errorf("an absence of %v (%s)", absent, reason)
				}
			},
		})
		for range late + own - 2 {
			if err := f2.fragment(3); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(unitWait / 2)
		if begun {
			if err := errors.Join(f.chunk(1, 5, false, 100), f.chunk(2, 5, true, 100)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(unitWait / 2)
		} else if err := f.fragment(3); err != nil {
			t.Fatal(err)
		}
		ready(t, f2.w)
		if err := f2.fragment(3); err != nil {
			t.Fatal(err)
		}
		closeWriter(t, f2.w)
		<-w.Fenced()

		es := entriesOf(t, l, Range{})
		dense(t, es)
		var got, heard []uint32
		for i, x := range es {
			got = append(got, counts(t, l, x, f2.and(f))...)
			for _, c := range chunksOf(t, l, cam, x) {
				for n, s := range c.Audio() {
					heard = append(heard, binary.BigEndian.Uint32(s.Data))
					if d := s.DTS - c.Audio()[0].DTS - int64(n)*soundFrame; d != 0 {
						t.Errorf("sound %d of a chunk of fragment %d is %d ticks late", n, x.Seq, d)
					}
				}
			}
			if x.Kind != schemas.KindWhole || x.Absent != 0 || x.Life != es[0].Life || x.Life == "" {
				t.Errorf("%+v", x)
			}
			if i > 0 && (x.Media != es[i-1].MediaEnd() || x.Start.Sub(es[i-1].End()).Abs() > time.Microsecond) {
				t.Errorf("%+v\nfollows %+v", x, es[i-1])
			}
		}
		var want []uint32
		for n := range frames + 30 {
			want = append(want, n+1)
		}
		if !slices.Equal(got, want) {
			t.Errorf("frames %v, want each of %d once", got, len(want))
		}
		for i, n := range heard {
			if n != uint32(i) || len(heard) != 2*len(want) {
				t.Errorf("sound %v, want each of %d frames once", heard, 2*len(want))
				break
			}
		}
		first := es[own]
		if n := (schemas.Standing{Life: first.Life, Seq: first.Seq, Session: 2, Layout: first.Layout, Media: first.Media}); len(told) != 1 || told[0] != n {
			t.Errorf("told %+v, want %+v", told, n)
		}
	})
}

// and returns the samples of both feeds.
func (f *feed) and(g *feed) map[uint32][]byte {
	all := maps.Clone(f.sent)
	maps.Copy(all, g.sent)
	return all
}

// TestHandoverWithoutUnit: the writer before is gone, and its last footage is young. The
// new one waits for its first access unit no longer than unitWait, and not at all if no
// other process can have recorded; it tells the time between.
func TestHandoverWithoutUnit(t *testing.T) {
	handoverWithoutUnit(t, schemas.AbsentHandover, unitWait)
	handoverWithoutUnit(t, schemas.AbsentRestart, unitWait)
	handoverWithoutUnit(t, schemas.AbsentCamera, 0)
}

func handoverWithoutUnit(t *testing.T, absent string, wait time.Duration) {
	t.Helper()
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log()
		ctx, crash := context.WithCancel(t.Context())
		w := l.Open(ctx, cam, OpenOptions{Writer: "w1"})
		ready(t, w)
		f := newFeed(w, 1)
		if err := f.fragment(3); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		crash()
		<-w.Fenced()
		w = e.log().Open(t.Context(), cam, OpenOptions{Writer: "w2", Absent: absent, Unit: "0123456789abcdef"})
		f2 := newFeed(w, 2)
		f2.media = f.media + schemas.Ticks(800*time.Millisecond)
		if err := f2.fragment(3); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		ready(t, w)
		if d := time.Since(began) - wait; d < 0 || d > 200*time.Millisecond {
			t.Errorf("ready %v after the %v that it waits", d, wait)
		}
		closeWriter(t, w)
		es := entriesOf(t, l, Range{})
		own := es[len(es)-1]
		if d := own.Absent - schemas.Ticks(800*time.Millisecond); len(es) != 2 || d < -1 || d > 1 || own.AbsentReason != absent {
			t.Errorf("%+v", es)
		}
	})
}

// TestRemember: retention has removed all entries of a camera that was away. Its
// numbers go on from what is remembered, which is asked until there is an answer.
func TestRemember(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log()
		stood := schemas.Standing{Life: "0badcafe", Seq: 4_000_000_000, Session: 12, Layout: schemas.Layout{ID: 2, Target: 4, Part: 19800, Video: schemas.H264}, Media: 1 << 50}
		asked := 0
		w := l.Open(t.Context(), cam, OpenOptions{Writer: "w1", Remember: func(context.Context) (schemas.Standing, error) {
			if asked++; asked < 3 {
				return schemas.Standing{}, errors.New("no answer")
			}
			return stood, nil
		}})
		f := newFeed(w, 1)
		if err := f.fragment(3); err != nil {
			t.Fatal(err)
		}
		closeWriter(t, w)
		es := entriesOf(t, l, Range{})
		if len(es) != 1 || es[0].Life != stood.Life || es[0].Seq != stood.Seq+1 || es[0].Session != 13 || es[0].Layout.ID <= 2 || es[0].Media < stood.Media || es[0].Absent != 0 {
			t.Errorf("%+v", es)
		}
		var froms []uint64
		for _, x := range indexOf(t, l, cam) {
			if x.Kind == schemas.KindOpen {
				froms = append(froms, x.From)
			}
		}
		if !slices.Equal(froms, []uint64{0, es[0].Seq}) || asked != 3 {
			t.Errorf("opens with From %v after %d questions", froms, asked)
		}
		// The next one finds the entry, and asks nobody.
		w = l.Open(t.Context(), cam, OpenOptions{Writer: "w2", Remember: func(context.Context) (schemas.Standing, error) {
			t.Error("asked although the index has an entry")
			return schemas.Standing{}, nil
		}})
		ready(t, w)
		closeWriter(t, w)
	})
}
