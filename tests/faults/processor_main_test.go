package faults

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// processorVariable is the environment variable that makes this test binary a processor:
// processorConfig as JSON.
const processorVariable = "FRAMELOG_TEST_PROCESSOR"

type processorConfig struct {
	Brokers  []string
	Instance string
	Poisoned bool // words of poison in a fragment have their effect
}

// processorMain runs a processor, and ends the process, if processorVariable is set.
func processorMain() {
	v, ok := os.LookupEnv(processorVariable)
	if !ok {
		return
	}
	var cfg processorConfig
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	err := json.Unmarshal([]byte(v), &cfg)
	if err == nil {
		var r *processors.Runner
		if r, err = cfg.runner(); err == nil {
			err = r.Run(ctx)
		}
	}
	if err != nil {
		slog.Error("the processor has ended", "err", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func (c processorConfig) runner() (*processors.Runner, error) {
	p := processors.Processor{
		Name: "faults", Process: process, Concurrency: 3, Outputs: []processors.Rendition{processors.Variant("made"), processors.Data("found")},
		Deadline: 2 * time.Second, HangTimeout: time.Second,
	}
	if c.Poisoned {
		p.Process = poisoned
	}
	return processors.NewRunner(p, processors.Config{
		Brokers: c.Brokers, Instance: c.Instance, SessionTimeout: 6 * time.Second, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
}

// madeOf is what the processor makes of a sample.
func madeOf(b []byte) []byte { return append([]byte("made of "), b...) }

// process changes each sample, and tells an event with the hash of all of them.
func process(ctx context.Context, in *processors.Fragment, out *processors.Output) error {
	var all []*schemas.Chunk
	for c, err := range in.Chunks(ctx) {
		if err != nil {
			return err
		}
		d := *c
		d.Runs = slices.Clone(c.Runs)
		for i, r := range d.Runs {
			d.Runs[i].Samples = slices.Clone(r.Samples)
			for n, s := range r.Samples {
				d.Runs[i].Samples[n].Data = madeOf(s.Data)
			}
		}
		all = append(all, &d)
		if err := out.Write(ctx, &d); err != nil {
			return err
		}
	}
	h := hashOf(all, same)
	data, err := json.Marshal(hex.EncodeToString(h[:]))
	if err != nil {
		return err
	}
	return out.Event(ctx, schemas.Event{Type: "made", Data: data})
}

// The words of poison.
const (
	poisonKill  = "poison-kill"
	poisonHang  = "poison-hang"
	poisonPanic = "poison-panic"
	poisonError = "poison-error"
)

// poisoned is process, but does what the words in a fragment say.
func poisoned(ctx context.Context, in *processors.Fragment, out *processors.Output) error {
	for c, err := range in.Chunks(ctx) {
		if err != nil {
			return err
		}
		data := c.Video()[0].Data
		switch {
		case bytes.Contains(data, []byte(poisonKill)):
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		case bytes.Contains(data, []byte(poisonHang)):
			select {}
		case bytes.Contains(data, []byte(poisonPanic)):
			panic("poisoned")
		case bytes.Contains(data, []byte(poisonError)):
			return errors.New("poisoned")
		}
	}
	return process(ctx, in, out)
}

// Fragments that kill their process, hang, panic and return an error become dead letters
// with their footage, and stop nothing: all others are in the output. A processor without
// the fault makes of the dead letters what it would have made before.
func TestPoison(t *testing.T) {
	testenv.Long(t)
	t.Parallel()
	brokers, _ := ownBroker(t)
	c := newProcessed(t, brokers)
	for _, name := range []string{"one", "two"} {
		c.supervise(t, name, func(cfg *processorConfig) { cfg.Poisoned = true })
	}
	c.grown(t, 2)
	words := []string{poisonKill, poisonHang, poisonPanic, poisonError}
	for _, word := range words {
		c.poison <- word
	}
	letters := schemas.Topic{Camera: c.camera.Camera, Rendition: "dlq-faults"}
	testenv.Wait(t, 20*testenv.Patience, "four dead letters", func() bool { return len(c.entriesOf(t, letters)) == len(words) })
	c.grown(t, 3)

	dead, err := processors.DeadLetters(t.Context(), processors.Config{Brokers: brokers}, "faults", "")
	if err != nil {
		t.Fatal(err)
	}
	checkLetters(t, dead)
	c.checkPoisoned(t, dead)

	healthy, err := processorConfig{Brokers: brokers}.runner()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time nothing is left to do
		if _, err := healthy.Redrive(t.Context(), dead...); err != nil {
			t.Fatal(err)
		}
	}
	redriven := c.entriesOf(t, schemas.Topic{Camera: c.camera.Camera, Rendition: "made-redriven"})
	if len(redriven) != len(dead) {
		t.Fatalf("%d fragments are redriven, want %d", len(redriven), len(dead))
	}
	for _, e := range redriven {
		c.compare(t, schemas.Topic{Camera: c.camera.Camera, Rendition: "made-redriven"}, e.Seq, same)
	}
}

// supervise starts a process, and starts it again whenever it ends.
func (c *processed) supervise(t *testing.T, name string, change func(*processorConfig)) {
	t.Helper()
	p := c.start(t, name, change)
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-p.Done():
				p = c.start(t, name, change)
			case <-done:
				return
			}
		}
	}()
	t.Cleanup(func() { close(done); <-ended })
}

func checkLetters(t *testing.T, dead []processors.DeadLetter) {
	t.Helper()
	var reasons []string
	for _, d := range dead {
		reason := d.Error
		if d.Killed {
			reason = "killed"
		}
		reasons = append(reasons, reason)
	}
	all := strings.Join(reasons, "; ")
	for _, want := range []string{"killed", "panic: poisoned", "; poisoned"} {
		if !strings.Contains("; "+all, want) {
			t.Errorf("the reasons of the dead letters are %q, want one with %q", all, want)
		}
	}
	fmt.Printf("the reasons of the dead letters: %s\n", all)
}

// checkPoisoned checks that the output has each fragment once, in order, and gaps for the
// dead letters alone, which have the camera's footage.
func (c *processed) checkPoisoned(t *testing.T, dead []processors.DeadLetter) {
	t.Helper()
	all := c.entriesOf(t, c.made)
	for i, e := range all {
		if i > 0 && e.Seq != all[i-1].Seq+1 {
			t.Errorf("seq %d follows %d", e.Seq, all[i-1].Seq)
		}
		at := slices.IndexFunc(dead, func(d processors.DeadLetter) bool { return d.Seq == e.Seq })
		switch {
		case at < 0:
			c.compare(t, c.made, e.Seq, same)
		case e.Reason != schemas.ReasonDeadLetter:
			t.Errorf("seq %d, a dead letter, is %s (%s) in the output", e.Seq, e.Kind, e.Reason)
		default:
			letter := schemas.Topic{Camera: c.camera.Camera, Rendition: dead[at].Rendition}
			c.compare(t, letter, e.Seq, madeOf)
		}
	}
}

// compare compares what change makes of a fragment in a topic with what the processor makes
// of the camera's.
func (c *processed) compare(t *testing.T, topic schemas.Topic, seq uint64, change func([]byte) []byte) {
	t.Helper()
	e, err := c.log.Entry(t.Context(), topic, seq)
	if err != nil {
		t.Fatal(err)
	}
	got, err := fragmentOf(t.Context(), c.log, topic, e, change)
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if want := c.source[seq]; got != want {
		t.Errorf("%s: seq %d is %s (%s) with %x, want %s (%s) with %x", topic, seq, got.kind, got.reason, got.hash[:4], want.kind, want.reason, want.hash[:4])
	}
}
