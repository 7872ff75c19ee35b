package monitor

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/monitor/lag"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// env is a log with cameras, and the monitor that watches it.
type env struct {
	t        *testing.T
	cluster  *kfake.Cluster
	kafka    kafka.Config
	log      *medialog.Log
	registry *registry.Client
	admin    *kadm.Client
	monitor  *Monitor
	reader   *reader
	metrics  *prometheus.Registry
	lines    testenv.Log
}

// retention is how long the log of a test keeps footage.
const retention = time.Hour

// virtual runs f with fake brokers in virtual time (testing/synctest).
func virtual(t *testing.T, brokers int, f func(t *testing.T, e *env)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c, dial := testenv.VirtualKafka(t, brokers)
		f(t, newEnv(t, c, kafka.Config{Brokers: c.ListenAddrs(), Dial: dial}))
	})
}

// eachLog runs f with a fake broker, and on Apache Kafka.
func eachLog(t *testing.T, f func(t *testing.T, e *env)) {
	t.Run("fake", func(t *testing.T) { virtual(t, 1, f) })
	t.Run("kafka", func(t *testing.T) {
		f(t, newEnv(t, nil, kafka.Config{Brokers: testenv.SharedKafka(t).Brokers, Prefix: fmt.Sprintf("m%d.", rand.Uint32())}))
	})
}

func newEnv(t *testing.T, c *kfake.Cluster, k kafka.Config) *env {
	t.Helper()
	e := &env{t: t, cluster: c, kafka: k, metrics: prometheus.NewRegistry()}
	logger := slog.New(slog.NewTextHandler(&e.lines, &slog.HandlerOptions{Level: slog.LevelDebug}))
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(e.lines.String())
		}
	})
	quiet := slog.New(slog.DiscardHandler)
	var err error
	if e.log, err = medialog.Connect(medialog.Config{Kafka: k, Partitions: 2, Retention: retention}, quiet, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.log.Close)
	if e.registry, err = registry.Connect(k, quiet); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.registry.Close)
	client, err := kgo.NewClient(k.Options(quiet)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	e.admin = kadm.NewClient(client)
	e.monitor = New(Config{Kafka: k, Retention: retention}, logger, e.metrics)
	if e.reader, err = newReader(e.monitor.cfg, logger); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.reader.close)
	return e
}

// read reads the log once, without the registry.
func (e *env) read() lag.Report {
	e.t.Helper()
	view, err := e.reader.read(e.t.Context())
	if err != nil {
		e.t.Fatal(err)
	}
	return lag.Compute(&view)
}

// report reads the registry and the log once.
func (e *env) report() lag.Report {
	e.t.Helper()
	s, err := e.registry.Load(e.t.Context())
	if err != nil {
		e.t.Fatal(err)
	}
	e.monitor.snapshot = s
	e.monitor.once(e.t.Context(), e.reader)
	r, err := e.monitor.Report()
	if err != nil {
		e.t.Fatal(err)
	}
	return r
}

// camera returns what a report says of a camera.
func (e *env) camera(r lag.Report, id string) lag.Camera {
	e.t.Helper()
	for _, c := range r.Cameras {
		if c.ID == id {
			return c
		}
	}
	e.t.Fatalf("the report lacks %s: %+v", id, r)
	return lag.Camera{}
}

// behind returns how far a camera is behind at a hop; -1 if it has no such hop.
func behind(c lag.Camera, hop string) time.Duration {
	for _, h := range c.Hops {
		if h.Name == hop {
			return time.Duration(h.Behind)
		}
	}
	return -1
}

// recorder records a camera.
type recorder struct {
	e     *env
	id    string
	w     *medialog.Writer
	media int64
}

const (
	frame  = schemas.MediaTimescale / 25
	length = 2 * time.Second // of a fragment
)

// record adds a camera, and begins to record it at the present time.
func (e *env) record(id string) *recorder {
	e.t.Helper()
	err := e.registry.Put(e.t.Context(), schemas.Camera{ID: id, URL: "rtsp://10.0.0.5/" + id, Source: schemas.SourceAPI})
	if err != nil {
		e.t.Fatal(err)
	}
	r := &recorder{e: e, id: id, media: schemas.Ticks(time.Duration(time.Now().UnixNano()))}
	r.w = e.log.Open(e.t.Context(), schemas.Topic{Camera: id}, medialog.OpenOptions{Writer: "w"})
	<-r.w.Ready()
	return r
}

// topic is the camera's own topic.
func (r *recorder) topic() schemas.Topic { return schemas.Topic{Camera: r.id} }

// status tells what the camera is doing, as ingest does.
func (r *recorder) status(s schemas.State) {
	now := time.Now()
	r.e.registry.PutStatus(schemas.Status{Camera: r.id, Owner: "w", State: s, Since: now, Updated: now})
	time.Sleep(time.Second) // until it is written
}

// gap tells that so many seconds could not be kept.
func (r *recorder) gap(seconds int64, reason string) {
	time.Sleep(time.Duration(seconds) * time.Second)
	r.w.Gap(r.start(), r.media, seconds*schemas.MediaTimescale, reason)
	r.media += seconds * schemas.MediaTimescale
}

// start is the public time of what comes next.
func (r *recorder) start() time.Time {
	return time.Unix(0, 0).Add(schemas.FromTicks(r.media)).Truncate(time.Microsecond)
}

// fragments records n fragments, each when it has happened, and returns all entries.
func (r *recorder) fragments(n int) []schemas.Entry {
	r.e.t.Helper()
	for range n {
		time.Sleep(length)
		r.chunk(0, false)
		r.chunk(1, true)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		if e, err := r.e.log.Newest(r.e.t.Context(), r.topic()); err == nil && e.MediaEnd() == r.media {
			return r.e.entries(r.topic())
		}
		if time.Now().After(deadline) {
			r.e.t.Fatalf("%s has no entry for its newest fragment", r.id)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (r *recorder) chunk(index uint32, last bool) {
	r.e.t.Helper()
	c := &schemas.Chunk{
		Index: index, Last: last, Start: r.start(), Captured: time.Now(),
		Layout: schemas.Layout{Part: schemas.PartTarget(25, frame), Video: schemas.H264},
	}
	if index == 0 {
		c.Tracks = []schemas.Track{{ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale, Config: []byte{1, 2, 3}, Width: 640, Height: 360}}
	}
	run := schemas.Run{Track: schemas.VideoTrack}
	for i := range 25 {
		run.Samples = append(run.Samples, schemas.Sample{DTS: r.media, Duration: frame, Sync: i == 0, Data: []byte("frame")})
		r.media += frame
	}
	c.Runs = []schemas.Run{run}
	if err := r.w.Write(c); err != nil {
		r.e.t.Fatal(err, r.w.Err())
	}
}

// entries returns the visible entries of a topic.
func (e *env) entries(t schemas.Topic) (out []schemas.Entry) {
	e.t.Helper()
	for entry, err := range e.log.Entries(e.t.Context(), t, medialog.Range{}) {
		if err != nil {
			e.t.Fatal(err)
		}
		out = append(out, entry)
	}
	return out
}

// follower copies a camera into a rendition, and commits its offsets as a processor does.
type follower struct {
	e     *env
	f     *medialog.Follower
	of    schemas.Topic
	group string
	begun bool
}

// follow starts a processor of a camera. It names itself processor in the log.
func (e *env) follow(camera, rendition, processor string, role schemas.Role) *follower {
	e.t.Helper()
	f, err := e.log.Follow(e.t.Context(), schemas.Topic{Camera: camera, Rendition: rendition}, medialog.FollowOptions{
		Processor: processor, Version: "1", Role: role, Writer: "p", Host: "h",
	})
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(f.Close)
	return &follower{e: e, f: f, of: schemas.Topic{Camera: camera}, group: "framelog-process-" + processor}
}

// copy copies fragments of the camera.
func (f *follower) copy(entries ...schemas.Entry) {
	f.e.t.Helper()
	ctx := f.e.t.Context()
	for _, entry := range entries {
		if !f.begun {
			f.begun = true
			f.check(f.f.Jump(ctx, entry.Seq))
		}
		if !entry.Playable() {
			f.check(f.f.Gaps(ctx, "", entry))
			continue
		}
		var w *medialog.Work
		for c, err := range f.e.log.Chunks(ctx, f.of, entry) {
			f.check(err)
			if w == nil {
				w, err = f.f.Begin(ctx, c)
				f.check(err)
			}
			d := *c
			f.check(w.Write(ctx, &d))
		}
		_, err := w.Commit(ctx, entry, medialog.Output{Used: entry.Chunks})
		f.check(err)
	}
}

func (f *follower) check(err error) {
	f.e.t.Helper()
	if err != nil {
		f.e.t.Fatal(err)
	}
}

// commit commits that a group has done all up to an entry.
func (e *env) commit(group string, of schemas.Topic, offset int64) {
	e.t.Helper()
	o := kadm.Offsets{}
	o.AddOffset(e.kafka.Names().Index(of), 0, offset, -1)
	if err := e.admin.CommitAllOffsets(e.t.Context(), group, o); err != nil {
		e.t.Fatal(err)
	}
}
