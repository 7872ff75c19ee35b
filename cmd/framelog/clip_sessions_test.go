package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Eyevinn/mp4ff/mp4"
	"github.com/alecthomas/kong"
	"golang.org/x/sys/unix"

	"github.com/framelog/framelog/internal/app/cli"
	"github.com/framelog/framelog/internal/clip"
	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// cut runs a command on footage.
func cut(t *testing.T, c clipCmd, l clip.Log, stderr io.Writer) error {
	t.Helper()
	c.Camera, c.Rendition = "yard", "raw"
	topic, from, to, err := c.asked(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return c.cut(t.Context(), &kong.Context{Kong: &kong.Kong{Stdout: io.Discard, Stderr: stderr}}, l, topic, from, to)
}

// filesHere returns the names of the files in the current directory.
func filesHere(t *testing.T) string {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// checkClip checks that a file has all pictures and all sound of fragments, and nothing else.
func checkClip(t *testing.T, name string, want []testmedia.Fragment) {
	t.Helper()
	file, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var segments []byte
	samples := map[uint32]uint32{} // by track
	for _, f := range want {
		s, err := cmaf.Segment(f.Entry, f.All())
		if err != nil {
			t.Fatal(err)
		}
		segments = append(segments, bytes.Join(s, nil)...)
		for _, c := range f.Chunks {
			for _, r := range c.Runs {
				samples[uint32(r.Track)] += uint32(len(r.Samples))
			}
		}
	}
	if !bytes.HasSuffix(file, segments) {
		t.Fatalf("%s, of %d bytes, does not end with the segments of its session, %d bytes", name, len(file), len(segments))
	}
	parsed, err := mp4.DecodeFile(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	for _, trak := range parsed.Moov.Traks {
		tables := trak.Mdia.Minf.Stbl
		if n := tables.Stsz.GetNrSamples(); n != samples[trak.Tkhd.TrackID] {
			t.Errorf("%s: track %d has %d samples, want %d", name, trak.Tkhd.TrackID, n, samples[trak.Tkhd.TrackID])
		}
		if first := int(tables.Co64.ChunkOffset[0]); first < len(file)-len(segments) {
			t.Errorf("%s: track %d has samples that are none of its session", name, trak.Tkhd.TrackID)
		}
	}
	if got := parsed.Moov.Mvhd.CreationTimeS(); got != want[0].Entry.Start.Unix() {
		t.Errorf("%s begins at %v, want %v", name, time.Unix(got, 0).UTC(), want[0].Entry.Start)
	}
}

// TestClipOfSessions: a range over changes of session is no clip unless it may be split. The error
// names what to do, and the range of each session, which is one clip each. With --split there is a
// file for each session, with its own samples. The second session goes on where the first one ends,
// as after a hand-over, and the third one begins 10 s later.
func TestClipOfSessions(t *testing.T) {
	t.Chdir(t.TempDir())
	// Public times of cameras have nanoseconds.
	place := testmedia.Place{Seq: 7, Session: 3, Epoch: 9, Layout: testmedia.Layout, Start: testmedia.Start.Add(456_789)}
	var sessions [3][]testmedia.Fragment
	var l shortLog
	for i := range sessions {
		sessions[i] = testmedia.Synthetic(place, 3)
		l.all = append(l.all, sessions[i]...)
		last := sessions[i][2].Entry
		place = testmedia.After(last, place)
		if place.Session++; i == 1 {
			place.Start = place.Start.Add(10 * time.Second)
		}
	}
	command := clipCmd{Out: "x.mp4", From: cli.Time(testmedia.Start.Format(time.RFC3339)), To: cli.Time(testmedia.Start.Add(time.Minute).Format(time.RFC3339))}

	var said strings.Builder
	err := cut(t, command, &l, &said)
	var usage *cli.UsageError
	if !errors.As(err, &usage) || !strings.Contains(usage.What, "holds 3 sessions") || !strings.Contains(usage.Remedy, "--split") {
		t.Fatalf("three sessions: %v", err)
	}
	if said.String() != "" || filesHere(t) != "" {
		t.Errorf("three sessions: it says %q, and leaves %s", said.String(), filesHere(t))
	}
	ranges := regexp.MustCompile(`--from (\S+) --to ([^\s,]+)`).FindAllStringSubmatch(usage.What, -1)
	if len(ranges) != len(sessions) {
		t.Fatalf("%d ranges are named: %s", len(ranges), usage.What)
	}
	for i, r := range ranges {
		if err := cut(t, clipCmd{Out: "one.mp4", From: cli.Time(r[1]), To: cli.Time(r[2])}, &l, io.Discard); err != nil {
			t.Errorf("the range of session %d that the error names: %v", i, err)
			continue
		}
		checkClip(t, "one.mp4", sessions[i])
		if err := os.Remove("one.mp4"); err != nil {
			t.Fatal(err)
		}
	}

	command.Split = true
	if err := cut(t, command, &l, &said); err != nil || filesHere(t) != "x-1.mp4 x-2.mp4 x-3.mp4" {
		t.Fatalf("split: %v; there are %s", err, filesHere(t))
	}
	lines := strings.Split(strings.TrimSpace(said.String()), "\n")
	for i, s := range sessions {
		name := strings.Fields(filesHere(t))[i]
		checkClip(t, name, s)
		if want := name + ": " + shown(s[0].Entry.Start) + " to "; len(lines) != len(sessions) || !strings.HasPrefix(lines[i], want) {
			t.Errorf("it says %q, want a line of each file, as %s", said.String(), want)
		}
	}
}

// brokenLog is a log that has no chunk of its last fragment.
type brokenLog struct{ shortLog }

func (l *brokenLog) Chunks(ctx context.Context, topic schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	if l.at(e.Seq) < len(l.all)-1 {
		return l.shortLog.Chunks(ctx, topic, e)
	}
	return func(yield func(*schemas.Chunk, error) bool) { yield(nil, medialog.ErrExpired) }
}

// terminal opens a terminal. The function closes it and returns what was written to it.
func terminal(t *testing.T) (*os.File, func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { _ = master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan string)
	go func() {
		b, _ := io.ReadAll(master) // it ends with an error once the other end is closed
		read <- string(b)
	}()
	return f, func() string {
		_ = f.Close()
		return <-read
	}
}

// TestClipProgress: a terminal shows each megabyte that is read and then each that is written, up to
// the whole, in a line that is empty again before the last one, or before an error. Without a
// terminal there is the last line alone.
func TestClipProgress(t *testing.T) {
	t.Chdir(t.TempDir())
	l := shortLog{all: testmedia.Synthetic(testmedia.Place{Seq: 7, Session: 3, Epoch: 9, Layout: testmedia.Layout, Start: testmedia.Start}, 3)}
	for i := range l.all {
		for _, c := range l.all[i].Chunks {
			samples := c.Runs[0].Samples
			for j := range samples {
				const nal = 36_000
				samples[j].Data = slices.Concat([]byte{0, 0, nal >> 8, nal & 0xff}, samples[j].Data[4:5], make([]byte, nal-1))
			}
		}
		l.all[i].Entry.Bytes = 900_000
	}
	const empty = "\r\x1b[K"
	read := "\rx.mp4: read 1 of 2 MB\x1b[K\rx.mp4: read 2 of 2 MB\x1b[K" + empty
	written := "\rx.mp4: written 1 of 2 MB\x1b[K\rx.mp4: written 2 of 2 MB\x1b[K" + empty
	last := "x.mp4: 2026-03-01T12:00:00Z to 2026-03-01T12:00:03Z, 2.7 MB"
	for name, c := range map[string]struct {
		log         clip.Log
		shown, file string // on a terminal, and in a file
	}{
		"all of it":     {&l, read + written + last + "\r\n", last + "\n"},
		"it breaks off": {&brokenLog{l}, "\rx.mp4: read 1 of 2 MB\x1b[K" + empty, ""},
	} {
		run := func(stderr io.Writer) {
			t.Helper()
			err := cut(t, clipCmd{Out: "x.mp4", From: "2026-03-01T12:00:00Z", To: "2026-03-01T12:01:00Z"}, c.log, stderr)
			if (err == nil) != (c.file != "") {
				t.Errorf("%s: %v", name, err)
			}
			_ = os.Remove("x.mp4") // there may be none
		}
		screen, seen := terminal(t)
		run(screen)
		// A line may be made empty twice.
		if got := strings.ReplaceAll(seen(), empty+empty, empty); got != c.shown {
			t.Errorf("%s: a terminal shows\n%q, want\n%q", name, got, c.shown)
		}
		file, err := os.Create("stderr")
		if err != nil {
			t.Fatal(err)
		}
		run(file)
		_ = file.Close()
		if got, err := os.ReadFile("stderr"); err != nil || string(got) != c.file {
			t.Errorf("%s: without a terminal it says %q, %v; want %q", name, got, err, c.file)
		}
	}
}
