package camera

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/ingest/assemble"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

func newClient(t *testing.T, cfg kafka.Config) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(cfg.Options(slog.New(slog.DiscardHandler))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestChangesAreFollowed(t *testing.T) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	w := newWorld(t)
	cfg := kafka.Config{Brokers: fake.ListenAddrs()}
	cameras, err := registry.Connect(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cameras.Close)
	reg := prometheus.NewRegistry()
	s, err := New(Config{Kafka: cfg, Instance: "north-1"}, Deps{
		Registry:     cameras,
		NewSource:    func(cam schemas.Camera) ingest.Source { return w.source("north-1", cam) },
		Open:         w.logs.Open,
		IndexEnd:     w.logs.IndexEnd,
		Forget:       w.logs.forget,
		newAssembler: func(_ assemble.Config, rec assemble.Recorder) assembler { return &passAssembler{rec: rec} },
	}, slog.New(slog.NewTextHandler(w.log, nil)), reg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }() // makes the topics
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("ended with %v", err)
		}
	})
	testenv.Wait(t, testenv.Patience, "it is ready", func() bool { return s.Ready() == nil })
	ids := []string{"cam-0", "cam-1"}
	for _, id := range ids {
		if err := cameras.Put(t.Context(), testCamera(id)); err != nil {
			t.Fatal(err)
		}
	}
	testenv.Wait(t, testenv.Patience, "new cameras run", func() bool { return w.logs.of(ids[0]) != nil && w.logs.of(ids[1]) != nil })
	status := func() registry.Snapshot {
		ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
		defer cancel()
		s, err := cameras.Load(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	testenv.Wait(t, testenv.Patience, "their status is there", func() bool {
		s := status().Status
		return s[ids[0]].State == schemas.StateLive && s[ids[1]].State == schemas.StateLive
	})
	// The name of this process is seen everywhere.
	if got := status().Status[ids[1]].Owner; got != "north-1" {
		t.Errorf("the status's owner is %q", got)
	}
	if got := w.logs.of(ids[0]).owner; got != "north-1" {
		t.Errorf("the log's writer is %q", got)
	}
	if !strings.Contains(w.log.String(), "msg=\"ingest starts\" instance=north-1") {
		t.Error("the name is not in the log of this process")
	}
	group, err := kadm.NewClient(newClient(t, cfg)).DescribeGroups(t.Context(), groupName)
	if err != nil {
		t.Fatal(err)
	}
	if m := group[groupName].Members; len(m) != 1 || m[0].InstanceID == nil || *m[0].InstanceID != "north-1" {
		t.Errorf("members of the group: %+v", m)
	}
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
	if n, err := testutil.GatherAndCount(reg, "framelog_ingest_cameras"); err != nil || n != len(states) {
		t.Errorf("cameras by state: %d, %v", n, err)
	}

	perCamera := func() int {
		n, err := testutil.GatherAndCount(reg, "framelog_ingest_reconnects_total")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := perCamera(); n != 2 {
		t.Errorf("metrics of %d cameras", n)
	}

	first := w.logs.of(ids[0])
	cam := testCamera(ids[0])
	cam.Disabled = true
	if err := cameras.Put(t.Context(), cam); err != nil {
		t.Fatal(err)
	}
	testenv.Wait(t, testenv.Patience, "it stops", first.isClosed)
	testenv.Wait(t, testenv.Patience, "its status says so", func() bool { return status().Status[ids[0]].State == schemas.StateDisabled })
	if err := cameras.Delete(t.Context(), ids[1]); err != nil {
		t.Fatal(err)
	}
	testenv.Wait(t, testenv.Patience, "the other stops", w.logs.of(ids[1]).isClosed)
	testenv.Wait(t, testenv.Patience, "its status is gone", func() bool {
		_, ok := status().Status[ids[1]]
		return !ok
	})
	testenv.Wait(t, testenv.Patience, "the metrics of one camera alone", func() bool { return perCamera() == 1 })
	testenv.Wait(t, testenv.Patience, "the log forgets it", func() bool { return w.logs.isForgotten(ids[1]) })
}

func TestConfig(t *testing.T) {
	good := Config{Kafka: kafka.Config{Brokers: []string{"h:9092"}}}
	c, err := good.withDefaults()
	if err != nil || c.Instance == "" || c.member != "" || c.Host == "" || c.SessionTimeout != 8*time.Second {
		t.Errorf("defaults: %+v, %v", c, err)
	}
	for name, f := range map[string]func(*Config){
		"no brokers":         func(c *Config) { c.Kafka.Brokers = nil },
		"short session":      func(c *Config) { c.SessionTimeout = time.Second },
		"long session":       func(c *Config) { c.SessionTimeout = time.Minute },
		"reversed reconnect": func(c *Config) { c.ReconnectMin = time.Hour },
		"negative":           func(c *Config) { c.OpenWait = -1 },
		"reserve of nothing": func(c *Config) { c.ReserveBytes = 1 },
	} {
		bad := good
		f(&bad)
		if _, err := bad.withDefaults(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// The log's writer is what a Service records to.
var _ Writer = (*medialog.Writer)(nil)
