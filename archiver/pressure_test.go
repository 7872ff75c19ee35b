package archiver

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/internal/broker"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

// embedded is an embedded broker in real time, with an archive that reads its log.
type embedded struct {
	t     *testing.T
	dir   archive.Dir
	log   *medialog.Log
	cfg   kafka.Config
	reg   *prometheus.Registry // of the broker
	lines testenv.Log          // of the broker
	stop  func()
}

// runBroker runs an embedded broker on a directory.
func runBroker(t *testing.T, data string, dir archive.Dir) *embedded {
	t.Helper()
	e := &embedded{t: t, dir: dir, reg: prometheus.NewRegistry()}
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- broker.Run(ctx, broker.Config{
			Listen: "127.0.0.1:0", Data: data, Limit: broker.MinLimit, Interval: 100 * time.Millisecond,
			Archived: Config{}.Archives, Archivers: Group,
		}, slog.New(slog.NewTextHandler(&e.lines, nil)), e.reg, func(addr string) { ready <- addr })
	}()
	select {
	case addr := <-ready:
		e.cfg = kafka.Config{Brokers: []string{addr}}
	case err := <-ended:
		t.Fatal(err)
	}
	var err error
	e.log, err = medialog.Connect(medialog.Config{Kafka: e.cfg, SegmentBytes: 1 << 20, Partitions: 2}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	e.stop = func() {
		if stopped {
			return
		}
		stopped = true
		e.log.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(e.lines.String())
		}
	}
	t.Cleanup(e.stop)
	return e
}

// footage is a camera that records faster than time.
type footage struct {
	w    *medialog.Writer
	t    schemas.Topic
	next time.Time
	n    byte
}

func (e *embedded) record(camera string, from time.Time) *footage {
	e.t.Helper()
	f := &footage{t: schemas.Topic{Camera: camera}, next: from}
	f.w = e.log.Open(e.t.Context(), f.t, medialog.OpenOptions{Writer: "w"})
	<-f.w.Ready()
	return f
}

// fragments records n fragments of two seconds and 200 KB.
func (f *footage) fragments(t *testing.T, n int) {
	t.Helper()
	for range n {
		f.n++
		c := *synthetic()[0].Chunks[0]
		shift := schemas.Ticks(f.next.Sub(testmedia.Start))
		c.Start, c.Captured = f.next, time.Now()
		run := &c.Runs[0]
		for i := range run.Samples {
			s := &run.Samples[i]
			s.DTS += shift
			s.Data = append([]byte{0, 0, 0x4e, 0x20, s.Data[4]}, bytes.Repeat([]byte{f.n}, 0x4e1f)...)
		}
		if err := f.w.Write(&c); err != nil {
			t.Fatal(err, f.w.Err())
		}
		f.next = f.next.Add(2 * time.Second)
		if err := f.w.Written(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// archiver is an archiver that is in no group, and works when the test says so.
func (e *embedded) archiver() *Service {
	e.t.Helper()
	s, err := New(Config{Kafka: e.cfg, Archive: e.dir}, e.log, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		e.t.Fatal(err)
	}
	return s
}

// archive archives what is complete of a camera, and commits that.
func (e *embedded) archive(s *Service, r *series) {
	e.t.Helper()
	for r.next(e.t.Context()) {
	}
	index := s.names.Index(r.topic)
	o, ok := s.offsets.Get(index)
	if !ok {
		return
	}
	all := kadm.Offsets{}
	all.Add(kadm.Offset{Topic: index, At: o.At, LeaderEpoch: -1, Metadata: o.Metadata})
	cl, err := kgo.NewClient(kgo.SeedBrokers(e.cfg.Brokers...)) // one that knows no earlier topic of the name
	if err != nil {
		e.t.Fatal(err)
	}
	defer cl.Close()
	if res, err := kadm.NewClient(cl).CommitOffsets(e.t.Context(), Group, all); err != nil || res.Error() != nil {
		e.t.Fatal(err, res.Error())
	}
}

// numbers reads the footage of a camera from a log, and returns the number of each fragment. If the
// broker deletes footage meanwhile, it reads again.
func numbers(t *testing.T, from medialog.Store, camera schemas.Topic) (all []byte) {
	t.Helper()
	for e, err := range from.Entries(t.Context(), camera, medialog.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		for c, err := range from.Chunks(t.Context(), camera, e) {
			if errors.Is(err, medialog.ErrExpired) {
				return numbers(t, from, camera)
			}
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range c.Video() {
				if n := s.Data[5]; bytes.Count(s.Data[5:], []byte{n}) != len(s.Data)-5 || i > 0 && n != all[len(all)-1] {
					t.Fatalf("fragment %d is damaged", e.Seq)
				} else if i == 0 {
					all = append(all, n)
				}
			}
		}
	}
	return all
}

// upTo returns the numbers first to last.
func upTo(first, last byte) (all []byte) {
	for n := int(first); n <= int(last); n++ {
		all = append(all, byte(n))
	}
	return all
}

func metricOf(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue() + f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return -1
}

// TestPressure: the embedded broker is at its limit. It deletes what is archived of one camera, and
// nothing of another one of which nothing is archived, although that is older. When only footage is
// left that is not archived, the oldest of that goes, and the broker tells it.
func TestPressure(t *testing.T) {
	e := runBroker(t, t.TempDir(), archive.Local(filepath.Join(t.TempDir(), "archive")))
	s := e.archiver()
	start := time.Now().Add(-time.Hour).Truncate(time.Second)
	old, kept := e.record("old", start), e.record("kept", start)
	r := newSeries(s, kept.t)
	old.fragments(t, 50) // 10 MB
	for range 20 {       // 40 MB
		kept.fragments(t, 10)
		e.archive(s, r)
	}
	const bytesOf, unarchived = "framelog_broker_deleted_bytes_total", "framelog_broker_deleted_unarchived_bytes_total"
	testenv.Wait(t, testenv.Patience, "the log within its limit", func() bool {
		return metricOf(t, e.reg, "framelog_broker_log_bytes") <= broker.MinLimit*15/16 && metricOf(t, e.reg, bytesOf) > 10<<20
	})
	if got := numbers(t, e.log, old.t); !bytes.Equal(got, upTo(1, 50)) {
		t.Errorf("of the camera that is not archived %d fragments are left: %v", len(got), got)
	}
	if got := numbers(t, e.log, kept.t); len(got) > 120 || got[len(got)-1] != 200 {
		t.Errorf("of the one that is archived the log has %v", got)
	}
	set := archive.NewJoined(e.log, archive.NewSet(e.dir, nil, nil))
	if got := numbers(t, set, kept.t); !bytes.Equal(got, upTo(1, 200)) {
		t.Errorf("of the one that is archived log and archive have %v", got)
	}
	if n := metricOf(t, e.reg, unarchived); n != 0 {
		t.Errorf("%v bytes are deleted that were not archived", n)
	}

	old.fragments(t, 150) // 30 MB more, which nobody archives
	testenv.Wait(t, testenv.Patience, "the oldest footage deleted", func() bool {
		return metricOf(t, e.reg, "framelog_broker_log_bytes") <= broker.MinLimit*15/16 && metricOf(t, e.reg, unarchived) > 0
	})
	got := numbers(t, e.log, old.t)
	if last := byte(200); len(got) < 100 || got[len(got)-1] != last || !bytes.Equal(got, upTo(got[0], last)) {
		t.Errorf("of the camera that is not archived the log has %v", got)
	}
	if n := strings.Count(e.lines.String(), "footage is deleted that is not archived yet"); n != 1 {
		t.Errorf("it is told %d times", n)
	}
}
