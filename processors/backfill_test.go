package processors

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/schemas"
)

func (e *env) runner(p Processor) *Runner {
	e.t.Helper()
	r, err := NewRunner(p, e.config())
	if err != nil {
		e.t.Fatal(err)
	}
	return r
}

// A backfill processes a range of the past into a rendition of its own, and goes on there
// when it is called again. A dry run publishes nothing, and tells the same.
func TestBackfill(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		source := e.cam.fragments(10)
		b := Backfill{From: source[2].Start, To: source[8].Start, Suffix: "-old", DryRun: true}
		var dry, wet []Progress
		b.Report = func(p Progress) { dry = append(dry, p) }
		r := e.runner(poisoned(source[4].Seq, func(context.Context, *Fragment, *Output) error { return errors.New("no") }))
		if err := r.Backfill(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		old := schemas.Topic{Camera: camID, Rendition: "upper-old"}
		if got := e.entries(old); len(got) != 0 {
			t.Fatalf("a dry run has published %+v", got)
		}
		b.DryRun, b.Report = false, func(p Progress) { wet = append(wet, p) }
		for range 2 {
			if err := r.Backfill(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
		e.sameAs("upper-old", source[2:8], source[4].Seq)
		if got := e.entries(old)[2]; got.Reason != schemas.ReasonDeadLetter || len(e.entries(dlq)) != 0 {
			t.Errorf("the fragment that fails is %s (%s), %d dead letters; want a gap and none", got.Kind, got.Reason, len(e.entries(dlq)))
		}
		if len(dry) != 6 || len(wet) != 6 {
			t.Fatalf("%d and %d reports, want 6 each", len(dry), len(wet))
		}
		for i, d := range dry {
			w, s := wet[i], source[2+i]
			if d.Done != i+1 || d.Total != 6 || d.Seq != s.Seq || d.Seq != w.Seq || w.Done != d.Done || d.Bytes["upper-old"] != w.Bytes["upper-old"] || (d.Err == nil) != (w.Err == nil) {
				t.Errorf("dry run %+v\nbackfill %+v", d, w)
			}
			if (d.Err != nil) != (i == 2) || (i != 2 && d.Bytes["upper-old"] != s.Bytes) {
				t.Errorf("report %d: %+v", i, d)
			}
		}
	})
}

// A dry run over footage that only the archive holds tells what it told when Kafka held it.
func TestBackfillOfTheArchive(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		source := e.cam.fragments(6)
		dir := t.TempDir()
		if err := archive.Write(t.Context(), archive.Local(dir), e.log, raw, source[:5]); err != nil {
			t.Fatal(err)
		}
		dryRun := func() (all []Progress) {
			c := e.config()
			c.Archive = dir
			r, err := NewRunner(upperProcessor(), c)
			if err != nil {
				t.Fatal(err)
			}
			err = r.Backfill(t.Context(), Backfill{From: source[1].Start, DryRun: true, Report: func(p Progress) {
				p.Took = 0
				all = append(all, p)
			}})
			if err != nil {
				t.Fatal(err)
			}
			return all
		}
		before := dryRun()
		e.expire(source[2].Offset, source[3])
		if after := dryRun(); len(before) != 5 || !reflect.DeepEqual(after, before) {
			t.Errorf("from the archive %+v\nfrom Kafka %+v", after, before)
		}
	})
}

// A backfill of footage that only the archive holds, or no more than its end of Kafka, writes what
// it wrote when Kafka held it. It goes on when it is called again, and expires by its own time.
func TestBackfillFromTheArchive(t *testing.T) {
	for name, kept := range map[string]int{"part of it is in Kafka": 4, "Kafka has none": 6} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T, e *env) {
				source := e.cam.fragments(6)
				dir := t.TempDir()
				if err := archive.Write(t.Context(), archive.Local(dir), e.log, raw, source); err != nil {
					t.Fatal(err)
				}
				fill := func(suffix string, to time.Time) {
					c := e.config()
					c.Archive = dir
					r, err := NewRunner(upperProcessor(), c)
					if err != nil {
						t.Fatal(err)
					}
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					if err := r.Backfill(ctx, Backfill{From: source[1].Start, To: to, Suffix: suffix}); err != nil {
						t.Fatalf("%s: %v", suffix, err)
					}
				}
				fill("-before", time.Time{})
				e.sameAs("upper-before", source[1:])
				before := schemas.Topic{Camera: camID, Rendition: "upper-before"}
				var texts []string
				for _, one := range e.entries(before) {
					texts = append(texts, e.text(before, one))
				}
				time.Sleep(time.Hour)
				e.expire(source[kept-1].Offset+1, source[kept-1])
				began := time.Now()
				fill("-old", source[3].End())
				fill("-old", time.Time{})
				old := schemas.Topic{Camera: camID, Rendition: "upper-old"}
				got := e.entries(old)
				if len(got) != 5 {
					t.Fatalf("%d entries, want 5", len(got))
				}
				for i, one := range got {
					if one.Seq != source[i+1].Seq || one.Kind != schemas.KindWhole || e.text(old, one) != texts[i] {
						t.Errorf("entry %d is %s %d: %s, want %s", i, one.Kind, one.Seq, e.text(old, one), texts[i])
					}
				}
				// The first record of this hour is the first one of all.
				for topic, want := range map[schemas.Topic]bool{old: true, before: false} {
					if first := e.firstAfter(topic, began); (first == 0) != want {
						t.Errorf("%s: the first record that expires by the time of now is %d", topic, first)
					}
				}
			})
		})
	}
}

// A later range goes into the same rendition: what lies between is a hole there.
func TestBackfillOfALaterRange(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		source := e.cam.fragments(8)
		for _, r := range [][2]int{{1, 3}, {6, 8}, {2, 7}} { // of the last one, all is done
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			err := e.runner(upperProcessor()).Backfill(ctx, Backfill{From: source[r[0]].Start, To: source[r[1]-1].End(), Suffix: "-old"})
			cancel()
			if err != nil {
				t.Fatalf("fragments %v: %v", r, err)
			}
		}
		e.sameAs("upper-old", []schemas.Entry{source[1], source[2], source[6], source[7]})
	})
}

// A backfill does not write what the group writes.
func TestBackfillOfTheGroupsRendition(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		source := e.cam.fragments(3)
		e.start(upperProcessor())
		e.waitFor("upper", source[2].Seq)
		err := e.runner(upperProcessor()).Backfill(t.Context(), Backfill{})
		if err == nil || !strings.Contains(err.Error(), "give one of them another rendition") {
			t.Errorf("error %v", err)
		}
		p := upperProcessor()
		p.Cameras = []string{"nowhere"}
		if err := e.runner(p).Backfill(t.Context(), Backfill{}); err == nil || !strings.Contains(err.Error(), "no camera of nowhere has footage") {
			t.Errorf("a camera without footage: %v", err)
		}
		e.sameAs("upper", source[2:])
	})
}

// Dead letters are listed and redriven, into a rendition of their own. What fails again can
// be redriven once more.
func TestRedrive(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		first := e.cam.fragments(1)
		bad := map[uint64]bool{first[0].Seq + 1: true, first[0].Seq + 3: true}
		still := first[0].Seq + 3
		sick := upperProcessor()
		sick.Process = func(ctx context.Context, in *Fragment, out *Output) error {
			if bad[in.Seq] {
				return errors.New("the model is not there")
			}
			return upper(ctx, in, out)
		}
		e.start(sick)
		e.waitFor("upper", first[0].Seq)
		source := append(first, e.cam.fragments(5)...)
		e.waitFor("upper", source[5].Seq)

		letters, err := DeadLetters(t.Context(), e.config(), "", "")
		if err != nil || len(letters) != 2 {
			t.Fatalf("dead letters %+v, %v", letters, err)
		}
		for i, s := range []schemas.Entry{source[1], source[3]} {
			want := DeadLetter{
				Processor: "upper", Camera: camID, Rendition: "dlq-upper", Life: s.Life, Session: s.Session, Seq: s.Seq, Start: s.Start,
				Duration: schemas.FromTicks(s.Duration), Bytes: s.Bytes, Attempts: 3, Error: "the model is not there",
			}
			if letters[i] != want {
				t.Errorf("letter %+v\nwant %+v", letters[i], want)
			}
		}
		if others, err := DeadLetters(t.Context(), e.config(), "upper", "another-camera"); err != nil || len(others) > 0 {
			t.Errorf("letters of another camera: %v, %v", others, err)
		}

		healthy := func(but uint64) *Runner {
			return e.runner(poisoned(but, func(context.Context, *Fragment, *Output) error { return errors.New("still not") }))
		}
		if done, err := healthy(still).Redrive(t.Context(), letters...); err == nil || !strings.Contains(err.Error(), "still not") || len(done) != 1 {
			t.Errorf("redriven with an error: %v, %v", done, err)
		}
		redriven := schemas.Topic{Camera: camID, Rendition: "upper-redriven"}
		if got := e.entries(redriven); len(got) != 1 || got[0].Seq != source[1].Seq {
			t.Errorf("redriven %+v, want the first letter", got)
		}
		for _, n := range []int{1, 0} { // those that it processes now
			if done, err := healthy(0).Redrive(t.Context(), letters...); err != nil || len(done) != n {
				t.Errorf("redriven %v, %v; want %d", done, err, n)
			}
		}
		e.sameAs("upper-redriven", []schemas.Entry{source[1], source[3]})
		letters[0].Processor = "lower"
		if _, err := healthy(0).Redrive(t.Context(), letters...); err == nil || !strings.Contains(err.Error(), `of the processor "lower"`) {
			t.Errorf("a letter of another processor: %v", err)
		}
	})
}
