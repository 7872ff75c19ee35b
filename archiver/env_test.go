package archiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

const camID = "yard"

var raw = schemas.Topic{Camera: camID}

// env is a log, a registry with one camera, and the directory of an archive.
type env struct {
	t       *testing.T
	cluster *kfake.Cluster
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	log     *medialog.Log
	reg     *registry.Client
	dir     archive.Dir
	lines   testenv.Log

	concurrency int // of archivers that start; 0: the default
}

// virtual runs f with a fake broker in virtual time (testing/synctest).
func virtual(t *testing.T, f func(t *testing.T, e *env)) {
	t.Helper()
	dir := archive.Local(filepath.Join(t.TempDir(), "archive"))
	synctest.Test(t, func(t *testing.T) {
		e := &env{t: t, dir: dir}
		e.cluster, e.dial = testenv.VirtualKafka(t, 1, kfake.SeedTopics(8, "cameras"))
		t.Cleanup(func() {
			if t.Failed() {
				t.Log(e.lines.String())
			}
		})
		e.log = e.connect()
		var err error
		if e.reg, err = registry.Connect(e.kafka(), slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.reg.Close)
		e.add(camID)
		f(t, e)
	})
}

func (e *env) kafka() kafka.Config {
	return kafka.Config{Brokers: e.cluster.ListenAddrs(), Dial: e.dial}
}

func (e *env) logger() *slog.Logger { return slog.New(slog.NewTextHandler(&e.lines, nil)) }

func (e *env) connect() *medialog.Log {
	e.t.Helper()
	l, err := medialog.Connect(medialog.Config{Kafka: e.kafka(), EndAtDamage: true}, e.logger(), prometheus.NewRegistry())
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(l.Close)
	return l
}

// add puts a camera into the registry.
func (e *env) add(camera string) {
	e.t.Helper()
	if err := e.reg.Put(e.t.Context(), schemas.Camera{ID: camera, URL: "rtsp://127.0.0.1/", Source: schemas.SourceAPI}); err != nil {
		e.t.Fatal(err)
	}
}

func (e *env) admin() *kadm.Client {
	e.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(e.cluster.ListenAddrs()...), kgo.Dialer(e.dial))
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(cl.Close)
	return kadm.NewClient(cl)
}

// process is an archiver.
type process struct {
	*Service
	reg    *prometheus.Registry
	cancel context.CancelFunc
	done   chan struct{}
}

// start starts an archiver. change, if not nil, changes it before it runs.
func (e *env) start(change func(*Service)) *process {
	e.t.Helper()
	p := &process{reg: prometheus.NewRegistry(), done: make(chan struct{})}
	var err error
	if p.Service, err = New(Config{Kafka: e.kafka(), Archive: e.dir, Concurrency: e.concurrency}, e.log, e.logger(), p.reg); err != nil {
		e.t.Fatal(err)
	}
	if change != nil {
		change(p.Service)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go func() {
		defer close(p.done)
		if err := p.Run(ctx); err != nil {
			e.t.Error(err)
		}
	}()
	e.t.Cleanup(p.stop)
	e.wait("an archiver is ready", func() bool { return p.Ready() == nil })
	return p
}

// alone makes an archiver that is in no group and archives nothing by itself. It has found the
// topics.
func (e *env) alone(change func(*Service)) *process {
	e.t.Helper()
	p := &process{reg: prometheus.NewRegistry()}
	var err error
	if p.Service, err = New(Config{Kafka: e.kafka(), Archive: e.dir}, e.log, e.logger(), p.reg); err != nil {
		e.t.Fatal(err)
	}
	if change != nil {
		change(p.Service)
	}
	if err := p.findTopics(e.t.Context()); err != nil {
		e.t.Fatal(err)
	}
	return p
}

// expire removes the records of a fragment, and all before them, from its partition.
func (e *env) expire(entry *schemas.Entry) {
	e.t.Helper()
	o := make(kadm.Offsets)
	o.AddOffset(schemas.Names{}.Media(raw), entry.Partition, entry.Last+1, -1)
	if res, err := e.admin().DeleteRecords(e.t.Context(), o); err != nil || res.Error() != nil {
		e.t.Fatal(err, res.Error())
	}
}

func (p *process) stop() {
	p.cancel()
	<-p.done
}

// metric returns the value of a metric by its name and the values of its labels.
func (p *process) metric(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	all, err := p.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		for _, m := range f.GetMetric() {
			var got []string
			for _, l := range m.GetLabel() {
				got = append(got, l.GetValue())
			}
			if f.GetName() == "framelog_archive_"+name && slices.Equal(got, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return -1
}

// recorder records a camera or a rendition.
type recorder struct {
	e     *env
	topic schemas.Topic
	w     *medialog.Writer
	clip  []testmedia.Fragment // again and again
	n     int
	start time.Time // of what comes next
}

// synthetic is a fragment of two seconds with ten pictures that no decoder takes, in one chunk.
func synthetic() []testmedia.Fragment {
	const frame = schemas.MediaTimescale / 5
	c := testmedia.Clip{Tracks: []schemas.Track{
		{ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale, Config: testmedia.AVCC, Width: 320, Height: 180},
	}, Samples: map[uint8][]schemas.Sample{}}
	for i := range 10 {
		kind := byte(0x41)
		if i == 0 {
			kind = 0x65
		}
		c.Samples[schemas.VideoTrack] = append(c.Samples[schemas.VideoTrack], schemas.Sample{
			DTS: int64(i) * frame, Duration: frame, Sync: i == 0, Data: []byte{0, 0, 0, 2, kind, byte(i)},
		})
	}
	layout := schemas.Layout{Target: 2, Part: schemas.PartTarget(10, frame), Video: schemas.H264}
	return c.Fragments(testmedia.Place{Layout: layout, Start: testmedia.Start}, 10)
}

// record begins to record synthetic footage.
func (e *env) record(t schemas.Topic) *recorder {
	e.t.Helper()
	r := &recorder{e: e, topic: t, clip: synthetic(), start: time.Now()}
	r.open(medialog.OpenOptions{Writer: "w"})
	return r
}

func (r *recorder) open(o medialog.OpenOptions) {
	r.e.t.Helper()
	r.w = r.e.log.Open(r.e.t.Context(), r.topic, o)
	<-r.w.Ready()
}

// seconds records n seconds of footage, in as much time.
func (r *recorder) seconds(n int) {
	r.e.t.Helper()
	for end := r.start.Add(time.Duration(n) * time.Second); r.start.Before(end); {
		f := r.clip[r.n%len(r.clip)]
		time.Sleep(time.Until(r.start.Add(schemas.FromTicks(f.Entry.Duration))))
		shift := schemas.Ticks(r.start.Sub(f.Entry.Start))
		for _, c := range f.Chunks {
			c := *c
			c.Start, c.Captured = c.Start.Add(schemas.FromTicks(shift)), time.Now()
			c.Runs = slices.Clone(c.Runs)
			for i := range c.Runs {
				by := shift
				if c.Runs[i].Track == schemas.AudioTrack {
					by = schemas.Rescale(shift, schemas.MediaTimescale, 48000)
				}
				c.Runs[i].Samples = slices.Clone(c.Runs[i].Samples)
				for s := range c.Runs[i].Samples {
					c.Runs[i].Samples[s].DTS += by
				}
			}
			if err := r.w.Write(&c); err != nil {
				r.e.t.Fatal(err, r.w.Err())
			}
		}
		r.n, r.start = r.n+1, r.start.Add(schemas.FromTicks(f.Entry.Duration))
	}
	if err := r.w.Written(r.e.t.Context()); err != nil {
		r.e.t.Fatal(err)
	}
}

// pause records nothing for a time. Then a new session begins.
func (r *recorder) pause(d time.Duration) {
	time.Sleep(d)
	r.w.NewSession(schemas.AbsentCamera)
	r.start = time.Now()
}

// entries returns what the log has of a topic.
func (e *env) entries(t schemas.Topic) (all []schemas.Entry) {
	e.t.Helper()
	for entry, err := range e.log.Entries(e.t.Context(), t, medialog.Range{}) {
		if err != nil && !errors.Is(err, medialog.ErrNoTopic) {
			e.t.Fatal(err)
		}
		if err == nil {
			all = append(all, entry)
		}
	}
	return all
}

// archived reads the archive of a topic's life, and checks that all files are whole, that none
// overlap, and that their segments are those that the log gives, as far as it has them. It
// returns the entries of all files.
func (e *env) archived(life string, t schemas.Topic) (all []schemas.Entry) {
	e.t.Helper()
	files, err := e.dir.Files(e.t.Context(), archive.Series{Life: life, Topic: t})
	if err != nil {
		e.t.Fatal(err)
	}
	for _, k := range files {
		f, err := archive.Open(filepath.Join(e.dir.String(), k.Path()))
		if err != nil {
			e.t.Fatal(err)
		}
		defer f.Close()
		if err := f.Verify(e.t.Context()); err != nil {
			e.t.Error(err)
		}
		if n := len(all); n > 0 && f.Entries[0].Seq <= all[n-1].LastSeq() {
			e.t.Errorf("%s begins before %d", k.Path(), all[n-1].LastSeq())
		}
		for _, entry := range f.Entries {
			if entry.Playable() {
				e.sameSegment(f, t, entry)
			}
		}
		all = append(all, f.Entries...)
	}
	return all
}

// sameSegment compares a segment in a file with what the log gives.
func (e *env) sameSegment(f *archive.File, t schemas.Topic, entry schemas.Entry) {
	e.t.Helper()
	if e.log.Available(e.t.Context(), t, entry) != nil {
		return
	}
	want, err := cmaf.Segment(entry, e.log.Chunks(e.t.Context(), t, entry))
	if err != nil {
		e.t.Fatal(err)
	}
	r, err := f.Segment(entry.Seq)
	if err != nil {
		e.t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, bytes.Join(want, nil)) {
		e.t.Errorf("segment %d differs from that of the log (%v)", entry.Seq, err)
	}
}

// seqs returns the numbers of entries, for messages and comparisons: "5 6 7-gap".
func seqs(entries []schemas.Entry) string {
	var all []string
	for i := range entries {
		text := fmt.Sprint(entries[i].Seq)
		if !entries[i].Playable() {
			text += "-gap"
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

// playable returns the entries with footage.
func playable(entries []schemas.Entry) []schemas.Entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e schemas.Entry) bool { return !e.Playable() })
}

func (e *env) wait(what string, cond func() bool) {
	e.t.Helper()
	deadline := time.Now().Add(10 * time.Minute) // of virtual time
	for !cond() {
		if time.Now().After(deadline) {
			e.t.Fatalf("after 10 min still not: %s", what)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
