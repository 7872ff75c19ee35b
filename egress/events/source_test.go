package events

import (
	"bufio"
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/tests/testenv"
)

// With a real Kafka: a stream begins before there is a topic, goes on behind any event, and
// learns what retention has removed.
func TestTopic(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cfg := kafka.Config{Brokers: c.ListenAddrs(), Prefix: "test."}
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	topic := NewTopic(cfg, slog.New(slog.DiscardHandler))
	if begin, end, err := topic.Bounds(t.Context()); err != nil || len(begin) != 0 || len(end) != 0 {
		t.Fatalf("bounds without a topic: %v %v %v", begin, end, err)
	}
	s := New(Config{Keep: 2}, Deps{Source: topic, Known: func(string) bool { return true }})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	srv := httptest.NewServer(muxOf(s))
	t.Cleanup(srv.Close)
	first := follow(t, srv.URL+"/v1/events", "")
	testenv.Wait(t, testenv.Patience, "the reader", func() bool { s.hub.mu.Lock(); defer s.hub.mu.Unlock(); return len(s.hub.subs) == 1 })

	name := cfg.Names().Events()
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 4, 1, nil, name); err != nil {
		t.Fatal(err)
	}
	tell := func(n int) {
		r := record("yard", "motion", n, int32(n%4), 0)
		r.Topic = name
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	var ids []string
	for n := range 12 {
		tell(n)
		m := first.next(t)
		if m.Seq != uint64(n) || m.ID == "" {
			t.Fatalf("event %d is %+v", n, m)
		}
		ids = append(ids, m.id)
	}
	for n, id := range ids[:len(ids)-1] {
		r := follow(t, srv.URL+"/v1/events", id)
		got := map[uint64]bool{}
		for range len(ids) - n - 1 {
			got[r.next(t).Seq] = true
		}
		if len(got) != len(ids)-n-1 || got[uint64(n)] {
			t.Errorf("behind event %d: %v", n, got)
		}
		r.close()
	}

	if _, err := kadm.NewClient(cl).DeleteRecords(t.Context(), offsetsOf(name, 2)); err != nil {
		t.Fatal(err)
	}
	r := follow(t, srv.URL+"/v1/events", ids[0])
	if m := r.next(t); m.kind != "missed" {
		t.Errorf("behind what has expired: %+v", m)
	}
	for range 4 { // the newest of each partition
		if m := r.next(t); m.Seq < 8 {
			t.Errorf("got %+v", m)
		}
	}
}

func offsetsOf(topic string, at int64) kadm.Offsets {
	o := kadm.Offsets{}
	for p := range int32(4) {
		o.AddOffset(topic, p, at, -1)
	}
	return o
}

// client reads a stream over HTTP.
type client struct {
	body  *bufio.Scanner
	close func()
}

func follow(t *testing.T, url, id string) *client {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Last-Event-ID", id)
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res, err)
	}
	t.Cleanup(func() { res.Body.Close() })
	s := bufio.NewScanner(res.Body)
	s.Split(func(data []byte, _ bool) (int, []byte, error) {
		if i := bytes.Index(data, []byte("\n\n")); i >= 0 {
			return i + 2, data[:i], nil
		}
		return 0, nil, nil
	})
	return &client{body: s, close: cancel}
}

// next waits for the next message with data.
func (c *client) next(t *testing.T) told {
	t.Helper()
	for c.body.Scan() {
		for _, m := range testenv.ParseStream(c.body.Text()) {
			if m.Data != "" {
				return toldOf(t, m)
			}
		}
	}
	t.Fatalf("the stream has ended: %v", c.body.Err())
	return told{}
}
