package monitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/monitor/lag"
	"github.com/framelog/framelog/schemas"
)

// A processor is stopped: its lag rises as the footage does, in the hop and in its group,
// and is what the entries say. It works again: the lag falls to zero.
func TestStoppedProcessor(t *testing.T) {
	virtual(t, 1, func(t *testing.T, e *env) {
		cam := e.record("yard")
		p := e.follow("yard", "motion", "motion", schemas.RoleData)
		all := cam.fragments(5)
		done := all[4].Offset + 1
		p.copy(all...)
		e.commit(p.group, cam.topic(), done)
		if c := e.camera(e.report(), "yard"); behind(c, "motion") != 0 || behind(c, "log") > length {
			t.Errorf("all work: %+v", c)
		}
		for _, seconds := range []int64{60, 120} {
			all = cam.fragments(int(seconds/2) - (len(all) - 5))
			c := e.camera(e.report(), "yard")
			want, err := e.log.Lag(t.Context(), cam.topic(), done)
			if err != nil || want.Footage != time.Duration(seconds)*time.Second {
				t.Fatalf("stopped for %d s: the entries say %+v, %v", seconds, want, err)
			}
			if behind(c, "motion") != want.Footage || behind(c, "log") > length {
				t.Errorf("stopped for %d s: %+v", seconds, c.Hops)
			}
			g := c.Groups[0]
			if time.Duration(g.Seconds) != want.Footage || g.Records != want.Records || g.Group != "framelog-process-motion" || g.Rendition != "raw" {
				t.Errorf("stopped for %d s: %+v, want %+v", seconds, g, want)
			}
		}
		p.copy(all[5:]...)
		e.commit(p.group, cam.topic(), all[len(all)-1].Offset+1)
		c := e.camera(e.report(), "yard")
		if g := c.Groups[0]; behind(c, "motion") != 0 || g.Seconds != 0 || g.Records != 0 || g.Left != nil {
			t.Errorf("works again: %+v", c)
		}
	})
}

// Of four cameras one is dead: it is the worst, as old as its footage, and no other is late.
func TestDeadCamera(t *testing.T) {
	virtual(t, 1, func(t *testing.T, e *env) {
		dead, lives := e.record("dead"), e.record("lives")
		for _, c := range []schemas.Camera{{ID: "new"}, {ID: "off", Disabled: true}} {
			c.URL, c.Source = "rtsp://10.0.0.5/", schemas.SourceAPI
			if err := e.registry.Put(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		end := dead.fragments(2)[1].End()
		dead.status(schemas.StateLive)
		lives.media = dead.media // it was away meanwhile
		lives.fragments(45)
		lives.status(schemas.StateLive)
		r := e.report()
		var got []string
		for _, c := range r.Cameras {
			got = append(got, c.ID+" "+c.State)
		}
		if want := "new unowned, dead stale, lives live, off disabled"; strings.Join(got, ", ") != want {
			t.Errorf("worst first: %s, want %s", got, want)
		}
		if d := behind(e.camera(r, "dead"), "log"); d != r.At.Sub(end) || d < 90*time.Second {
			t.Errorf("dead since %v: %v behind", r.At.Sub(end), d)
		}
		added := e.monitor.snapshot.Cameras["new"].Updated
		if d := behind(e.camera(r, "new"), "log"); d != r.At.Sub(added) || d < 90*time.Second {
			t.Errorf("added %v ago: %v behind", r.At.Sub(added), d)
		}
		if d := behind(e.camera(r, "lives"), "log"); d > 2*length {
			t.Errorf("it lives, and is %v behind", d)
		}
		if d := behind(e.camera(r, "off"), "log"); d != -1 {
			t.Errorf("it is disabled, and %v behind", d)
		}
	})
}

// trim removes the footage of a topic before some entry, as retention does.
func (e *env) trim(of schemas.Topic, entries []schemas.Entry) {
	e.t.Helper()
	first := map[int32]int64{}
	for _, entry := range entries {
		first[entry.Partition] = max(first[entry.Partition], entry.Last+1)
	}
	o := kadm.Offsets{}
	for p, at := range first {
		o.AddOffset(e.kafka.Names().Media(of), p, at, -1)
	}
	if got, err := e.admin.DeleteRecords(e.t.Context(), o); err != nil || got.Error() != nil {
		e.t.Fatal(err, got.Error())
	}
	time.Sleep(startsPeriod + time.Second)
}

// Retention comes nearer to a group that stands still, and overtakes it.
func TestRetention(t *testing.T) {
	virtual(t, 1, func(t *testing.T, e *env) {
		cam := e.record("yard")
		all := cam.fragments(30)
		e.commit("reader", cam.topic(), all[20].Offset)
		check := func(what string, left func(at time.Time) time.Duration, span time.Duration) {
			t.Helper()
			r := e.report()
			c := e.camera(r, "yard")
			if l, s := time.Duration(*c.Groups[0].Left), time.Duration(*c.Topics[0].Span); l != left(r.At) || s != span {
				t.Errorf("%s: %v left of %v, want %v of %v", what, l, s, left(r.At), span)
			}
		}
		check("nothing was removed", func(at time.Time) time.Duration { return all[20].Start.Add(retention).Sub(at) }, 60*time.Second)
		e.trim(cam.topic(), all[:5])
		if got := e.entries(cam.topic())[0]; got.Seq != all[5].Seq {
			t.Fatalf("the footage begins at %d", got.Seq)
		}
		check("the topic is full", func(time.Time) time.Duration { return 30 * time.Second }, 50*time.Second)
		e.trim(cam.topic(), all[:25])
		check("it was overtaken", func(time.Time) time.Duration { return 0 }, 10*time.Second)

		o := kadm.Offsets{}
		o.AddOffset(e.kafka.Names().Index(cam.topic()), 0, all[22].Offset, -1)
		if _, err := e.admin.DeleteRecords(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		time.Sleep(startsPeriod + time.Second)
		want, err := e.log.Lag(t.Context(), cam.topic(), all[20].Offset)
		if g := e.camera(e.report(), "yard").Groups[0]; err != nil || *g.Left != 0 || time.Duration(g.Seconds) != want.Footage || g.Records != want.Records || !want.Expired {
			t.Errorf("its entries were removed: %+v, want %+v, %v", g, want, err)
		}
	})
}

// records returns records of the index of a topic; nil is no entry.
func (e *env) records(of schemas.Topic, entries ...*schemas.Entry) (all []*kgo.Record) {
	e.t.Helper()
	for _, entry := range entries {
		value := []byte("no entry")
		if entry != nil {
			var err error
			if value, err = schemas.EncodeEntry(entry); err != nil {
				e.t.Fatal(err)
			}
		}
		all = append(all, &kgo.Record{Topic: e.kafka.Names().Index(of), Value: value})
	}
	return all
}

// make creates the topics of cameras, without writers, and a client that can produce to them.
func (e *env) make(topics ...schemas.Topic) *kgo.Client {
	e.t.Helper()
	for index, partitions := range map[bool]int32{true: 1, false: 2} {
		var names []string
		for _, of := range topics {
			if index {
				names = append(names, e.kafka.Names().Index(of))
			} else {
				names = append(names, e.kafka.Names().Media(of))
			}
		}
		if got, err := e.admin.CreateTopics(e.t.Context(), partitions, 1, nil, names...); err != nil || got.Error() != nil {
			e.t.Fatal(err, got.Error())
		}
	}
	client, err := kgo.NewClient(e.kafka.Options(slog.New(slog.DiscardHandler))...)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(client.Close)
	return client
}

// randomIndex returns records of an index with `open`s, fenced writers, runs of gaps, records
// that are no entries, and fragments.
func randomIndex(r *rand.Rand, n int) (all []*schemas.Entry) {
	const second = schemas.MediaTimescale
	seq, media := uint64(10), int64(1000*second)
	writer, fenced := int64(-1), int64(-1) // the newest entry of the writer, and of the one before
	start := time.Now()
	for offset := range int64(n) {
		e := &schemas.Entry{Kind: schemas.KindWhole, Prev: writer, Seq: seq, Media: media, Start: start, Duration: 2 * second, Chunks: 1, Life: "one"}
		switch k := r.IntN(10); {
		case offset == 0 || k == 0:
			fenced, writer = writer, offset
			all = append(all, &schemas.Entry{Kind: schemas.KindOpen, Prev: -1, Life: "one"})
			continue
		case k == 1 && fenced >= 0:
			e.Prev, e.Media = fenced, media+1000*second // void
			all = append(all, e)
			continue
		case k == 2:
			all = append(all, nil)
			continue
		case k == 3:
			e.Kind, e.Chunks, e.Duration, e.Reason = schemas.KindGap, 0, 6*second, schemas.ReasonStorage
			e.Run = &schemas.GapRun{Durations: []int64{2 * second, 4 * second}}
		}
		all = append(all, e)
		writer, seq, media = offset, e.LastSeq()+1, e.MediaEnd()
	}
	return all
}

// The numbers of groups are those that the entries say, wherever the groups are.
func TestNumbersAreThoseOfTheEntries(t *testing.T) {
	eachLog(t, func(t *testing.T, e *env) {
		yard := schemas.Topic{Camera: "yard"}
		client := e.make(yard)
		all := randomIndex(rand.New(rand.NewPCG(1, 2)), 400)
		put := func(entries []*schemas.Entry) {
			if err := client.ProduceSync(t.Context(), e.records(yard, entries...)...).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		put(all[:350])
		offsets := map[string]int64{"at the end": 350, "of an earlier topic": 5000}
		for at := int64(0); at < 350; at += 19 {
			offsets[fmt.Sprint(at)] = at
		}
		for group, at := range offsets {
			e.commit(group, yard, at)
		}
		check := func() {
			t.Helper()
			groups := e.camera(e.read(), "yard").Groups
			if len(groups) != len(offsets)-1 {
				t.Errorf("%d groups, want %d", len(groups), len(offsets)-1)
			}
			for _, g := range groups {
				want, err := e.log.Lag(t.Context(), yard, offsets[g.Group])
				if err != nil || time.Duration(g.Seconds) != want.Footage || g.Records != want.Records {
					t.Errorf("%s: %+v, want %+v, %v", g.Group, g, want, err)
				}
			}
		}
		check()
		put(all[350:])
		check()
		if n := len(e.reader.topics[yard].found); n == 0 || n > len(offsets) {
			t.Errorf("%d positions are kept", n)
		}
	})
}

// requests counts the requests that the brokers get while f runs.
func (e *env) requests(f func()) map[string]int {
	var mu sync.Mutex
	n, counting := map[string]int{}, true
	e.cluster.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
		e.cluster.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		if counting {
			n[kmsg.NameForKey(r.Key())]++
		}
		return nil, nil, false
	})
	f()
	mu.Lock()
	defer mu.Unlock()
	counting = false
	return n
}

// A thousand cameras take a few requests.
func TestManyCameras(t *testing.T) {
	const cameras = 1000
	virtual(t, 1, func(t *testing.T, e *env) {
		e.reader.cfg.Interval = 0 // no search for the oldest footage, which has no bound but time
		var topics []schemas.Topic
		for i := range cameras {
			topics = append(topics, schemas.Topic{Camera: fmt.Sprintf("cam-%d", i)})
		}
		client := e.make(topics...)
		entry := func(seq uint64) *schemas.Entry {
			return &schemas.Entry{Kind: schemas.KindWhole, Prev: int64(seq) - 1, Seq: seq, Start: time.Now(), Media: int64(seq) * schemas.MediaTimescale, Duration: schemas.MediaTimescale, Chunks: 1}
		}
		put := func(entries ...*schemas.Entry) {
			var all []*kgo.Record
			for _, of := range topics {
				all = append(all, e.records(of, entries...)...)
			}
			if err := client.ProduceSync(t.Context(), all...).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		put(&schemas.Entry{Kind: schemas.KindOpen, Prev: -1}, entry(1), entry(2))
		o := kadm.Offsets{}
		for _, of := range topics {
			o.AddOffset(e.kafka.Names().Index(of), 0, 1, -1)
		}
		if err := e.admin.CommitAllOffsets(t.Context(), "motion", o); err != nil {
			t.Fatal(err)
		}
		e.read()
		put(entry(3))
		var r lag.Report
		n := e.requests(func() { r = e.read() })
		t.Logf("requests: %v", n)
		sum := 0
		for _, k := range n {
			sum += k
		}
		if sum > 15 {
			t.Errorf("%d requests: %v", sum, n)
		}
		late := 0
		for _, c := range r.Cameras {
			if len(c.Groups) == 1 && c.Groups[0].Seconds == lag.Seconds(3*time.Second) {
				late++
			}
		}
		if late != cameras {
			t.Errorf("%d cameras are 3 s behind, want all %d", late, cameras)
		}
	})
}

// Run reads every interval. While the brokers are away it says so, with the numbers that it
// has; it goes on when they are back.
func TestRun(t *testing.T) {
	virtual(t, 1, func(t *testing.T, e *env) {
		e.record("yard").fragments(2)
		var away atomic.Bool
		e.cluster.Control(func(kmsg.Request) (kmsg.Response, error, bool) {
			if !away.Load() {
				return nil, nil, false
			}
			e.cluster.KeepControl()
			return nil, errors.New("away"), true
		})
		var reports []lag.Report
		var at []time.Time
		e.monitor.cfg.Reported = func(r lag.Report) {
			reports, at = append(reports, r), append(at, time.Now())
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- e.monitor.Run(ctx) }()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if len(reports) < 3 || at[2].Sub(at[1]) != 5*time.Second || !reports[2].Up || len(reports[2].Cameras) != 1 {
			t.Fatalf("reports %+v at %v", reports, at)
		}
		away.Store(true)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		last := reports[len(reports)-1]
		if last.Up || len(last.Cameras) != 1 || time.Since(last.At) < 30*time.Second {
			t.Errorf("the brokers are away: %+v", last)
		}
		away.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if last := reports[len(reports)-1]; !last.Up || time.Since(last.At) > 10*time.Second {
			t.Errorf("they are back: %+v", last)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Brokers that are away and partitions without a leader are told from the metadata.
func TestBrokers(t *testing.T) {
	r := &reader{topics: map[schemas.Topic]*topic{}, brokers: map[string]bool{}}
	partitions := func(leaders ...int32) kadm.PartitionDetails {
		all := kadm.PartitionDetails{}
		for i, l := range leaders {
			all[int32(i)] = kadm.PartitionDetail{Leader: l, Replicas: []int32{1, 2, 3}}
		}
		return all
	}
	look := func(alive ...int32) string {
		m := kadm.Metadata{Topics: kadm.TopicDetails{
			"cam.yard":       {Partitions: partitions(1, -1)},
			"cam.yard.index": {Partitions: partitions(-1)},
			"cameras":        {Partitions: partitions(-1, -1, 2)},
			"events":         {Partitions: partitions(1)},
			"other":          {Partitions: partitions(-1)},
		}}
		for _, id := range alive {
			m.Brokers = append(m.Brokers, kgo.BrokerMetadata{NodeID: id})
		}
		r.lookAt(&m)
		return fmt.Sprint(r.brokers, r.kinds)
	}
	const kinds = " map[events:0 index:1 media:1 registry:2]"
	if got, want := look(1, 2), "map[1:true 2:true 3:false]"+kinds; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := look(1, 2, 3, 4), "map[1:true 2:true 3:true 4:true]"+kinds; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := look(1), "map[1:true 2:false 3:false 4:false]"+kinds; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
