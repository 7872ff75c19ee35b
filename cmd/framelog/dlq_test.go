package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// picky is a program that fails at each third fragment until the file %q exists.
const picky = `
import os
import framelog

def picky(fragment):
    for frame in fragment:
        pass
    if fragment.seq %% 3 == 0 and not os.path.exists(%q):
        raise ValueError("cannot bear %%d" %% fragment.seq)
    fragment.event("fine", value=fragment.seq)

framelog.run(picky)
`

// TestDeadLetters: fragments at which a processor of up fails can be listed, watched, and
// processed again once the cause is mended. The others are processed meanwhile.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	python := testenv.Python(t, "import numpy", "python3-numpy")
	dir := t.TempDir()
	mended, script := filepath.Join(dir, "mended"), filepath.Join(dir, "picky.py")
	if err := os.WriteFile(script, fmt.Appendf(nil, picky, mended), 0o600); err != nil {
		t.Fatal(err)
	}
	f := testenv.Up(t, testenv.UpOptions{Args: []string{"--demo"}, Config: fmt.Sprintf(`
ingest: {disk_reserve: 0}
processors:
  - name: picky
    kind: exec
    cameras: [demo-harbour]
    attempts: 2
    exec: {command: [%s, %s], size: 64x36, fps: 1}
`, python, script)})
	framelog := func(args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), testenv.Binary(t), append(args, "--config", f.Config())...)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("framelog %v: %v\n%s", args, err, errs.String())
		}
		return out
	}
	var letters []processors.DeadLetter
	f.Wait(t, 2*testenv.Patience, "two dead letters", func() bool {
		if err := json.Unmarshal(framelog("dlq", "list", "picky", "-o", "json"), &letters); err != nil {
			t.Fatal(err)
		}
		return len(letters) >= 2
	})
	for _, l := range letters {
		if l.Camera != "demo-harbour" || l.Seq%3 != 0 || l.Attempts != 2 || !strings.Contains(l.Error, fmt.Sprintf("cannot bear %d", l.Seq)) {
			t.Errorf("%+v", l)
		}
	}

	log, err := medialog.Connect(medialog.Config{Kafka: kafka.Config{Brokers: []string{f.Broker}}}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	seq, one := letters[0].Seq, filepath.Join(dir, "letter.mp4")
	framelog("dlq", "play", "picky", "demo-harbour", fmt.Sprint(seq), "--to", one)
	var want bytes.Buffer
	if err := writeMP4(t.Context(), log, schemas.Topic{Camera: "demo-harbour"}, seq, &want); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(one); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("the footage of %d has %d bytes, the camera's %d (%v)", seq, len(got), want.Len(), err)
	}
	if n := len(testenv.FrameHashes(t, one, testenv.HashOptions{}).Video); n == 0 {
		t.Error("FFmpeg finds no picture in it")
	}

	if err := os.WriteFile(mended, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	framelog("dlq", "redrive", "picky")
	for _, l := range letters {
		if got := fines(t, log, "picky-redriven", l.Seq); got != fmt.Sprint(l.Seq) {
			t.Errorf("redriven %d has %q", l.Seq, got)
		}
		if got := fines(t, log, "picky", l.Seq+1); got != fmt.Sprint(l.Seq+1) {
			t.Errorf("%d, which comes after a dead letter, has %q", l.Seq+1, got)
		}
	}
}

// fines are the values of the events of a fragment of demo-harbour.
func fines(t *testing.T, log *medialog.Log, rendition string, seq uint64) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	topic := schemas.Topic{Camera: "demo-harbour", Rendition: rendition}
	e, err := log.Entry(ctx, topic, seq)
	if err != nil {
		t.Errorf("%s: %v", topic, err)
		return ""
	}
	var all []string
	for c, err := range log.Chunks(ctx, topic, e) {
		if err != nil {
			t.Fatal(err)
		}
		for _, run := range c.Runs {
			for _, s := range run.Samples {
				var d schemas.Data
				if err := json.Unmarshal(s.Data, &d); err != nil {
					t.Fatal(err)
				}
				if d.Event != nil {
					all = append(all, fmt.Sprintf("%.0f", d.Event.Value))
				}
			}
		}
	}
	return strings.Join(all, " ")
}
