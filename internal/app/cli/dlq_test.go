package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/framelog/framelog/processors"
)

// runDLQ runs a subcommand of dlq over these dead letters. redriven are the seqs that
// were processed again.
func runDLQ(t *testing.T, args ...string) (out string, redriven []uint64, err error) {
	t.Helper()
	at := time.Date(2026, 11, 28, 13, 0, 0, 0, time.UTC)
	letter := func(processor, camera string, seq uint64, why string, killed bool) processors.DeadLetter {
		return processors.DeadLetter{
			Processor: processor, Camera: camera, Rendition: "dlq-" + processor, Seq: seq, Start: at.Add(time.Duration(seq) * time.Second),
			Duration: 1040 * time.Millisecond, Bytes: 1234, Attempts: 3, Error: why, Killed: killed,
		}
	}
	all := []processors.DeadLetter{
		letter("people", "gate", 7, "model:\n out of memory", false), letter("people", "gate", 9, "", true), letter("people", "yard", 7, "x", false), letter("plates", "gate", 7, "y", false),
	}
	var b bytes.Buffer
	env := &DLQEnv{
		Out: &b,
		Letters: func(_ context.Context, processor, camera string) ([]processors.DeadLetter, error) {
			if processor == "broken" {
				return nil, errors.New("the log is away")
			}
			some := []processors.DeadLetter{}
			for _, l := range all {
				if (processor == "" || l.Processor == processor) && (camera == "" || l.Camera == camera) {
					some = append(some, l)
				}
			}
			return some, nil
		},
		WriteMP4: func(_ context.Context, l processors.DeadLetter, to io.Writer) error {
			if l.Seq == 9 {
				_, err := io.WriteString(to, "half")
				return errors.Join(err, errors.New("it has expired"))
			}
			_, err := io.WriteString(to, "footage")
			return err
		},
		Redrive: func(_ context.Context, processor string, letters []processors.DeadLetter) (done []processors.DeadLetter, err error) {
			for _, l := range letters {
				if l.Processor != processor {
					t.Errorf("redriven by %s: %+v", processor, l)
				}
				redriven = append(redriven, l.Seq)
				if l.Seq != 9 { // it was redriven before
					done = append(done, l)
				}
			}
			return done, nil
		},
	}
	var cmd DLQCmd
	k, err := kong.New(&cmd, kong.BindTo(t.Context(), (*context.Context)(nil)), kong.Bind(env, &cmd), kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := k.Parse(args)
	if err != nil {
		return "", nil, err
	}
	err = parsed.Run()
	return b.String(), redriven, err
}

func TestDLQ(t *testing.T) {
	for _, tt := range []struct {
		args     string
		want     []string // in the output
		not      string
		err      string
		redriven []uint64
	}{
		{args: "list", want: []string{
			"PROCESSOR  CAMERA  SEQ  START", "people     gate    7    2026-11-28T13:00:07Z  1s      3         model: out of memory\n", "the process ended (it killed its process)", "plates",
		}},
		{args: "list people --camera yard", want: []string{"yard"}, not: "gate"},
		{args: "list faces", want: []string{"no dead letters"}},
		{args: "list broken", err: "the log is away"},
		{args: "show people gate 7", want: []string{"attempts   3\n", "error      model: out of memory\n", "rendition  dlq-people\n"}},
		{args: "show people gate 8", err: `people has no dead letter 8 of camera "gate"`},
		{args: "play people gate 7 --to -", want: []string{"footage"}},
		{args: "redrive people", want: []string{"2 dead letters processed again. 1 had been processed again before.\n"}, redriven: []uint64{7, 9, 7}},
		{args: "redrive people gate", redriven: []uint64{7, 9}},
		{args: "redrive people gate 7", want: []string{"1 dead letter processed again.\n"}, redriven: []uint64{7}},
		{args: "redrive people gate 9 -o json", want: []string{`"redriven": []`}, redriven: []uint64{9}},
		{args: "redrive people gate 8", err: "no dead letter 8"},
	} {
		out, redriven, err := runDLQ(t, strings.Fields(tt.args)...)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v, want %q", tt.args, err, tt.err)
		}
		for _, w := range tt.want {
			if !strings.Contains(out, w) {
				t.Errorf("%s lacks %q:\n%s", tt.args, w, out)
			}
		}
		if tt.not != "" && strings.Contains(out, tt.not) {
			t.Errorf("%s has %q:\n%s", tt.args, tt.not, out)
		}
		if !slices.Equal(redriven, tt.redriven) {
			t.Errorf("%s: %v were processed again, want %v", tt.args, redriven, tt.redriven)
		}
	}
}

// TestDLQJSON: what programs read.
func TestDLQJSON(t *testing.T) {
	for args, n := range map[string]int{"list people -o json": 3, "list faces -o json": 0} {
		out, _, err := runDLQ(t, strings.Fields(args)...)
		var all []processors.DeadLetter
		if err := errors.Join(err, json.Unmarshal([]byte(out), &all)); err != nil || len(all) != n || all == nil {
			t.Errorf("%s: %v\n%s", args, err, out)
		}
	}
	out, _, err := runDLQ(t, "show", "people", "gate", "9", "-o", "json")
	var l processors.DeadLetter
	if err := errors.Join(err, json.Unmarshal([]byte(out), &l)); err != nil || l.Seq != 9 || !l.Killed || l.Duration != 1040*time.Millisecond {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestDLQPlay: a player shows the letter that was asked for.
func TestDLQPlay(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	_, _, err := runDLQ(t, "play", "people", "gate", "7")
	if usage, ok := errors.AsType[*UsageError](err); !ok || !strings.Contains(usage.Remedy, "--to FILE") {
		t.Errorf("without a player: %v", err)
	}
	t.Setenv("TMPDIR", dir)
	script := "#!/bin/sh\nfor file; do :; done\n/bin/cp \"$file\" " + dir + "/seen.mp4\n"
	if err := os.WriteFile(filepath.Join(dir, "mpv"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, err := runDLQ(t, "play", "people", "gate", "7"); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "seen.mp4")); err != nil || string(b) != "footage" {
		t.Errorf("the player has got %q, %v", b, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "framelog-*")); err != nil || len(left) > 0 {
		t.Errorf("footage is left behind: %v, %v", left, err)
	}
}

// TestDLQPlayToFile: a file that exists is not overwritten, and none is left that is not
// whole.
func TestDLQPlayToFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "letter.mp4")
	play := func(seq string) error {
		_, _, err := runDLQ(t, "play", "people", "gate", seq, "--to", path)
		return err
	}
	if err := play("9"); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("a part of a file is left: %v", err)
	}
	if err := play("7"); err != nil {
		t.Error(err)
	}
	if out, _, err := runDLQ(t, "play", "people", "gate", "7", "--to", path+"2", "-o", "json"); err != nil || !strings.Contains(out, `"file": "`+path+`2"`) {
		t.Errorf("%s, %v", out, err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "footage" {
		t.Errorf("%q, %v", b, err)
	}
	var usage *UsageError
	if err := play("7"); !errors.As(err, &usage) {
		t.Errorf("over a file that is there: %v", err)
	}
}
