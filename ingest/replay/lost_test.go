package replay

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// lose cuts the partitions of a copy's media back, as a power cut may do: each ends before the first
// of these fragments that it has. The index stays.
func (e *env) lose(lost ...schemas.Entry) {
	e.t.Helper()
	media := schemas.Names{}.Media(copied)
	cl, err := kgo.NewClient(append(e.options, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ConsumeTopics(media), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		e.t.Fatal(err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	ends, err := admin.ListEndOffsets(e.t.Context(), media)
	if err != nil {
		e.t.Fatal(err)
	}
	left := map[int32]int64{} // where each partition ends from now on
	records := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left[o.Partition], records = o.Offset, records+o.Offset })
	for _, x := range lost {
		left[x.Partition] = min(left[x.Partition], x.First)
	}
	var kept []*kgo.Record
	for n := int64(0); n < records; {
		got := cl.PollFetches(e.t.Context())
		if err := got.Err(); err != nil {
			e.t.Fatal(err)
		}
		got.EachRecord(func(r *kgo.Record) {
			if n++; r.Offset < left[r.Partition] {
				kept = append(kept, r)
			}
		})
	}
	if res, err := admin.DeleteTopics(e.t.Context(), media); err != nil || res.Error() != nil {
		e.t.Fatal(err, res.Error())
	}
	if _, err := admin.CreateTopic(e.t.Context(), int32(len(left)), 1, nil, media); err != nil {
		e.t.Fatal(err)
	}
	time.Sleep(10 * time.Second) // clients may keep what they know of the topic
	cl.PurgeTopicsFromClient(media)
	if err := cl.ProduceSync(e.t.Context(), kept...).FirstErr(); err != nil {
		e.t.Fatal(err)
	}
}

// sources numbers the sources of the fragments of the copy; "-": it cannot be read.
func (e *env) sources() string {
	e.t.Helper()
	time.Sleep(10 * time.Second) // a topic that was created a moment ago may not be known yet
	oldest, _, err := e.log.Bounds(e.t.Context(), yard)
	if err != nil {
		e.t.Fatal(err)
	}
	var out []string
	for x, err := range e.log.Entries(e.t.Context(), copied, medialog.Range{}) {
		if err != nil {
			e.t.Fatal(err)
		}
		if !x.Playable() {
			continue
		}
		source := ""
		for c, err := range e.log.EndingAtDamage().Chunks(e.t.Context(), copied, x) {
			switch {
			case err != nil:
				source = "-"
			case c.Index == 0:
				source = fmt.Sprint(c.Lineage.Seq - oldest.Seq + 1)
			}
		}
		out = append(out, source)
	}
	return strings.Join(out, " ")
}

// short is the range of the first three fragments of footage, as fast as the log takes it.
func (e *env) short() schemas.Replay {
	e.t.Helper()
	r := e.film()
	source, _ := e.told(yard, r.From, false)
	r.To, r.Speed = source[2].Start.Add(time.Millisecond), 0
	return r
}

// TestCopyLost: the brokers lose the end of the copy in a power cut, and its index stays. The replay
// repeats once more what is lost behind the newest fragment that is there.
func TestCopyLost(t *testing.T) {
	for name, store := range map[string]func(l *medialog.Log) medialog.Store{
		"log": func(l *medialog.Log) medialog.Store { return l },
		"and archive": func(l *medialog.Log) medialog.Store {
			return archive.NewJoined(l, archive.NewSet(archive.Local(t.TempDir()), nil, nil))
		},
	} {
		for first, want := range []string{"- - - 1 2 3", "1 - - 2 3", "1 2 - 3"} {
			t.Run(fmt.Sprintf("%s, from %d on", name, first), func(t *testing.T) {
				virtual(t, func(t *testing.T, e *env) {
					r := e.short()
					e.must(r, nil)
					copies, _ := e.told(copied, time.Time{}, false)
					e.lose(copies[first:]...)
					e.store = store(e.log)
					e.must(r, nil)
					if got := e.sources(); got != want {
						t.Errorf("the copy has %s, want %s", got, want)
					}
				})
			})
		}
	}
}

// behindStore is a store in which the leader of a topic is behind for three looks.
type behindStore struct {
	medialog.Store
	looks int
}

func (s *behindStore) Chunks(ctx context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	if s.looks++; s.looks > 3 {
		return s.Store.Chunks(ctx, t, e)
	}
	return func(yield func(*schemas.Chunk, error) bool) { yield(nil, medialog.ErrBeyond) }
}

// TestCopyBehind: a new leader of the copy is behind for a moment. Nothing counts as lost.
func TestCopyBehind(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		r := e.short()
		e.must(r, nil)
		at, err := Find(t.Context(), &behindStore{Store: e.log}, copied, r)
		if all, failed := Survey(t.Context(), e.log, r); failed != nil || err != nil || at.Seq != all.Last {
			t.Errorf("it stands at %+v of %+v (%v, %v); want its end", at, all, err, failed)
		}
	})
}

// TestCopyDamaged: Kafka has a record of the newest fragment of the copy whose checksum is wrong. The
// replay repeats this fragment.
func TestCopyDamaged(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		r := e.short()
		e.must(r, nil)
		copies, _ := e.told(copied, time.Time{}, false)
		last := copies[len(copies)-1]
		e.damage(copied, last.Partition, last.First)
		e.store = e.log.EndingAtDamage()
		e.must(r, nil)
		if got := e.sources(); got != "1 2 - 3" {
			t.Errorf("the copy has %s", got)
		}
	})
}

// TestSourceDamagedAtItsEnd: a replay whose last fragment cannot be read is complete behind the gap for it.
func TestSourceDamagedAtItsEnd(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		r := e.short()
		source, _ := e.told(yard, r.From, true)
		last := source[2]
		e.damage(yard, last.Partition, last.First)
		e.store = e.log.EndingAtDamage()
		e.must(r, nil)
		copies, _ := e.told(copied, time.Time{}, true)
		if x := copies[len(copies)-1]; x.Kind != schemas.KindGap || x.Duration != last.Duration {
			t.Errorf("at the end stands %+v", x)
		}
		for range 2 {
			e.must(r, nil)
		}
		if now, _ := e.told(copied, time.Time{}, true); len(now) != len(copies) {
			t.Errorf("it has written %d entries more", len(now)-len(copies))
		}
	})
}

// TestSourceDamaged: Kafka has a record of the source whose checksum is wrong. The rest of its fragment
// is a gap, which is told, and the replay goes on.
func TestSourceDamaged(t *testing.T) {
	for chunk, want := range []string{"gap source", "truncated source, gap source"} {
		t.Run(fmt.Sprintf("chunk %d", chunk), func(t *testing.T) {
			virtual(t, func(t *testing.T, e *env) {
				r := e.short()
				source, told := e.told(yard, r.From, true)
				e.damage(yard, source[1].Partition, source[1].First+int64(chunk))
				e.store = e.log.EndingAtDamage()
				e.must(r, nil)
				copies, got := e.told(copied, time.Time{}, true)
				var between []string
				length := int64(0)
				for _, x := range copies[1 : len(copies)-1] {
					between = append(between, fmt.Sprintf("%s %s", x.Kind, x.Reason))
					length += x.Duration
				}
				if b := strings.Join(between, ", "); b != want || length != source[1].Duration {
					t.Errorf("for the fragment there is %s of %d ticks, want %s of %d", b, length, want, source[1].Duration)
				}
				same(t, []string{got[0], got[len(got)-1]}, []string{told[0], strings.Replace(told[2], "ended false", "ended true", 1)})
				if len(e.events) != 1 || e.events[0].Kind != ingest.EventLeftOut || !errors.Is(e.events[0].Err, medialog.ErrDamaged) ||
					e.events[0].Problem != "the footage of yard from "+clock(source[1].Start.Add(time.Duration(chunk)*200*time.Millisecond))+" to "+clock(source[1].End())+
						" is left out: a record of it in Kafka is damaged; look at the disks of the brokers" {
					t.Errorf("it is told as %+v", e.events)
				}
			})
		})
	}
}
