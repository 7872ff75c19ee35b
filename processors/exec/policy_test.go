package exec

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// recorder records a camera.
type recorder struct {
	log   *medialog.Log
	w     *medialog.Writer
	media int64
	count int // fragments
}

// record records n fragments of 2 s at once. It returns the seq of the last one.
func (r *recorder) record(t *testing.T, n int) (last uint64) {
	t.Helper()
	const ticks = 2 * schemas.MediaTimescale / 10
	for range n {
		c := &schemas.Chunk{
			Last: true, Start: time.Unix(0, 0).Add(schemas.FromTicks(r.media)), Captured: time.Now(),
			Layout: schemas.Layout{Part: schemas.PartTarget(10, ticks), Video: schemas.H264}, Tracks: fragment(1, 0).Tracks,
		}
		run := schemas.Run{Track: schemas.VideoTrack}
		for i := range 10 {
			run.Samples = append(run.Samples, schemas.Sample{DTS: r.media, Duration: ticks, Sync: i == 0, Data: []byte{byte(i)}})
			r.media += ticks
		}
		c.Runs = []schemas.Run{run}
		if err := r.w.Write(c); err != nil {
			t.Fatal(err)
		}
	}
	r.count += n
	testenv.Wait(t, testenv.Patience, "entries", func() bool {
		all := entries(t, r.log, schemas.Topic{Camera: "yard"})
		if len(all) == r.count {
			last = all[r.count-1].Seq
		}
		return len(all) == r.count
	})
	return last
}

func entries(t *testing.T, log *medialog.Log, topic schemas.Topic) (all []schemas.Entry) {
	t.Helper()
	for e, err := range log.Entries(t.Context(), topic, medialog.Range{}) {
		if err != nil {
			return nil // there is no topic yet
		}
		all = append(all, e)
	}
	return all
}

// outcome is what an output says of a fragment: its gap, or what the program got.
func outcome(t *testing.T, log *medialog.Log, topic schemas.Topic, e schemas.Entry) string {
	t.Helper()
	if e.Kind == schemas.KindGap {
		return e.Reason
	}
	for c, err := range log.Chunks(t.Context(), topic, e) {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range c.Runs {
			for _, s := range r.Samples {
				var d schemas.Data
				if err := json.Unmarshal(s.Data, &d); err != nil {
					t.Fatal(err)
				}
				if d.Event != nil {
					return d.Event.Type
				}
			}
		}
	}
	return "no event"
}

// A program that is slower than real time: with lossless it gets everything; with latest
// what it cannot get is a gap; with keyframes it gets one picture of each fragment. It works
// on the first fragment while nine others are recorded.
func TestPolicies(t *testing.T) {
	testenv.SkipShort(t, "seconds of real time")
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(8, "cameras"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	quiet := slog.New(slog.DiscardHandler)
	brokers := cluster.ListenAddrs()
	reg, err := registry.Connect(kafka.Config{Brokers: brokers}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reg.Close)
	if err := reg.Put(t.Context(), schemas.Camera{ID: "yard", URL: "rtsp://127.0.0.1/", Source: schemas.SourceAPI}); err != nil {
		t.Fatal(err)
	}
	log, err := medialog.Connect(medialog.Config{Kafka: kafka.Config{Brokers: brokers}}, quiet, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	cam := &recorder{
		log: log, w: log.Open(t.Context(), schemas.Topic{Camera: "yard"}, medialog.OpenOptions{Writer: "w"}),
		media: schemas.Ticks(time.Duration(start.UnixNano())),
	}
	t.Cleanup(func() { cam.w.Close(context.Background()) })
	first := cam.record(t, 1)

	var runs sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() { cancel(); runs.Wait() })
	envs := map[processors.Policy]*env{}
	for _, policy := range []processors.Policy{processors.Lossless, processors.Latest, processors.Keyframes} {
		e := newEnv(t, "slow")
		p := e.Processor
		p.Name, p.Policy, p.MaxLag = string(policy), policy, 5*time.Second
		p.Outputs = []processors.Rendition{processors.Data(string(policy))}
		r, err := processors.NewRunner(p, processors.Config{Brokers: brokers, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		runs.Go(func() {
			if err := r.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		envs[policy] = e
	}
	for _, e := range envs {
		testenv.Wait(t, testenv.Patience, "the first fragment", func() bool { return e.has("began") })
	}
	last := cam.record(t, 9)
	for policy, behind := range map[processors.Policy]string{processors.Lossless: "", processors.Latest: "skipped", processors.Keyframes: "1 picture"} {
		envs[policy].leave(t, "go")
		topic := schemas.Topic{Camera: "yard", Rendition: string(policy)}
		testenv.Wait(t, testenv.Patience, fmt.Sprintf("the last entry of %s", policy), func() bool {
			all := entries(t, log, topic)
			return len(all) > 0 && all[len(all)-1].Seq >= last
		})
		var got []string
		for i, e := range entries(t, log, topic) {
			if e.Seq != first+uint64(i) {
				t.Errorf("%s: seq %d, want %d", policy, e.Seq, first+uint64(i))
			}
			got = append(got, outcome(t, log, topic, e))
		}
		// Which fragments are behind depends on when the processor looks.
		n := 0
		for i, o := range got {
			switch {
			case o == behind && i > 0 && i < len(got)-1:
				n++
			case o != "10 pictures":
				t.Errorf("%s: fragment %d is %q", policy, i, o)
			}
		}
		if len(got) != 10 || (n > 3) != (behind != "") {
			t.Errorf("%s: %q", policy, got)
		}
	}
}
