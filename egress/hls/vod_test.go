package hls

import (
	"context"
	"iter"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// readings is a log that remembers from which seq on ranges were read last.
type readings struct {
	*fakeLog
	from uint64
}

func (r *readings) Entries(ctx context.Context, t schemas.Topic, in medialog.Range) iter.Seq2[schemas.Entry, error] {
	r.from = in.FromSeq
	return r.fakeLog.Entries(ctx, t, in)
}

// The playlist of a range that gets footage goes on where it was: only what is new is read, and the
// playlist is the one that a server makes which has just started. It is made anew if its first
// footage has expired, or its last is not there any more.
func TestRangeGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(testmedia.Start.Add(time.Minute))) // of the bubble's time
		f := testmedia.Synthetic(testPlace, 12)
		f[4].Entry = testmedia.GapAt(f[3].Entry, time.Second)
		for i := 6; i < 12; i++ {
			f[i].Entry.Session++
			f[i].Entry.OpenGOP = i == 9
		}
		f[10].Entry.Config, f[10].Entry.Layout.Target = "other", 7
		log := &readings{fakeLog: newFakeLog()}
		log.add("cam", f[:3]...)
		s, path := run(t, Config{}, log), "/hls/cam/raw.m3u8"+rangeQuery(0, 60)
		check := func(when string, from uint64, segments string) {
			t.Helper()
			got, read := want(t, get(s, path), 200), log.from
			if whole := want(t, get(run(t, Config{}, log), path), 200); got != whole || segmentsOf(got) != segments {
				t.Errorf("%s:\n%s\nwant\n%s", when, got, whole)
			}
			if read != from {
				t.Errorf("%s: it was read from %d on, want %d", when, read, from)
			}
		}
		check("new", 0, "0 1 2")
		check("as it was", testPlace.Seq+3, "0 1 2")
		log.add("cam", f[3:8]...)
		check("longer", testPlace.Seq+3, "0 1 2 3 (4) 5 | 6 7")
		log.add("cam", f[9:]...) // 8 is in a hole
		check("longer again", testPlace.Seq+8, "0 1 2 3 (4) 5 | 6 7 | 9 10 11")
		log.expire("cam", testPlace.Seq+2)
		check("shorter", 0, "2 3 (4) 5 | 6 7 | 9 10 11")
		log.update("cam", func(f *fakeTopic) { f.beyond = testPlace.Seq + 11 })
		check("lost", 0, "2 3 (4) 5 | 6 7 | 9 10 11")
		log.update("cam", func(f *fakeTopic) { f.beyond = 0 })
		check("found", testPlace.Seq+12, "2 3 (4) 5 | 6 7 | 9 10 11")
		time.Sleep(keepRange)
		check("old", 0, "2 3 (4) 5 | 6 7 | 9 10 11")
	})
}

// Dates and seconds are those that the standard library writes.
func TestAppend(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 10000 {
		at := time.UnixMicro(rng.Int64N(253402300799e6))
		if got, want := string(appendDate(nil, at)), "#EXT-X-PROGRAM-DATE-TIME:"+at.UTC().Format("2006-01-02T15:04:05.000Z")+"\n"; got != want {
			t.Fatalf("%s, want %s", got, want)
		}
		micros := rng.Int64N(1<<uint(rng.IntN(46)+1)) - 1000
		if got, want := seconds(micros), strconv.FormatFloat(float64(micros)/1e6, 'f', 6, 64); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
}
