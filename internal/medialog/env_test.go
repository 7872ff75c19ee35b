package medialog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/framelog/framelog/internal/broker"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// eachLog runs f on the embedded broker with one and with four partitions, and on
// Apache Kafka with four. What only Apache Kafka does (metadata that are late,
// topics that are deleted bit by bit, checks of timestamps) does not depend on the
// number of partitions, and each index has one there.
func eachLog(t *testing.T, f func(t *testing.T, e *env)) {
	t.Run("embedded/1", func(t *testing.T) { f(t, newEnv(t, startEmbedded(t), 1)) })
	t.Run("embedded/4", func(t *testing.T) { f(t, newEnv(t, startEmbedded(t), 4)) })
	t.Run("kafka/4", func(t *testing.T) { f(t, newEnv(t, sharedKafka(t), 4)) })
}

// sharedKafka is Apache Kafka, one for all tests.
func sharedKafka(t *testing.T) []string {
	t.Helper()
	return testenv.SharedKafka(t).Brokers
}

// virtual runs f with brokers in memory, in a bubble of testing/synctest: pauses and
// time-outs take no time, and what f measures is exact.
func virtual(t *testing.T, brokers int, f func(t *testing.T, c *kfake.Cluster, e *env)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c, dial := testenv.VirtualKafka(t, brokers)
		e := newEnv(t, c.ListenAddrs(), 2)
		e.dial = dial
		f(t, c, e)
	})
}

func startEmbedded(t *testing.T) []string {
	t.Helper()
	b := &embedded{t: t, data: t.TempDir(), listen: "127.0.0.1:0"}
	b.start()
	t.Cleanup(b.stop)
	return []string{b.listen}
}

// embedded is the embedded broker; started again it has its address and data
// of before.
type embedded struct {
	t            *testing.T
	data, listen string
	cancel       context.CancelFunc
	done         chan error
}

func (b *embedded) start() {
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel, b.done = cancel, make(chan error, 1)
	ready := make(chan string, 1)
	go func() {
		b.done <- broker.Run(ctx, broker.Config{Listen: b.listen, Data: b.data}, slog.New(slog.DiscardHandler), nil, func(addr string) { ready <- addr })
	}()
	select {
	case b.listen = <-ready:
	case err := <-b.done:
		b.t.Fatal(err)
	}
}

func (b *embedded) stop() {
	if b.cancel == nil {
		return
	}
	b.cancel()
	if err := <-b.done; err != nil && !errors.Is(err, context.Canceled) {
		b.t.Error(err)
	}
	b.cancel = nil
}

// faked runs f with fake brokers in real time. It is for tests that stop the brokers
// with SleepControl: that holds a mutex, and virtual time would stop with it.
func faked(t *testing.T, f func(t *testing.T, c *kfake.Cluster, e *env)) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	f(t, c, newEnv(t, c.ListenAddrs(), 1))
}

// env is where a test has its logs: brokers, and topic names of its own.
type env struct {
	t          *testing.T
	brokers    []string
	partitions int32 // partitions of a media topic
	prefix     string
	dial       func(ctx context.Context, network, address string) (net.Conn, error) // nil: TCP
	lines      testenv.Log
}

func newEnv(t *testing.T, brokers []string, partitions int32) *env {
	e := &env{t: t, brokers: brokers, partitions: partitions, prefix: fmt.Sprintf("t%d.", rand.Uint32())}
	t.Cleanup(func() {
		if t.Failed() || testing.Verbose() {
			t.Log(e.lines.String())
		}
	})
	return e
}

func (e *env) log(change ...func(*Config)) *Log {
	e.t.Helper()
	cfg := Config{Kafka: kafka.Config{Brokers: e.brokers, Prefix: e.prefix, Dial: e.dial}, Partitions: e.partitions}
	for _, c := range change {
		c(&cfg)
	}
	l, err := Connect(cfg, slog.New(slog.NewTextHandler(&e.lines, nil)), prometheus.NewRegistry())
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(l.Close)
	return l
}

// logged returns how many lines of the log contain text.
func (e *env) logged(text string) int { return len(e.lines.Lines(text)) }

var cam = schemas.Topic{Camera: "front-door"}

// feed is a camera: it makes chunks with known bytes.
type feed struct {
	w     *Writer
	id    uint32
	count uint32
	media int64
	sent  map[uint32][]byte // sample bytes by count
	// sound makes each picture have two frames of sound of soundFrame ticks. The first late
	// frames of each chunk belong to the pictures before it.
	sound bool
	late  uint32
}

const soundFrame = 960 // ticks at 48 kHz

func newFeed(w *Writer, id uint32) *feed {
	return &feed{w: w, id: id, media: schemas.Ticks(time.Duration(time.Now().UnixNano())), sent: map[uint32][]byte{}}
}

const frame = schemas.MediaTimescale / 25

// chunk writes one chunk of n frames.
func (f *feed) chunk(index uint32, n int, last bool, size int) error {
	c := &schemas.Chunk{
		Index: index, Last: last, Start: publicTime(f.media), Captured: time.Now(),
		Layout: schemas.Layout{Part: 19800, Video: schemas.H264},
	}
	if index == 0 {
		c.Tracks = []schemas.Track{{ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale, Config: []byte{1, 2, 3}, Width: 640, Height: 360}}
	}
	if f.sound {
		c.Runs = append(c.Runs, f.soundRun(2*f.count-min(f.late, 2*f.count), 2*(f.count+uint32(n))-f.late))
		if c.Layout.Audio = schemas.AAC; index == 0 {
			c.Tracks = append(c.Tracks, schemas.Track{ID: schemas.AudioTrack, Codec: schemas.AAC, Timescale: 48000, Config: []byte{0x11, 0x90}, SampleRate: 48000, Channels: 2})
		}
	}
	run := schemas.Run{Track: schemas.VideoTrack}
	for i := range n {
		f.count++
		data := make([]byte, max(size, 8))
		binary.BigEndian.PutUint32(data, f.id)
		binary.BigEndian.PutUint32(data[4:], f.count)
		f.sent[f.count] = data
		run.Samples = append(run.Samples, schemas.Sample{DTS: f.media, Duration: frame, Sync: index == 0 && i == 0, Data: data})
		f.media += frame
	}
	c.Runs = slices.Insert(c.Runs, 0, run)
	return f.w.Write(c)
}

// soundRun makes frames of sound, each with its number as its bytes.
func (f *feed) soundRun(from, to uint32) schemas.Run {
	run := schemas.Run{Track: schemas.AudioTrack}
	zero := schemas.Rescale(f.media-int64(f.count)*frame, schemas.MediaTimescale, 48000)
	for n := from; n < to; n++ {
		run.Samples = append(run.Samples, schemas.Sample{
			DTS: zero + int64(n)*soundFrame, Duration: soundFrame, Sync: true, Data: binary.BigEndian.AppendUint32(nil, n),
		})
	}
	return run
}

// fragment writes a whole one of n chunks of five frames.
func (f *feed) fragment(n int) error {
	var first error
	for i := range n {
		if err := f.chunk(uint32(i), 5, i == n-1, 100); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func ready(t *testing.T, w *Writer) {
	t.Helper()
	select {
	case <-w.Ready():
	case <-w.Fenced():
		t.Fatalf("the writer ended: %v", w.Err())
	case <-time.After(testenv.Patience):
		t.Fatal("the writer does not become ready")
	}
}

func closeWriter(t *testing.T, w *Writer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// expire removes the records of a partition before an offset, as retention does.
func expire(t *testing.T, l *Log, topic string, partition int32, before int64) {
	t.Helper()
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: topic, Partition: partition, At: before})
	if res, err := l.admin.DeleteRecords(t.Context(), offsets); err != nil || res.Error() != nil {
		t.Fatal(err, res.Error())
	}
}

// entriesOf returns cam's own entries.
func entriesOf(t *testing.T, l *Log, r Range) []schemas.Entry {
	t.Helper()
	return topicEntries(t, l, cam, r)
}

func topicEntries(t *testing.T, l *Log, topic schemas.Topic, r Range) (out []schemas.Entry) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	for e, err := range l.Entries(ctx, topic, r) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func chunksOf(t *testing.T, l *Log, topic schemas.Topic, e schemas.Entry) (out []*schemas.Chunk) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	for c, err := range l.Chunks(ctx, topic, e) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

// counts reads the sample numbers of an entry's chunks and checks their bytes.
func counts(t *testing.T, l *Log, e schemas.Entry, sent map[uint32][]byte) []uint32 {
	t.Helper()
	var out []uint32
	for _, c := range chunksOf(t, l, cam, e) {
		for _, s := range c.Video() {
			n := binary.BigEndian.Uint32(s.Data[4:])
			if string(sent[n]) != string(s.Data) {
				t.Fatalf("seq %d: sample %d has other bytes than were written", e.Seq, n)
			}
			out = append(out, n)
		}
	}
	return out
}

func dense(t *testing.T, entries []schemas.Entry) {
	t.Helper()
	for i := 1; i < len(entries); i++ {
		p, e := entries[i-1], entries[i]
		if e.Seq != p.Seq+1 || e.Session-p.Session > 1 || e.Media < p.MediaEnd() {
			t.Fatalf("%+v\nfollows %+v", e, p)
		}
	}
}

func waitFor(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.After(testenv.Patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-deadline:
			t.Fatalf("after %v still not: %s", testenv.Patience, what)
		case <-tick.C:
		}
	}
}
