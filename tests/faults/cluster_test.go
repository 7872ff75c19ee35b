package faults

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// Three brokers with three replicas of everything. The leader of a camera is killed, another
// stands still, all are started again one after another: nothing that was safe is lost or
// changed, no camera is interrupted, nothing is missing, and players go on. While fewer than
// two replicas are in sync nothing can be safe. Memory holds the footage of that time, and
// what it cannot hold becomes gaps, in this time alone.
func TestBrokersOfAClusterFail(t *testing.T) {
	testenv.Long(t)
	system.Engines(t, testBrokersOfAClusterFail)
}

func testBrokersOfAClusterFail(t *testing.T, engine string) {
	const budget = 8 << 20 // some 32 s of the camera big, and minutes of the others
	const big = "big"
	c := testenv.OwnKafkaCluster(t)
	cameras := append(simple(3, 200), camera{id: big, clip: testenv.Clip{Seconds: 6, KBits: 2000}})
	s := start(t, withEngine(engine, cameras), fmt.Sprintf("topics:\n  budget: %d\negress:\n  window: 5m\n", budget), c.Brokers()...)
	ids, index := s.ids, schemas.Names{}.Index(schemas.Topic{Camera: "cam-0"})
	s.allGrown(t, ids, time.Time{}, 2)
	c.WaitInSync(t)
	checkTwoInSync(t, s, c.Brokers()...)
	children := s.Children()
	safe, last := footage{}, s.indexes(t, ids)
	safe.check(t, s.reader, last)

	clients := watchAll(t, s.URL, ids, testenv.Patience)
	// fault checks what must hold where one broker alone is away. do makes it go away and
	// come back, and returns when all replicas are in sync again.
	fault := func(what string, do func()) {
		t.Helper()
		s.allGrown(t, ids, time.Now(), 2)
		before, began := last, time.Now()
		do()
		in := time.Since(began)
		s.allGrown(t, ids, time.Now(), 2)
		after := s.checkCalm(t, what, before, children)
		safe.check(t, s.reader, after)
		last = after
		for id, all := range after {
			for _, e := range all[len(before[id]):] {
				if e.Kind != schemas.KindWhole {
					t.Errorf("%s: fragment %d of %s is %s (%s), and two replicas were in sync all the time:\n%s", what, e.Seq, id, e.Kind, e.Reason, table(all))
					break
				}
			}
			waitListed(t, clients[id+" low latency"], id, all)
		}
		t.Logf("%s: in sync again after %v, %d fragments are as they were", what, in.Round(time.Millisecond), len(safe))
	}

	killed := c.Leader(t, index, 0)
	fault(fmt.Sprintf("broker %d killed", killed), func() {
		c.Kill(t, killed)
		s.allGrown(t, ids, time.Now(), 2) // without it
		c.Start(t, killed)
		c.WaitInSync(t)
	})
	frozen := killed%3 + 1 // another one; it leads about half of all partitions by now
	fault(fmt.Sprintf("broker %d frozen", frozen), func() {
		c.Freeze(t, frozen)
		lasts(t, 20*time.Second)
		c.Thaw(t, frozen)
		c.WaitInSync(t)
	})
	fault("all brokers rolled", func() {
		for _, id := range c.IDs() {
			c.Stop(t, id)
			c.Start(t, id)
			c.WaitInSync(t)
		}
	})
	clients.end(t, 20)

	// Two away at once.
	before := last
	clients = watchAll(t, s.URL, ids, -1)
	one, two := c.IDs()[0], c.IDs()[1]
	fewer := time.Now()
	c.Kill(t, one)
	c.Freeze(t, two)
	lasts(t, 45*time.Second) // longer than memory holds the footage of big
	enough := time.Now()     // from here on two may be in sync
	c.Thaw(t, two)
	s.allGrown(t, ids, time.Now(), 2)
	c.Start(t, one)
	c.WaitInSync(t)
	s.allGrown(t, ids, time.Now(), 2)
	after := s.checkCalm(t, "two away", before, children)
	safe.check(t, s.reader, after)
	const soon = 30 * time.Second // as in TestKafkaAway
	gaps := 0
	for id, all := range after {
		for _, e := range all[len(before[id]):] {
			switch early := e.Start.Before(fewer.Add(-500 * time.Millisecond)); { // public time may be that much behind
			case e.Kind == schemas.KindWhole || e.Kind == schemas.KindTruncated && e.Reason == schemas.ReasonBudget && !early:
			case id != big || e.Kind != schemas.KindGap || e.Reason != schemas.ReasonBudget || early || e.Start.After(enough.Add(soon)):
				t.Errorf("two away from %s to %s: fragment %d of %s is %s (%s):\n%s", fewer.Format("15:04:05.000"), enough.Format("15:04:05.000"),
					e.Seq, id, e.Kind, e.Reason, table(all[len(before[id]):]))
			default:
				gaps++
			}
		}
		waitListed(t, clients[id+" low latency"], id, all)
	}
	t.Logf("two away for %v: %d gaps of %s, %d fragments are as they were", enough.Sub(fewer).Round(time.Millisecond), gaps, big, len(safe))
	if gaps == 0 {
		t.Errorf("two away: %s has no gap, although its budget was full", big)
	}
	clients.end(t, 10)
}

// checkTwoInSync checks that a camera's topics need two replicas for what is safe.
func checkTwoInSync(t *testing.T, s *scene, brokers ...string) {
	t.Helper()
	cam := schemas.Topic{Camera: s.ids[0]}
	all, err := openAdmin(t, brokers...).DescribeTopicConfigs(t.Context(), schemas.Names{}.Media(cam), schemas.Names{}.Index(cam))
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range all {
		if !slices.ContainsFunc(topic.Configs, func(c kadm.Config) bool { return c.Key == "min.insync.replicas" && c.Value != nil && *c.Value == "2" }) {
			t.Errorf("%s does not need two replicas in sync: %+v", topic.Name, topic)
		}
	}
}

// footage is the hashes of fragments, by camera and seq.
type footage map[string][32]byte

// check checks that all fragments have the bytes that they had, and adds those that are new.
func (f footage) check(t *testing.T, r reader, all indexes) {
	t.Helper()
	for id, entries := range all {
		for i := range entries {
			var chunks []*schemas.Chunk
			r.chunks(t, schemas.Topic{Camera: id}, &entries[i], func(c *schemas.Chunk) { chunks = append(chunks, c) })
			name, is := fmt.Sprintf("%s/%d", id, entries[i].Seq), hashOf(chunks, same)
			if was, ok := f[name]; ok && was != is {
				t.Errorf("fragment %s has other bytes than before", name)
			}
			f[name] = is
		}
	}
}
