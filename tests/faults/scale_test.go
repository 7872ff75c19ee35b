package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// One of three ingest processes that record 500 cameras is killed. 15 s later all cameras
// have new footage, those of the other processes were not touched, and the brokers got no
// request for each camera but those that have its data.
func TestOneOfThreeIngestProcessesIsKilled(t *testing.T) {
	testenv.Long(t)
	const cameras, limit = 500, 15 * time.Second
	k, counter := testenv.CountedKafka(t)
	addPulses(t, cameras, k.Brokers)
	seen := watchIndexes(t, k.Brokers)
	began := time.Now()
	procs := map[string]*testenv.Process{}
	for _, name := range []string{"one", "two", "three"} {
		procs[name] = startPulses(t, ingestConfig{Brokers: k.Brokers, Instance: name})
	}
	// Cameras move while the processes join, and nobody opens a topic for a while then.
	testenv.Wait(t, 5*testenv.Patience, "500 cameras that are recorded, and stay where they are", func() bool {
		now := seen.now()
		return now.freshSince(time.Now().Add(-10*time.Second)) == cameras && len(now.per()) == len(procs) && time.Since(now.opened) > limit
	})
	before := seen.now()
	t.Logf("cameras of each process %v, after %v; requests since the start: %v", before.per(), time.Since(began).Round(time.Second), counter.Requests(ingestClient))
	calm := counter.Requests(ingestClient)
	lasts(t, limit)
	calm = since(counter.Requests(ingestClient), calm)

	const victim = "two"
	after := counter.Requests(ingestClient)
	killed := time.Now()
	procs[victim].KillTree()
	var now indexState
	testenv.Poll(t, 4*limit, func() bool {
		now = seen.now()
		return now.freshSince(killed) == cameras
	})
	took := time.Since(killed)
	lasts(t, time.Until(killed.Add(limit)))
	after = since(counter.Requests(ingestClient), after)

	moved := 0
	for id, was := range before.cameras {
		is := now.cameras[id]
		switch {
		case was.writer == victim && is.writer != victim:
			moved++
		case was.writer == victim:
			t.Errorf("%s is not recorded any more", id)
		case is.epoch != was.epoch:
			t.Errorf("%s of %s was opened again, by %s", id, was.writer, is.writer)
		}
	}
	t.Logf("killed: %d cameras moved to %v, all %d have new footage after %v", moved, now.per(), now.freshSince(killed), took.Round(time.Millisecond))
	t.Logf("requests in %v, before %v, after %v", limit, calm, after)
	if moved < cameras/5 || now.freshSince(killed) != cameras || took > limit {
		t.Errorf("%d cameras moved; %d of %d have new footage, the last after %v", moved, now.freshSince(killed), cameras, took)
	}
	checkNoStorm(t, calm, after, moved)
}

// checkNoStorm checks that no kind of requests came for each camera that moved, but those
// that read and write its data. calm is what came before in as long a time.
func checkNoStorm(t *testing.T, calm, after map[string]int, moved int) {
	t.Helper()
	data := []string{"Produce", "Fetch"}
	for kind, n := range after {
		if more := n - calm[kind]; !slices.Contains(data, kind) && more >= moved {
			t.Errorf("%d requests %s more than before, for %d cameras", more, kind, moved)
		}
	}
	// These change the cluster: its controller writes a record for each. Nothing has to change.
	for _, kind := range []string{"CreateTopics", "CreatePartitions", "DeleteTopics", "AlterConfigs", "IncrementalAlterConfigs"} {
		if n := after[kind]; n > 0 {
			t.Errorf("%d requests %s", n, kind)
		}
	}
}

// since returns how many requests of each kind came between two counts.
func since(now, before map[string]int) map[string]int {
	d := map[string]int{}
	for kind, n := range now {
		if n != before[kind] {
			d[kind] = n - before[kind]
		}
	}
	return d
}

// addPulses adds n cameras to the registry.
func addPulses(t *testing.T, n int, brokers []string) {
	t.Helper()
	reg, err := registry.Connect(kafka.Config{Brokers: brokers, ClientID: "test"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer reg.Close()
	if err := reg.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		id := fmt.Sprintf("cam-%d", i)
		if err := reg.Put(t.Context(), schemas.Camera{ID: id, URL: "rtsp://pulse.invalid/" + id, Source: schemas.SourceAPI}); err != nil {
			t.Fatal(err)
		}
	}
}

// startPulses starts an ingest process whose cameras are pulses.
func startPulses(t *testing.T, cfg ingestConfig) *testenv.Process {
	t.Helper()
	config, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), ingestVariable+"="+string(config))
	return testenv.Start(t, "ingest "+cfg.Instance, cmd)
}

// indexWatch follows the indexes of all cameras.
type indexWatch struct {
	mu    sync.Mutex
	state indexState
}

// indexState is what the indexes of all cameras say.
type indexState struct {
	cameras map[string]indexedCamera
	opened  time.Time // when the newest `open` of a camera came
}

type indexedCamera struct {
	writer string
	epoch  int64
	start  time.Time // of the newest footage
}

// watchIndexes follows the indexes of all cameras until the test ends, also of those that
// come later.
func watchIndexes(t *testing.T, brokers []string) *indexWatch {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ClientID("test"), kgo.ConsumeRegex(), kgo.ConsumeTopics(`^cam\..*\.index$`),
		kgo.MetadataMinAge(time.Second), kgo.MetadataMaxAge(2*time.Second), kgo.FetchMinBytes(1), kgo.FetchMaxWait(500*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	w := &indexWatch{state: indexState{cameras: map[string]indexedCamera{}}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			client.PollFetches(ctx).EachRecord(func(r *kgo.Record) { w.add(t, r) })
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		client.Close()
	})
	return w
}

// add adds an entry.
func (w *indexWatch) add(t *testing.T, r *kgo.Record) {
	topic, _, ok := schemas.Names{}.Parse(r.Topic)
	e, err := schemas.DecodeEntry(r.Value)
	if err != nil || !ok {
		t.Errorf("%s: entry %d: %v", r.Topic, r.Offset, err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.state.cameras[topic.Camera]
	switch {
	case e.Kind == schemas.KindOpen:
		c.writer, c.epoch, w.state.opened = e.Writer, r.Offset, time.Now()
	case e.Playable() && e.Epoch == c.epoch: // of the newest writer, so it is not void
		c.start = e.Start
	}
	w.state.cameras[topic.Camera] = c
}

// now returns a copy of what the indexes say.
func (w *indexWatch) now() indexState {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.state
	s.cameras = maps.Clone(s.cameras)
	return s
}

// per counts the cameras of each process.
func (s indexState) per() map[string]int {
	n := map[string]int{}
	for _, c := range s.cameras {
		n[c.writer]++
	}
	return n
}

// freshSince counts the cameras with footage that began after from.
func (s indexState) freshSince(from time.Time) (n int) {
	for _, c := range s.cameras {
		if c.start.After(from) {
			n++
		}
	}
	return n
}
