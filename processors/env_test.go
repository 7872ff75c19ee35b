package processors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

// env is a camera in a log of its own, and the processes that process it.
type env struct {
	t       *testing.T
	brokers []string
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	cluster *kfake.Cluster
	log     *medialog.Log
	cam     *recorder
	lines   testenv.Log
}

const camID = "front-door"

var raw = schemas.Topic{Camera: camID}

// virtual runs f with a fake broker in virtual time (testing/synctest).
func virtual(t *testing.T, f func(t *testing.T, e *env)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c, dial := testenv.VirtualKafka(t, 1, kfake.SeedTopics(8, "cameras"))
		e := &env{t: t, brokers: c.ListenAddrs(), dial: dial, cluster: c}
		t.Cleanup(func() {
			if t.Failed() {
				t.Log(e.lines.String())
			}
		})
		var err error
		e.log, err = medialog.Connect(medialog.Config{Kafka: kafka.Config{Brokers: e.brokers, Dial: e.dial}}, slog.New(slog.NewTextHandler(&e.lines, nil)), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.log.Close)
		e.cam = e.newRecorder("w")
		f(t, e)
	})
}

func (e *env) config() Config {
	return Config{Brokers: e.brokers, dial: e.dial, Log: slog.New(slog.NewTextHandler(&e.lines, nil))}
}

// running is a process that works on the camera, without a group.
type running struct {
	r      *Runner
	cancel context.CancelFunc
	done   chan struct{} // closed when it has ended
	died   chan struct{} // closed when it was killed

	mu     sync.Mutex
	killed bool
	conns  []net.Conn
}

// start starts a process.
func (e *env) start(p Processor) *running {
	e.t.Helper()
	one := &running{done: make(chan struct{}), died: make(chan struct{})}
	cfg := e.config()
	cfg.dial = one.dial(e.dial)
	r, err := NewRunner(p, cfg)
	if err != nil {
		e.t.Fatal(err)
	}
	one.r = r
	l, err := r.cfg.connect(p.Name, r.log, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	r.metrics = newMetrics(prometheus.NewRegistry())
	r.exit = func(int) { one.kill() }
	ctx, cancel := context.WithCancel(context.Background())
	one.cancel = cancel
	go func() {
		defer close(one.done)
		defer l.Close()
		w := &work{role: role{r, l}, camera: camID}
		for {
			err := w.Run(ctx, "", func() bool { return true })
			if ctx.Err() != nil || errors.Is(err, share.ErrFenced) {
				return
			}
			r.log.Warn("the work begins again", "err", err)
			time.Sleep(500 * time.Millisecond)
		}
	}()
	e.t.Cleanup(one.stop)
	return one
}

// dial makes connections that end when the process is killed.
func (p *running) dial(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		p.mu.Lock()
		defer p.mu.Unlock()
		if err == nil && p.killed {
			c.Close()
			return nil, errors.New("the process is dead")
		}
		p.conns = append(p.conns, c)
		return c, err
	}
}

// kill ends a process as kill -9 does: Kafka gets nothing from it any more. What runs in it
// is only told to end.
func (p *running) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed {
		return
	}
	p.killed = true
	for _, c := range p.conns {
		if c != nil {
			c.Close()
		}
	}
	close(p.died)
	p.cancel()
}

// stop ends a process.
func (p *running) stop() {
	p.cancel()
	<-p.done
}

// recorder is the camera: it records chunks with known bytes.
type recorder struct {
	e     *env
	w     *medialog.Writer
	count int
	media int64
}

const frame = schemas.MediaTimescale / 25

func (e *env) newRecorder(writer string) *recorder {
	e.t.Helper()
	now := time.Now()
	r := &recorder{e: e, w: e.log.Open(e.t.Context(), raw, medialog.OpenOptions{Writer: writer}), media: schemas.Ticks(time.Duration(now.UnixNano()))}
	<-r.w.Ready() // a client that reads a topic before it exists may not write it then
	return r
}

// takeOver makes another process record the camera, from the first frame of the n-th newest
// chunk on: it has a connection to the camera too.
func (r *recorder) takeOver(n int) *recorder {
	r.e.t.Helper()
	next := &recorder{e: r.e, count: r.count - 10*n, media: r.media - int64(10*n)*frame}
	unit := schemas.UnitHash(fmt.Appendf(nil, "frame %d", next.count+1))
	next.w = r.e.log.Open(r.e.t.Context(), raw, medialog.OpenOptions{Writer: "w2", Unit: unit, Absent: schemas.AbsentHandover})
	return next
}

// start is the public time of what comes next.
func (r *recorder) start() time.Time {
	return time.Unix(0, 0).Add(schemas.FromTicks(r.media)).Truncate(time.Microsecond)
}

// chunk records one chunk of ten frames.
func (r *recorder) chunk(index uint32, last bool) {
	r.e.t.Helper()
	c := &schemas.Chunk{
		Index: index, Last: last, Start: r.start(), Captured: time.Now(),
		Layout: schemas.Layout{Part: schemas.PartTarget(10, frame), Video: schemas.H264},
	}
	if index == 0 {
		c.Tracks = []schemas.Track{{ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale, Config: testmedia.AVCC, Width: 640, Height: 360}}
	}
	run := schemas.Run{Track: schemas.VideoTrack}
	for i := range 10 {
		r.count++
		run.Samples = append(run.Samples, schemas.Sample{DTS: r.media, Duration: frame, Sync: i == 0, Data: fmt.Appendf(nil, "frame %d", r.count)})
		r.media += frame
	}
	c.Runs = []schemas.Run{run}
	if err := r.w.Write(c); err != nil {
		r.e.t.Fatal(err, r.w.Err())
	}
}

// fragments records n fragments of five chunks each, which last 2 s. It waits until they
// have their entries, and returns these.
func (r *recorder) fragments(n int) []schemas.Entry {
	r.e.t.Helper()
	before := r.e.end(raw)
	for range n {
		for i := range uint32(5) {
			r.chunk(i, i == 4)
		}
	}
	r.e.wait("the fragments have their entries", func() bool { return r.e.end(raw) >= before+uint64(n) })
	all := r.e.entries(raw)
	return all[len(all)-n:]
}

// end returns how many seqs of a topic have an entry.
func (e *env) end(t schemas.Topic) uint64 { return uint64(len(e.entries(t))) }

func (e *env) entries(t schemas.Topic) (out []schemas.Entry) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), testenv.Patience)
	defer cancel()
	for entry, err := range e.log.Entries(ctx, t, medialog.Range{}) {
		if err != nil {
			if strings.Contains(err.Error(), medialog.ErrNoTopic.Error()) {
				return nil
			}
			e.t.Fatal(err)
		}
		out = append(out, entry)
	}
	return out
}

func (e *env) chunks(t schemas.Topic, entry schemas.Entry) (out []*schemas.Chunk) {
	e.t.Helper()
	for c, err := range e.log.Chunks(e.t.Context(), t, entry) {
		if err != nil {
			e.t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

// text is the samples of an entry as text.
func (e *env) text(t schemas.Topic, entry schemas.Entry) string {
	e.t.Helper()
	return samples(e.chunks(t, entry))
}

func samples(chunks []*schemas.Chunk) string {
	var b strings.Builder
	for _, c := range chunks {
		for _, r := range c.Runs {
			for _, s := range r.Samples {
				fmt.Fprintf(&b, "%d %d %d %s\n", r.Track, s.DTS, s.Duration, s.Data)
			}
		}
	}
	return b.String()
}

func (e *env) wait(what string, cond func() bool) {
	e.t.Helper()
	deadline := time.Now().Add(2 * time.Minute) // of virtual time
	for !cond() {
		if time.Now().After(deadline) {
			e.t.Fatalf("after 2 min still not: %s\n%s", what, e.lines.String())
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// waitFor waits until an output has the entry of a seq, and returns all its entries.
func (e *env) waitFor(rendition string, seq uint64) []schemas.Entry {
	e.t.Helper()
	var all []schemas.Entry
	e.wait(fmt.Sprintf("%s has %d", rendition, seq), func() bool {
		all = e.entries(schemas.Topic{Camera: camID, Rendition: rendition})
		return len(all) > 0 && all[len(all)-1].Seq >= seq
	})
	return all
}

// upper is a processor whose output is the frames in upper case.
func upper(ctx context.Context, in *Fragment, out *Output) error {
	for c, err := range in.Chunks(ctx) {
		if err != nil {
			return err
		}
		d := *c
		d.Runs = nil
		for _, r := range c.Runs {
			s := schemas.Run{Track: r.Track}
			for _, one := range r.Samples {
				one.Data = []byte(strings.ToUpper(string(one.Data)))
				s.Samples = append(s.Samples, one)
			}
			d.Runs = append(d.Runs, s)
		}
		if err := out.Write(ctx, &d); err != nil {
			return err
		}
	}
	return nil
}

func upperProcessor() Processor {
	return Processor{Name: "upper", Version: "1", Process: upper, Outputs: []Rendition{Variant("upper")}}
}

// idle records a fragment, which upper processes, and n more while no process runs. It
// returns their entries.
func (e *env) idle(n int) []schemas.Entry {
	e.t.Helper()
	source := e.cam.fragments(1)
	one := e.start(upperProcessor())
	e.waitFor("upper", source[0].Seq)
	one.stop()
	return append(source, e.cam.fragments(n)...)
}

// sameAs checks that an output has exactly one entry for each of these entries of the
// camera, in order, and that each has what upper makes of the fragment, but for some seqs.
func (e *env) sameAs(rendition string, source []schemas.Entry, but ...uint64) {
	e.t.Helper()
	topic := schemas.Topic{Camera: camID, Rendition: rendition}
	got := e.entries(topic)
	if len(got) != len(source) {
		e.t.Fatalf("%s has %d entries, the camera %d", rendition, len(got), len(source))
	}
	for i, s := range source {
		g := got[i]
		if g.Seq == s.Seq && slices.Contains(but, s.Seq) {
			continue
		}
		if g.Seq != s.Seq || g.Kind != s.Kind || g.Reason != s.Reason || g.Session != s.Session || g.Duration != s.Duration {
			e.t.Errorf("entry %d is %s %d (%s), the camera has %s %d (%s)", i, g.Kind, g.Seq, g.Reason, s.Kind, s.Seq, s.Reason)
		}
		if want := strings.ToUpper(e.text(raw, s)); e.text(topic, g) != want {
			e.t.Errorf("seq %d: the output is\n%swant\n%s", s.Seq, e.text(topic, g), want)
		}
	}
}
