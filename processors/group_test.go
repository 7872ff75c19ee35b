package processors

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
)

// member is a process of a processor in its group.
type member struct {
	r      *Runner
	reg    *prometheus.Registry
	cancel context.CancelFunc
	done   chan struct{}
}

func (e *env) member(p Processor, instance string) *member {
	e.t.Helper()
	m := &member{reg: prometheus.NewRegistry(), done: make(chan struct{})}
	cfg := e.config()
	cfg.Instance, cfg.Registerer = instance, m.reg
	r, err := NewRunner(p, cfg)
	if err != nil {
		e.t.Fatal(err)
	}
	if r.Ready() == nil {
		e.t.Error("it is ready before it runs")
	}
	m.r = r
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	go func() {
		defer close(m.done)
		if err := r.Run(ctx); err != nil {
			e.t.Error(err)
		}
	}()
	e.t.Cleanup(m.stop)
	e.wait(instance+" is ready", func() bool { return r.Ready() == nil })
	return m
}

func (m *member) stop() {
	m.cancel()
	<-m.done
}

// metric returns the value of a metric, by its labels without the processor: "camera=x".
func (m *member) metric(t *testing.T, name, labels string) (float64, bool) {
	t.Helper()
	all, err := m.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() != name {
			continue
		}
		for _, one := range f.GetMetric() {
			var text []string
			for _, l := range one.GetLabel() {
				if l.GetName() == "processor" {
					if l.GetValue() != m.r.p.Name {
						t.Errorf("%s: processor %q", name, l.GetValue())
					}
					continue
				}
				text = append(text, l.GetName()+"="+l.GetValue())
			}
			if strings.Join(text, ",") == labels {
				return one.GetCounter().GetValue() + one.GetGauge().GetValue() + float64(one.GetHistogram().GetSampleCount()), true
			}
		}
	}
	return 0, false
}

func (e *env) registry() *registry.Client {
	e.t.Helper()
	r, err := registry.Connect(kafka.Config{Brokers: e.brokers, Dial: e.dial}, slog.New(slog.DiscardHandler))
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(r.Close)
	return r
}

func (e *env) client(opts ...kgo.Opt) *kgo.Client {
	e.t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(e.brokers...), kgo.Dialer(e.dial))...)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(cl.Close)
	return cl
}

// Two processes share the cameras. Each fragment is done once; Kafka's tools show the lag;
// the topic of events has each event.
func TestGroup(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		reg := e.registry()
		for _, id := range []string{camID, "not-mine"} {
			if err := reg.Put(t.Context(), schemas.Camera{ID: id, URL: "rtsp://127.0.0.1/", Source: schemas.SourceAPI}); err != nil {
				t.Fatal(err)
			}
		}
		p := seer()
		p.Cameras = []string{"front-*"}
		source := e.cam.fragments(1)
		one := e.member(p, "one")
		e.waitFor("seer", source[0].Seq)
		source = append(source, e.cam.fragments(3)...)
		e.waitFor("seer", source[3].Seq)

		index := schemas.Names{}.Index(raw)
		admin := kadm.NewClient(e.client())
		e.wait("the offset of the input is committed", func() bool { return e.committed(admin, index) == source[3].Offset+1 })
		e.wait("the events are written", func() bool { v, _ := one.metric(t, "framelog_processor_events_total", "camera="+camID); return v == 8 })
		for name, want := range map[string]float64{
			"framelog_processor_fragments_total camera=front-door,result=processed": 4,
			"framelog_processor_fragments_in_work camera=front-door":                0,
			"framelog_processor_lag_seconds camera=front-door":                      0,
			"framelog_processor_work_seconds ":                                      4,
		} {
			metric, labels, _ := strings.Cut(name, " ")
			if got, _ := one.metric(t, metric, labels); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		if _, ok := one.metric(t, "framelog_processor_lag_seconds", "camera=not-mine"); ok {
			t.Error("a camera that the processor does not want has metrics")
		}

		one.stop()
		silent := e.start(p) // without a group it writes no events
		source = append(source, e.cam.fragments(2)...)
		e.waitFor("seer", source[5].Seq)
		silent.stop()
		two := e.member(p, "two")
		source = append(source, e.cam.fragments(1)...)
		e.waitFor("seer", source[6].Seq)
		e.wait("the second process has written its events", func() bool {
			return e.committed(admin, schemas.Names{}.Index(schemas.Topic{Camera: camID, Rendition: "seer"})) > e.entries(schemas.Topic{Camera: camID, Rendition: "seer"})[6].Offset
		})
		for i, g := range e.entries(schemas.Topic{Camera: camID, Rendition: "seer"}) {
			if g.Seq != source[i].Seq || g.Kind != schemas.KindWhole {
				t.Errorf("entry %d is %s %d, want %d", i, g.Kind, g.Seq, source[i].Seq)
			}
		}
		e.checkEvents(source)

		// Somebody deletes the topic: later events are written to a new one.
		if _, err := admin.DeleteTopics(t.Context(), "events"); err != nil {
			t.Fatal(err)
		}
		e.checkEvents(e.cam.fragments(2))

		if _, ok := two.metric(t, "framelog_processor_fragments_total", "camera=front-door,result=processed"); !ok {
			t.Error("the second process has no metrics of the camera")
		}
		if err := reg.Delete(t.Context(), camID); err != nil {
			t.Fatal(err)
		}
		e.wait("the metrics of a removed camera are gone", func() bool {
			all, err := two.reg.Gather()
			if err != nil {
				t.Fatal(err)
			}
			return !strings.Contains(fmt.Sprint(all), camID)
		})
	})
}

// Retention or a person has removed an output. The work goes on behind what the group has
// committed, not with the newest fragment.
func TestOutputRemoved(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		if err := e.registry().Put(t.Context(), schemas.Camera{ID: camID, URL: "rtsp://127.0.0.1/", Source: schemas.SourceAPI}); err != nil {
			t.Fatal(err)
		}
		admin, out := kadm.NewClient(e.client()), schemas.Topic{Camera: camID, Rendition: "seer"}
		one := e.member(seer(), "one")
		source := e.cam.fragments(2)
		e.waitFor("seer", source[1].Seq)
		e.wait("the offset of the input is committed", func() bool {
			return e.committed(admin, schemas.Names{}.Index(raw)) == source[1].Offset+1
		})
		one.stop()
		if _, err := admin.DeleteTopics(t.Context(), schemas.Names{}.Index(out), schemas.Names{}.Media(out)); err != nil {
			t.Fatal(err)
		}
		source = append(source, e.cam.fragments(3)...)
		e.member(seer(), "two")
		e.waitFor("seer", source[4].Seq)
		got := e.entries(out)
		if len(got) != 3 {
			t.Fatalf("%d entries, want 3", len(got))
		}
		for i, g := range got {
			if g.Seq != source[2+i].Seq || g.Kind != schemas.KindWhole {
				t.Errorf("entry %d is %s %d, want %d", i, g.Kind, g.Seq, source[2+i].Seq)
			}
		}
	})
}

func (e *env) committed(admin *kadm.Client, topic string) int64 {
	e.t.Helper()
	all, err := admin.FetchOffsets(e.t.Context(), "framelog-process-seer")
	if err != nil {
		e.t.Fatal(err)
	}
	if o, ok := all.Lookup(topic, 0); ok {
		return o.At
	}
	return -1
}

// checkEvents checks that the topic of events has all events of seer, as CloudEvents.
func (e *env) checkEvents(source []schemas.Entry) {
	e.t.Helper()
	cl := e.client(kgo.ConsumeTopics("events"), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))
	events := map[string]*kgo.Record{}
	e.wait("all events are in their topic", func() bool {
		ctx, cancel := context.WithTimeout(e.t.Context(), time.Second)
		defer cancel()
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) { events[header(r, "ce_id")] = r })
		return len(events) >= 2*len(source)
	})
	for _, s := range source {
		for n, kind := range []string{"cat", "dog"} {
			id := fmt.Sprintf("%s.%d.seer.%d", s.Life, s.Seq, n)
			r := events[id]
			if r == nil {
				e.t.Errorf("there is no event %s in %v", id, slices.Sorted(maps.Keys(events)))
				continue
			}
			var event schemas.Event
			if err := json.Unmarshal(r.Value, &event); err != nil || event.Type != kind {
				e.t.Errorf("event %s: %s, %v", id, r.Value, err)
			}
			want := map[string]string{
				"ce_specversion": "1.0", "ce_source": "/cameras/front-door/seer", "ce_type": "framelog." + kind,
				"ce_time": event.Start.Format(time.RFC3339Nano), "ce_seq": fmt.Sprint(s.Seq), "content-type": "application/json",
			}
			for k, v := range want {
				if got := header(r, k); got != v || string(r.Key) != camID {
					e.t.Errorf("event %s of %s: %s is %q, want %q", id, r.Key, k, got, v)
				}
			}
		}
	}
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}
