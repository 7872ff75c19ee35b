package monitor

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/monitor/lag"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// indexer writes the index of a topic without media.
type indexer struct {
	e      *env
	of     schemas.Topic
	client *kgo.Client
	next   int64
	seq    uint64
	end    time.Time     // of the newest footage
	ahead  time.Duration // of the clock of who writes
}

// index creates a topic, and opens it.
func (e *env) index(of schemas.Topic) *indexer {
	e.t.Helper()
	x := &indexer{e: e, of: of, client: e.make(of)}
	x.put(&schemas.Entry{Kind: schemas.KindOpen, Prev: -1})
	return x
}

// put appends entries, in one batch.
func (x *indexer) put(entries ...*schemas.Entry) {
	x.e.t.Helper()
	records := x.e.records(x.of, entries...)
	for _, r := range records {
		r.Timestamp = time.Now().Add(x.ahead)
	}
	if err := x.client.ProduceSync(x.e.t.Context(), records...).FirstErr(); err != nil {
		x.e.t.Fatal(err)
	}
	x.next += int64(len(entries))
}

// entry is the next entry, of footage that ends now.
func (x *indexer) entry(kind schemas.Kind, seconds int64) *schemas.Entry {
	x.seq++
	x.end = time.Now().Truncate(time.Microsecond)
	start := x.end.Add(-time.Duration(seconds) * time.Second)
	return &schemas.Entry{
		Kind: kind, Prev: x.next - 1, Seq: x.seq, Start: start,
		Media: schemas.Ticks(time.Duration(start.UnixNano())), Duration: seconds * schemas.MediaTimescale,
	}
}

// fragment appends the entry of a fragment of two seconds.
func (x *indexer) fragment() {
	x.e.t.Helper()
	e := x.entry(schemas.KindWhole, 2)
	e.Chunks = 1
	x.put(e)
}

// gap appends the entry of a gap.
func (x *indexer) gap(seconds int64) {
	x.e.t.Helper()
	e := x.entry(schemas.KindGap, seconds)
	e.Reason = schemas.ReasonStorage
	x.put(e)
}

// away lets requests for the index of a topic fail, as those to a broker that leads it no more.
func (e *env) away(of schemas.Topic, keys ...kmsg.Key) *kfake.FaultHandle {
	return e.cluster.Fault(kfake.Fault{Keys: keys, Topic: e.kafka.Names().Index(of), Err: kerr.NotLeaderForPartition, Count: -1})
}

// add adds a camera to the registry.
func (e *env) add(id string) {
	e.t.Helper()
	if err := e.registry.Put(e.t.Context(), schemas.Camera{ID: id, URL: "rtsp://10.0.0.5/" + id, Source: schemas.SourceAPI}); err != nil {
		e.t.Fatal(err)
	}
}

// age is how old the newest footage is in a report; -1: that is not known.
func age(r lag.Report, x *indexer, known bool) time.Duration {
	if !known {
		return -1
	}
	return r.At.Sub(x.end)
}

// When the monitor starts, the leader of a camera's index is away, or tells only where the index
// ends. How old the footage is, is not known until the leader is back. Then the gaps count that
// came since the start.
func TestLeaderAwayAtStart(t *testing.T) {
	for what, keys := range map[string][]kmsg.Key{"away": {kmsg.ListOffsets, kmsg.Fetch}, "no records": {kmsg.Fetch}} {
		t.Run(what, func(t *testing.T) {
			virtual(t, 1, func(t *testing.T, e *env) {
				for _, id := range []string{"yard", "late", "empty", "absent"} {
					e.add(id)
				}
				yard := e.index(schemas.Topic{Camera: "yard"})
				e.index(schemas.Topic{Camera: "empty"})
				yard.fragment()
				yard.gap(5)
				yard.fragment()
				time.Sleep(10 * time.Minute)
				yard.fragment()
				e.commit("reader", yard.of, 2)
				time.Sleep(time.Second)
				check := func(what string, read bool, gaps map[string]float64) {
					t.Helper()
					r := e.report()
					if got := behind(e.camera(r, "yard"), "log"); got != age(r, yard, read) {
						t.Errorf("%s: the log is %v behind, want %v", what, got, age(r, yard, read))
					}
					got := e.metric("gap_seconds_total")
					for of, want := range gaps {
						if got, ok := got[of+" storage raw"]; !ok || got != want {
							t.Errorf("%s: gaps of %s of %v s, want %v", what, of, got, want)
						}
					}
					for _, id := range []string{"empty", "absent"} {
						if got, want := behind(e.camera(r, id), "log"), r.At.Sub(e.monitor.snapshot.Cameras[id].Updated); got != want {
							t.Errorf("%s: %s was never recorded, and is %v behind, want %v", what, id, got, want)
						}
					}
				}
				away := e.away(yard.of, keys...)
				check("at the start", false, map[string]float64{"yard": 0, "empty": 0})
				if got := e.metric("group_lag_seconds"); len(got) != 0 {
					t.Errorf("lag of groups without records: %v", got)
				}
				time.Sleep(time.Minute)
				yard.gap(7)
				yard.fragment()
				late := e.index(schemas.Topic{Camera: "late"}) // its leader is away too
				awayToo := e.away(late.of, keys...)
				late.gap(3)
				check("later", false, map[string]float64{"yard": 0, "late": 0})

				away.Remove()
				awayToo.Remove()
				time.Sleep(time.Second)
				check("the leader is back", true, map[string]float64{"yard": 7, "late": 3})
				if got := e.metric("group_lag_seconds"); got["yard reader raw"] == 0 {
					t.Errorf("lag of groups: %v", got)
				}
				yard.gap(2)
				check("a gap comes", true, map[string]float64{"yard": 9, "late": 3})
			})
		})
	}
}

// Gaps from before the monitor's start do not count, also if the clock of who wrote them is ahead of its own.
func TestGapsBeforeTheStart(t *testing.T) {
	virtual(t, 1, func(t *testing.T, e *env) {
		yard := e.index(schemas.Topic{Camera: "yard"})
		yard.ahead = time.Minute
		yard.gap(5)
		yard.fragment()
		time.Sleep(time.Second)
		for _, want := range []float64{0, 7} {
			e.report()
			if got := e.metric("gap_seconds_total")["yard storage raw"]; got != want {
				t.Errorf("gaps of %v s, want %v", got, want)
			}
			yard.gap(7)
		}
	})
}

// A new leader lacks the newest records of an index, so it is read anew. No gap counts twice, nor
// does one from before the start.
func TestNewLeaderLacksRecords(t *testing.T) {
	virtual(t, 1, func(t *testing.T, e *env) {
		e.add("yard")
		yard := e.index(schemas.Topic{Camera: "yard"})
		yard.gap(5)
		time.Sleep(10 * time.Minute)
		check := func(what string, read bool, gaps float64) {
			t.Helper()
			r := e.report()
			if got := behind(e.camera(r, "yard"), "log"); got != age(r, yard, read) {
				t.Errorf("%s: the log is %v behind, want %v", what, got, age(r, yard, read))
			}
			if got := e.metric("gap_seconds_total")["yard storage raw"]; got != gaps {
				t.Errorf("%s: gaps of %v s, want %v", what, got, gaps)
			}
		}
		yard.fragment()
		check("at the start", true, 0)
		time.Sleep(time.Minute)
		yard.gap(7)
		check("a gap came", true, 7)
		time.Sleep(time.Second)

		e.cluster.ControlKey(int16(kmsg.ListOffsets), func(r kmsg.Request) (kmsg.Response, error, bool) {
			req := r.(*kmsg.ListOffsetsRequest)
			if req.Topics[0].Topic != e.kafka.Names().Index(yard.of) || req.Topics[0].Partitions[0].Timestamp != latest {
				return nil, nil, false
			}
			resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
			for _, rt := range req.Topics {
				at := kmsg.NewListOffsetsResponseTopic()
				at.Topic = rt.Topic
				for _, rp := range rt.Partitions {
					p := kmsg.NewListOffsetsResponseTopicPartition()
					p.Partition = rp.Partition
					p.Offset = yard.next - 1 // the newest record is not there
					at.Partitions = append(at.Partitions, p)
				}
				resp.Topics = append(resp.Topics, at)
			}
			return resp, nil, true
		})
		away := e.away(yard.of, kmsg.Fetch)
		check("the index ends before", false, 7)
		away.Remove()
		check("it was read anew", true, 7)
		time.Sleep(time.Minute)
		yard.gap(2)
		check("another gap came", true, 9)
	})
}

// Dead letters count when all of them were read.
func TestSomeDeadLettersRead(t *testing.T) {
	virtual(t, 1, func(t *testing.T, e *env) {
		letters := e.index(schemas.Topic{Camera: "yard", Rendition: "dlq-motion"})
		const batches, batch = 12, 100 // more than one answer holds
		for range batches {
			var all []*schemas.Entry
			for i := range int64(batch) {
				entry := letters.entry(schemas.KindWhole, 2)
				entry.Prev, entry.Chunks, entry.Role = letters.next+i-1, 1, schemas.RoleDeadLetter
				all = append(all, entry)
			}
			letters.put(all...)
		}
		more := e.cluster.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Fetch}, Topic: e.kafka.Names().Index(letters.of), Err: kerr.NotLeaderForPartition, Count: -1,
			When: func(r kmsg.Request) bool { return r.(*kmsg.FetchRequest).Topics[0].Partitions[0].FetchOffset > 0 },
		})
		e.report()
		if got := e.metric("dead_letters"); len(got) != 0 || more.Hits() == 0 {
			t.Errorf("some were read: %v, after %d answers without records", got, more.Hits())
		}
		more.Remove()
		e.report()
		if got, want := fmt.Sprint(e.metric("dead_letters")), fmt.Sprint(map[string]float64{"yard motion": batches * batch}); got != want {
			t.Errorf("all were read: %v, want %v", got, want)
		}
	})
}

// A group has done all. Then records come that cannot be read: how far it is behind is not known.
func TestGroupAtRecordsThatAreNotRead(t *testing.T) {
	virtual(t, 1, func(t *testing.T, e *env) {
		yard := e.index(schemas.Topic{Camera: "yard"})
		yard.fragment()
		e.commit("reader", yard.of, yard.next)
		check := func(what string, want map[string]float64) {
			t.Helper()
			e.report()
			if got := e.metric("group_lag_seconds"); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: lag of groups %v, want %v", what, got, want)
			}
		}
		check("it has done all", map[string]float64{"yard reader raw": 0})
		yard.fragment()
		away := e.away(yard.of, kmsg.Fetch)
		check("they cannot be read", map[string]float64{})
		away.Remove()
		check("they can be read", map[string]float64{"yard reader raw": 2})
	})
}

// A record of an index is damaged. What stands behind it is told.
func TestDamagedRecord(t *testing.T) {
	virtual(t, 1, func(t *testing.T, e *env) {
		e.add("yard")
		yard := e.index(schemas.Topic{Camera: "yard"})
		yard.fragment()
		bad := yard.next
		yard.fragment()
		yard.fragment()
		yard.fragment()
		time.Sleep(time.Minute)
		yard.fragment()
		testenv.DamageKafka(t, e.cluster, e.kafka.Dial, e.kafka.Names().Index(yard.of), 0, bad)
		r := e.report()
		if got := behind(e.camera(r, "yard"), "log"); got != age(r, yard, true) {
			t.Errorf("the log is %v behind, want %v", got, age(r, yard, true))
		}
	})
}
