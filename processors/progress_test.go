package processors

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// A processor is slower than the camera, so its tail ends and begins again with an entry whose
// fragment is still worked on. Nothing from the oldest unfinished fragment on counts as done.
func TestUnfinishedIsNotDone(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		source := e.cam.fragments(1)
		release := map[uint64]chan struct{}{}
		for i := range uint64(12) {
			release[source[0].Seq+i] = make(chan struct{})
		}
		p := upperProcessor()
		p.Process = func(ctx context.Context, in *Fragment, out *Output) error {
			if err := wait(ctx, release[in.Seq]); err != nil {
				return err
			}
			return upper(ctx, in, out)
		}
		cfg := e.config()
		cfg.Log = slog.New(slog.NewTextHandler(&e.lines, &slog.HandlerOptions{Level: slog.LevelDebug}))
		r, err := NewRunner(p, cfg)
		if err != nil {
			t.Fatal(err)
		}
		r.metrics = newMetrics(prometheus.NewRegistry())
		l, err := medialog.Connect(medialog.Config{Kafka: cfg.kafka(p.Name), TailBytes: 8000}, e.config().Log, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ctx, cancel := context.WithCancel(t.Context())
		c := newCamera(r, l, camID)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			c.run(ctx, func() bool { return true })
		}()
		defer func() { cancel(); <-ended }()

		offset := func() share.Offset {
			o, _ := r.offsets.Get(schemas.Names{}.Index(raw))
			return o
		}
		blocked := func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.blocked
		}
		close(release[source[0].Seq])
		e.wait("the first fragment is done", func() bool { return offset() == share.OffsetBehind(&source[0]) })
		for range 11 { // one by one, so that the tail keeps up until too many jobs are unfinished
			source = append(source, e.cam.fragments(1)...)
		}
		again := func() bool { return strings.Contains(e.lines.String(), "the input is read from the store") }
		if !blocked() || again() {
			t.Fatal("the tail does not wait for a job: the test misses what it is for")
		}
		close(release[source[1].Seq])
		e.wait("the tail has begun again, and waits again", func() bool {
			return again() && blocked()
		})
		if got, want := c.doneOffset(), share.OffsetBehind(&source[1]); got != want {
			t.Errorf("the offset is %+v while fragment %d is worked on, want %+v", got, source[2].Seq, want)
		}
		for _, s := range source[2:] {
			close(release[s.Seq])
		}
		e.wait("all is done", func() bool { return offset() == share.OffsetBehind(&source[11]) })
		e.sameAs("upper", source)
	})
}

// A record of the input comes damaged. The work goes on, and the record is fetched again in pauses.
func TestDamagedInput(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		source := e.cam.fragments(1)
		bad := testenv.DamagedReads{Mark: []byte("frame 77"), Most: 1000}
		e.dial = bad.Of(e.dial)
		e.start(upperProcessor())
		e.waitFor("upper", source[0].Seq)
		for i := range uint32(3) { // frame 77 is in the third one
			e.cam.chunk(i, false)
		}
		e.wait("the record is read", func() bool { return bad.Hits() > 0 })
		time.Sleep(time.Minute)
		if n := bad.Hits(); n < 20 || n > 45 {
			t.Errorf("the record is fetched %d times in a minute", n)
		}
		bad.Repair()
		e.cam.chunk(3, false)
		e.cam.chunk(4, true)
		e.waitFor("upper", source[0].Seq+1)
		e.sameAs("upper", e.entries(raw))
		if log := e.lines.String(); strings.Contains(log, "the work begins again") || strings.Count(log, "cannot be decoded") != 1 {
			t.Errorf("the log is\n%s", log)
		}
	})
}
