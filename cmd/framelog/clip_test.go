package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/clip"
	"github.com/framelog/framelog/internal/fsync"
)

// TestClipWithoutPictures: a clip of which no picture is shown has no file and no number. If there is
// no other one, that is an error.
func TestClipWithoutPictures(t *testing.T) {
	c := &clipCmd{Camera: "yard", Rendition: "raw", Out: "x.mp4", Split: true}
	var names []string
	write := func(one *clip.Clip, name string) error {
		if one == nil {
			return clip.ErrNone
		}
		names = append(names, name)
		return nil
	}
	if err := c.writeAll([]*clip.Clip{{}, nil, {}}, write); err != nil || strings.Join(names, " ") != "x-1.mp4 x-2.mp4" {
		t.Errorf("%v: %q", err, names)
	}
	if err := c.writeAll([]*clip.Clip{nil}, write); !errors.Is(err, clip.ErrNone) {
		t.Errorf("no picture at all: %v", err)
	}
	broken := errors.New("the log has gone")
	if err := c.writeAll([]*clip.Clip{{}}, func(*clip.Clip, string) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("broken: %v", err)
	}
}

// TestWriteFile: a file is there as a whole or not at all, and none is replaced.
func TestWriteFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "clip.mp4")
	text := func(s string, err error) func(io.Writer) error {
		return func(w io.Writer) error {
			if _, err := io.WriteString(w, s); err != nil {
				return err
			}
			if _, err := os.Lstat(name); err == nil && s != "other" {
				t.Error("the file is there before it is whole")
			}
			return err
		}
	}
	left := func() string {
		files, err := filepath.Glob(filepath.Join(filepath.Dir(name), "*"))
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, filepath.Base(f)+" "+string(b))
		}
		return strings.Join(all, ", ")
	}
	broken := errors.New("the log has gone")
	if err := writeFile(name, text("half", broken)); !errors.Is(err, broken) || left() != "" {
		t.Errorf("broken: %v, leaves %s", err, left())
	}
	if err := writeFile(name, text("whole", nil)); err != nil || left() != "clip.mp4 whole" {
		t.Errorf("whole: %v, leaves %s", err, left())
	}
	if err := writeFile(name, text("other", nil)); err == nil || left() != "clip.mp4 whole" {
		t.Errorf("again: %v, leaves %s", err, left())
	}
	other := filepath.Join(filepath.Dir(name), "other.mp4")
	if err := os.WriteFile(other+".part", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(other, text("other", nil)); err == nil || left() != "clip.mp4 whole, other.mp4.part " {
		t.Errorf("another command writes it: %v, leaves %s", err, left())
	}
}

// TestWriteFileIsDurable: the directory of the file is synced when the file has its name, and an error of
// that is told.
func TestWriteFileIsDurable(t *testing.T) {
	name, failed := filepath.Join(t.TempDir(), "clip.mp4"), errors.New("the disk is gone")
	var synced []string
	syncDir = func(dir string) error {
		if b, err := os.ReadFile(name); err == nil && string(b) == "whole" {
			synced = append(synced, dir)
		}
		return failed
	}
	t.Cleanup(func() { syncDir = fsync.Dir })
	err := writeFile(name, func(w io.Writer) error { _, err := io.WriteString(w, "whole"); return err })
	if !errors.Is(err, failed) || !slices.Equal(synced, []string{filepath.Dir(name)}) {
		t.Errorf("%v; synced with the file in it: %v", err, synced)
	}
}

// TestClipArguments: wrong arguments are told before anything is read.
func TestClipArguments(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		cmd  clipCmd
		want string // in the error; "": none
	}{
		{clipCmd{Camera: "yard", Rendition: "raw", From: "-10m", Out: "f.mp4"}, ""},
		{clipCmd{Camera: "yard", Rendition: "720p", From: "2026-03-01T11:00:00Z", To: "-30m", Out: "-"}, ""},
		{clipCmd{Camera: "Yard", Rendition: "raw", From: "-10m", Out: "f.mp4"}, "Yard"},
		{clipCmd{Camera: "yard", Rendition: "index", From: "-10m", Out: "f.mp4"}, "index"},
		{clipCmd{Camera: "yard", Rendition: "raw", From: "noon", Out: "f.mp4"}, `--from: "noon" is no time`},
		{clipCmd{Camera: "yard", Rendition: "raw", From: "-10m", To: "noon", Out: "f.mp4"}, `--to: "noon" is no time`},
		{clipCmd{Camera: "yard", Rendition: "raw", From: "-10m", To: "-20m", Out: "f.mp4"}, "--from is not before --to"},
		{clipCmd{Camera: "yard", Rendition: "raw", From: "-10m", Out: "-", Split: true}, "--split needs the name of a file"},
	} {
		_, _, _, err := c.cmd.asked(now)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.cmd, err, c.want)
		}
	}
	if got := numbered("a.b/clip.mp4", 3); got != "a.b/clip-3.mp4" {
		t.Errorf("the third file is %s", got)
	}
}
