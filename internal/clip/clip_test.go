package clip

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

var place = testmedia.Place{Seq: 1_790_000_000, Session: 42, Epoch: 9, Layout: testmedia.Layout, Start: testmedia.Start}

// store is a log with fragments.
type store []testmedia.Fragment

func (s store) Entries(_ context.Context, _ schemas.Topic, r medialog.Range) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		if len(s) == 0 {
			yield(schemas.Entry{}, medialog.ErrNoTopic)
			return
		}
		for _, f := range s {
			if f.Entry.Start.Before(r.To) && f.Entry.End().After(r.From) && !yield(f.Entry, nil) {
				return
			}
		}
	}
}

func (s store) Chunks(_ context.Context, _ schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	i := slices.IndexFunc(s, func(f testmedia.Fragment) bool { return f.Entry.Seq == e.Seq })
	return s[i].All()
}

func at(seconds float64) time.Time {
	return testmedia.Start.Add(time.Duration(seconds * float64(time.Second)))
}

func ignore(int64) {}

// file makes the one file of a range.
func file(t *testing.T, log Log, from, to float64) *File {
	t.Helper()
	clips, err := Plan(t.Context(), log, schemas.Topic{Camera: "cam"}, at(from), at(to))
	if err != nil || len(clips) != 1 {
		t.Fatalf("%v to %v: %d clips, %v", from, to, len(clips), err)
	}
	f, err := clips[0].Prepare(t.Context(), log, ignore)
	if err != nil {
		t.Fatalf("%v to %v: %v", from, to, err)
	}
	return f
}

// content reads all of a file.
func content(t *testing.T, f *File) []byte {
	t.Helper()
	r := f.Reader(t.Context())
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil || int64(len(b)) != f.Size() {
		t.Fatalf("%d bytes, %v; want %d", len(b), err, f.Size())
	}
	return b
}

// What a clip shows are the pictures and the sound of the source between its times, for ranges
// that begin and end inside fragments.
func TestPictures(t *testing.T) {
	const frame = 40 * time.Millisecond
	for name, options := range map[string][]string{"H.264 with B-frames": testmedia.H264BFrames, "H.265": testmedia.H265BFrames, "MJPEG": testmedia.MJPEG} {
		t.Run(name, func(t *testing.T) {
			source := testmedia.MakeClip(t, 6, name != "MJPEG", options...)
			log := store(source.Fragments(place, 5))
			pictures := testmedia.Hashes(t, source.Path, testmedia.Pictures...)
			// The first picture is shown later than it is decoded.
			delay := float64(source.Samples[schemas.VideoTrack][0].PTSOffset) / schemas.MediaTimescale
			for _, c := range [][2]float64{{0, 6}, {1, 3}, {0.96, 1.5}, {1.42, 3.59}, {2.2, 2.48}, {5.86, 6}, {3.02, 3.03}} {
				from, to := c[0]+delay, c[1]+delay
				f := file(t, log, from, to)
				if early, late := at(from).Sub(f.From), f.To.Sub(at(to)); early < 0 || early >= frame || late < 0 || late >= frame {
					t.Errorf("%v: shows %v before it and %v after it", c, early, late)
				}
				path := filepath.Join(t.TempDir(), f.Name())
				if err := os.WriteFile(path, content(t, f), 0o600); err != nil {
					t.Fatal(err)
				}
				got := testmedia.Hashes(t, path, testmedia.Pictures...)
				first, end := int(c[0]*25+0.001), int(c[1]*25+0.999)
				if want := pictures[first:end]; !slices.Equal(got, want) {
					t.Errorf("%v: %d pictures, want %d", c, len(got), len(want))
				}
				if name == "H.264 with B-frames" && c[1]-c[0] > 2 {
					testmedia.CheckGStreamer(t, path, schemas.H264)
				}
				if name != "MJPEG" && c[0] > 0 { // the source's first frame of sound lasts too long
					checkSound(t, source, path, f)
				}
			}
		})
	}
}

// checkSound checks that a file sounds as its source does at the times that it shows.
func checkSound(t *testing.T, source testmedia.Clip, path string, f *File) {
	t.Helper()
	decode := func(args ...string) (all []int16) {
		b := testmedia.FFmpeg(t, append(args, "-map", "0:a", "-f", "s16le", "-")...)
		for ; len(b) > 1; b = b[2:] {
			all = append(all, int16(binary.LittleEndian.Uint16(b)))
		}
		return all
	}
	all, got := decode("-ignore_editlist", "1", "-i", source.Path), decode("-i", path)
	// The first frame of the source lasts longer than its 1024 samples.
	place := func(at time.Time) int {
		return 1024 + int(at.Sub(testmedia.Start).Seconds()*48000+0.5) - int(source.Samples[schemas.AudioTrack][1].DTS)
	}
	want := all[max(0, place(f.From)):min(place(f.To), len(all))]
	if n := len(got) - len(want); n < -1 || n > 1024 {
		t.Errorf("%v to %v: %d samples of sound, want %d", f.From, f.To, len(got), len(want))
	}
	const warm = 2048 // a decoder needs two frames until it is as if it had begun before
	sum, n := 0, 0
	for i := warm; i < min(len(got), len(want)); i++ {
		d := int(got[i]) - int(want[i])
		sum, n = sum+max(d, -d), n+1
	}
	// The tone has an amplitude of 4096. Shifted by one sample it differs by 150.
	if n > 0 && sum/n > 50 {
		t.Errorf("%v to %v: samples of sound differ by %d", f.From, f.To, sum/n)
	}
}

// The segments in a file are those of HLS, and every part of it can be read alone.
func TestBytes(t *testing.T) {
	all := testmedia.Synthetic(place, 6)
	f := file(t, store(all), 1.5, 4.5)
	b := content(t, f)
	var segments []byte
	for _, x := range all[1:5] {
		s, err := cmaf.Segment(x.Entry, x.All())
		if err != nil {
			t.Fatal(err)
		}
		segments = append(segments, bytes.Join(s, nil)...)
	}
	if !bytes.HasSuffix(b, segments) {
		t.Error("the file does not end with the segments")
	}
	r := f.Reader(t.Context())
	defer r.Close()
	if err := iotest.TestReader(r, b); err != nil {
		t.Error(err)
	}
}

// Footage that is not what it was at the first read is an error, and not a broken file.
func TestFootageChanges(t *testing.T) {
	for name, change := range map[string]func(all []testmedia.Fragment){
		"a larger sample at the end": func(all []testmedia.Fragment) {
			s := all[2].Chunks[4].Runs[0].Samples
			s[4].Data = append(slices.Clone(s[4].Data), 0)
		},
		"a smaller sample in one fragment, a larger one in the next": func(all []testmedia.Fragment) {
			s, next := all[0].Chunks[2].Runs[0].Samples, all[1].Chunks[2].Runs[0].Samples
			s[0].Data, next[0].Data = s[0].Data[:7], append(slices.Clone(next[0].Data), 0)
		},
	} {
		all := testmedia.Synthetic(place, 3)
		f := file(t, store(all), 0, 3)
		change(all)
		r := f.Reader(t.Context())
		if _, err := io.Copy(io.Discard, r); !errors.Is(err, errChanged) {
			t.Errorf("%s: %v", name, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestPlan(t *testing.T) {
	all := testmedia.Synthetic(place, 8)
	all[1].Entry = testmedia.GapAt(all[0].Entry, time.Second)
	for i := 3; i < 8; i++ {
		all[i].Entry.Session++
	}
	for i := 6; i < 8; i++ {
		all[i].Entry.Config = "0123456789abcdef"
	}
	for _, c := range []struct {
		from, to float64
		want     string
	}{
		{0.5, 2.5, "0.5-2.5"},
		{0.5, 20, "0.5-3 3-6 6-8"},
		{3.5, 6, "3.5-6"},
		{-5, 0.1, "0-0.1"},
		{1, 2, ""},
		{8, 9, ""},
	} {
		clips, err := Plan(t.Context(), store(all), schemas.Topic{Camera: "cam"}, at(c.from), at(c.to))
		got := ""
		for i, one := range clips {
			if i > 0 {
				got += " "
			}
			got += fmt.Sprintf("%v-%v", one.From.Sub(at(0)).Seconds(), one.To.Sub(at(0)).Seconds())
		}
		if got != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, ErrNone) {
			t.Errorf("%v to %v: %s, %v; want %s", c.from, c.to, got, err, c.want)
		}
	}
	if _, err := Plan(t.Context(), store(nil), schemas.Topic{Camera: "cam"}, at(0), at(1)); !errors.Is(err, ErrNone) {
		t.Errorf("without a topic: %v", err)
	}
}
