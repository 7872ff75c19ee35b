package upgrade

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// env is a log, and a client that writes what no writer of today writes.
type env struct {
	t      *testing.T
	kafka  kafka.Config
	client *kgo.Client
}

// virtual runs f with fake brokers in virtual time.
func virtual(t *testing.T, f func(e *env)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c, dial := testenv.VirtualKafka(t, 1)
		e := &env{t: t, kafka: kafka.Config{Brokers: c.ListenAddrs(), Dial: dial}}
		e.client = e.connect()
		f(e)
	})
}

func (e *env) connect(opts ...kgo.Opt) *kgo.Client {
	e.t.Helper()
	c, err := kgo.NewClient(append(e.kafka.Options(slog.New(slog.DiscardHandler)), opts...)...)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(c.Close)
	return c
}

// record makes a camera with footage, as ingest does.
func (e *env) record(id string) {
	e.t.Helper()
	ctx := e.t.Context()
	r, err := registry.Connect(e.kafka, slog.New(slog.DiscardHandler))
	e.check(err)
	defer r.Close()
	e.check(r.Ensure(ctx))
	e.check(r.Put(ctx, schemas.Camera{ID: id, URL: "rtsp://10.0.0.5/", Source: schemas.SourceAPI}))
	l, err := medialog.Connect(medialog.Config{Kafka: e.kafka, Retention: 24 * time.Hour}, slog.New(slog.DiscardHandler), nil)
	e.check(err)
	defer l.Close()
	w := l.Open(ctx, schemas.Topic{Camera: id}, medialog.OpenOptions{Writer: "w"})
	<-w.Ready()
	e.check(w.Close(ctx))
}

// newer writes a record of a newer schema version.
func (e *env) newer(topic, key string) {
	e.t.Helper()
	b, err := msgpack.Marshal(map[string]any{"v": schemas.Version + 1, "k": 7})
	e.check(err)
	e.check(e.client.ProduceSync(e.t.Context(), &kgo.Record{Topic: topic, Key: []byte(key), Value: b}).FirstErr())
}

func (e *env) check(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

// findings returns what Check finds, a line each; "! " stands before problems.
func (e *env) findings(change ...func(*Config)) string {
	e.t.Helper()
	cfg := Config{Kafka: e.kafka, Retention: 24 * time.Hour}
	for _, c := range change {
		c(&cfg)
	}
	all, err := Check(e.t.Context(), cfg)
	e.check(err)
	var b strings.Builder
	for _, f := range all {
		if f.Problem != (f.Remedy != "") {
			e.t.Errorf("%+v: a problem has a remedy, and nothing else has one", f)
		}
		if f.Problem {
			b.WriteString("! ")
		}
		fmt.Fprintf(&b, "%s: %s\n", f.About, f.What)
	}
	return b.String()
}

func (e *env) want(got, want string) {
	e.t.Helper()
	if got != want {
		e.t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// A log that nobody has written is no problem.
func TestEmpty(t *testing.T) {
	virtual(t, func(e *env) {
		e.want(e.findings(), `cameras: the topic does not exist yet
cameras.status: the topic does not exist yet
users: the topic does not exist yet
indexes: there is no footage yet
consumer groups: no process is there
`)
	})
}

// Records of this version are read; newer ones are named, the newest record of a key alone
// counts, and a removed key does not.
func TestNewerRecords(t *testing.T) {
	virtual(t, func(e *env) {
		e.record("yard")
		e.record("gate")
		good := `cameras: 2 records, up to version 1
cameras.status: no records
users: the topic does not exist yet
indexes: 2 newest entries, up to version 1
consumer groups: no process is there
retention: footage is kept for 24h at most in 2 topics
`
		e.want(e.findings(), good)
		e.want(e.findings(func(c *Config) { c.Version = 2 }), strings.Replace(good, "consumer groups",
			"order: this version writes records of version 2, the log has version 1: upgrade all that read (egress, processors, monitor) before ingest\nconsumer groups", 1))

		for _, id := range []string{"a", "b", "c", "d", "gone"} {
			e.newer("cameras", id)
		}
		e.check(e.client.ProduceSync(e.t.Context(), &kgo.Record{Topic: "cameras", Key: []byte("gone")}).FirstErr())
		e.check(e.client.ProduceSync(e.t.Context(), &kgo.Record{Topic: "cameras", Key: []byte("junk"), Value: []byte("junk")}).FirstErr())
		e.newer("cameras.status", "yard")
		e.newer("cam.yard.index", "yard/1")
		got := e.findings()
		for _, want := range []string{
			"! cameras: 4 of 6 records are newer than this version reads: version 2 (a, b, c, …)\n",
			"! cameras.status: 1 of 1 record is newer than this version reads: version 2 (yard)\n",
			"! indexes: 1 of 2 newest entries are newer than this version reads: version 2 (cam.yard.index)\n",
		} {
			if !strings.Contains(got, want) {
				e.t.Errorf("%s\nlacks %s", got, want)
			}
		}
	})
}

// A configuration that keeps footage for less time than the topics would delete it.
func TestRetention(t *testing.T) {
	virtual(t, func(e *env) {
		e.record("yard")
		shorter := func(c *Config) { c.Retention = time.Hour }
		if got, want := e.findings(shorter), "! retention: topics.retention is 1h here, 1 topic keep footage longer (24h): ingest would delete what is older\n"; !strings.Contains(got, want) {
			e.t.Errorf("%s\nlacks %s", got, want)
		}
		adm, never := kadm.NewClient(e.client), "-1"
		_, err := adm.AlterTopicConfigs(e.t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &never}}, "cam.yard")
		e.check(err)
		if got, want := e.findings(), "longer (for ever)"; !strings.Contains(got, want) {
			e.t.Errorf("%s\nlacks %s", got, want)
		}
	})
}

// A group whose processes share the cameras in another way cannot be joined.
func TestGroups(t *testing.T) {
	virtual(t, func(e *env) {
		e.record("yard")
		join := func(group string, b kgo.GroupBalancer) func() {
			c := e.connect(kgo.ConsumerGroup(group), kgo.ConsumeTopics("cameras"), kgo.Balancers(b))
			ctx, cancel := context.WithCancel(e.t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				for ctx.Err() == nil {
					c.PollFetches(ctx)
				}
			}()
			return func() { cancel(); <-done; c.Close() }
		}
		for _, stop := range []func(){
			join("framelog-ingest", kgo.CooperativeStickyBalancer()),
			join("framelog-process-motion", kgo.RangeBalancer()),
			join("another", kgo.RangeBalancer()),
		} {
			defer stop()
		}
		time.Sleep(10 * time.Second) // virtual
		got := e.findings()
		for _, want := range []string{
			"group framelog-ingest: 1 process, stable\n",
			"! group framelog-process-motion: it shares the cameras by \"range\", this version by \"cooperative-sticky\"\n",
		} {
			if !strings.Contains(got, want) {
				e.t.Errorf("%s\nlacks %s", got, want)
			}
		}
		if strings.Contains(got, "another") {
			e.t.Errorf("%s\nhas a group of another program", got)
		}
	})
}
