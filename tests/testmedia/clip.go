// Package testmedia makes fragments of the log for tests: of clips that ffmpeg
// encodes, and of frames that no decoder takes.
package testmedia

import (
	"bytes"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// Clip is a file that ffmpeg made, and its samples as the log has them.
type Clip struct {
	Path    string
	Tracks  []schemas.Track
	Samples map[uint8][]schemas.Sample
}

// FFmpeg runs ffmpeg and gives its standard output. The test is skipped where
// there is no ffmpeg.
func FFmpeg(t testing.TB, args ...string) []byte {
	t.Helper()
	testenv.Tool(t, "ffmpeg", "ffmpeg")
	cmd := exec.CommandContext(t.Context(), "ffmpeg", append([]string{"-v", "error", "-nostdin", "-y"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("ffmpeg %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.Bytes()
}

// MakeClip makes a clip of a moving picture, and of a tone where audio is true.
// video is ffmpeg's options of the encoder.
func MakeClip(t testing.TB, seconds int, audio bool, video ...string) Clip {
	t.Helper()
	path := filepath.Join(t.TempDir(), "clip.mp4")
	args := []string{"-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"}
	if audio {
		args = append(args, "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000")
	}
	args = append(args, "-t", fmt.Sprint(seconds), "-pix_fmt", "yuv420p", "-threads", "1")
	args = append(args, video...)
	if audio {
		args = append(args, "-c:a", "aac", "-b:a", "64k")
	}
	FFmpeg(t, append(args, "-movflags", "frag_keyframe+empty_moov+default_base_moof", path)...)
	return readClip(t, path)
}

// CopyClip makes a clip of a file of H.264 or H.265, without encoding it again. args are
// ffmpeg's options of the output.
func CopyClip(t testing.TB, file string, args ...string) Clip {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy.mp4")
	args = append([]string{"-i", file, "-c", "copy"}, args...)
	FFmpeg(t, append(args, "-movflags", "frag_keyframe+empty_moov+default_base_moof", path)...)
	return readClip(t, path)
}

func readClip(t testing.TB, path string) Clip {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	parsed, err := mp4.DecodeFile(f)
	if err != nil {
		t.Fatal(err)
	}
	c := Clip{Path: path, Samples: map[uint8][]schemas.Sample{}}
	for _, trak := range parsed.Init.Moov.Traks {
		track := schemas.Track{ID: uint8(trak.Tkhd.TrackID), Timescale: trak.Mdia.Mdhd.Timescale}
		stsd := trak.Mdia.Minf.Stbl.Stsd
		body := func(b mp4.Box) []byte {
			var buf bytes.Buffer
			if err := b.Encode(&buf); err != nil {
				t.Fatal(err)
			}
			return buf.Bytes()[8:]
		}
		switch {
		case stsd.AvcX != nil:
			track.Codec, track.Config = schemas.H264, body(stsd.AvcX.AvcC)
			track.Width, track.Height = stsd.AvcX.Width, stsd.AvcX.Height
		case stsd.HvcX != nil:
			track.Codec, track.Config = schemas.H265, body(stsd.HvcX.HvcC)
			track.Width, track.Height = stsd.HvcX.Width, stsd.HvcX.Height
		case stsd.Children[0].Type() == "mp4v": // see cmaf.Init
			track.Codec = schemas.MJPEG
			track.Width, track.Height = uint16(trak.Tkhd.Width>>16), uint16(trak.Tkhd.Height>>16)
		case stsd.Mp4a != nil:
			track.Codec, track.Config = schemas.AAC, stsd.Mp4a.Esds.DecConfigDescriptor.DecSpecificInfo.DecConfig
			track.SampleRate, track.Channels = track.Timescale, uint8(stsd.Mp4a.ChannelCount)
		}
		c.Tracks = append(c.Tracks, track)
	}
	for _, seg := range parsed.Segments {
		for _, frag := range seg.Fragments {
			for _, traf := range frag.Moof.Trafs {
				id := traf.Tfhd.TrackID
				trex, _ := parsed.Init.Moov.Mvex.GetTrex(id)
				one := *frag
				moof := *frag.Moof
				moof.Traf, moof.Trafs = traf, []*mp4.TrafBox{traf}
				one.Moof = &moof
				full, err := one.GetFullSamples(trex)
				if err != nil {
					t.Fatal(err)
				}
				track := c.Tracks[slices.IndexFunc(c.Tracks, func(t schemas.Track) bool { return t.ID == uint8(id) })]
				to := track.Timescale
				if track.Codec.Video() {
					to = schemas.MediaTimescale
				}
				scale := func(v int64) int64 { return schemas.Rescale(v, track.Timescale, to) }
				for _, s := range full {
					c.Samples[uint8(id)] = append(c.Samples[uint8(id)], schemas.Sample{
						DTS: scale(int64(s.DecodeTime)), PTSOffset: int32(scale(int64(s.CompositionTimeOffset))),
						Duration: uint32(scale(int64(s.Dur))), Sync: !track.Codec.Video() || mp4.IsSyncSampleFlags(s.Flags), Data: s.Data,
					})
				}
			}
		}
	}
	for i := range c.Tracks {
		if c.Tracks[i].Codec.Video() {
			c.Tracks[i].Timescale = schemas.MediaTimescale
		}
	}
	return c
}

// Fragment is a fragment with its entry.
type Fragment struct {
	Chunks []*schemas.Chunk
	Entry  schemas.Entry
}

// All gives the chunks as a store does.
func (f Fragment) All() iter.Seq2[*schemas.Chunk, error] {
	return func(yield func(*schemas.Chunk, error) bool) {
		for _, c := range f.Chunks {
			if !yield(c, nil) {
				return
			}
		}
	}
}

// Place is where a clip begins in a log.
type Place struct {
	Seq, Session uint64
	Epoch        int64
	Layout       schemas.Layout
	Start        time.Time // public; media time is the same instant
}

// Start is when the clips of tests begin.
var Start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Fragments cuts a clip at its keyframes, into chunks of n frames.
func (c Clip) Fragments(p Place, n int) []Fragment {
	base := schemas.Ticks(time.Duration(p.Start.UnixNano()))
	video := c.Samples[schemas.VideoTrack]
	audio := c.Samples[schemas.AudioTrack]
	var rate uint32
	for _, t := range c.Tracks {
		if t.ID == schemas.AudioTrack {
			rate = t.Timescale
		}
	}
	var all []Fragment
	var f *Fragment
	for i := 0; i < len(video); {
		if video[i].Sync {
			all = append(all, Fragment{})
			f = &all[len(all)-1]
			f.Entry = schemas.Entry{
				Kind: schemas.KindWhole, Seq: p.Seq + uint64(len(all)-1), Session: p.Session, Layout: p.Layout,
				Config: schemas.ConfigHash(c.Tracks), Epoch: p.Epoch,
				Media: base + video[i].DTS, Start: p.Start.Add(schemas.FromTicks(video[i].DTS)),
			}
		}
		end := i + 1
		for end < len(video) && end-i < n && !video[end].Sync {
			end++
		}
		ch := &schemas.Chunk{
			Epoch: p.Epoch, Session: p.Session, Layout: p.Layout, Seq: f.Entry.Seq, Index: uint32(len(f.Chunks)),
			Last:  end == len(video) || video[end].Sync,
			Start: p.Start.Add(schemas.FromTicks(video[i].DTS)), Captured: p.Start.Add(schemas.FromTicks(video[i].DTS)),
		}
		if ch.Index == 0 {
			ch.Tracks = c.Tracks
		}
		run := schemas.Run{Track: schemas.VideoTrack}
		for _, s := range video[i:end] {
			s.DTS += base
			run.Samples = append(run.Samples, s)
		}
		ch.Runs = append(ch.Runs, run)
		until := video[end-1].DTS + int64(video[end-1].Duration)
		run = schemas.Run{Track: schemas.AudioTrack}
		for len(audio) > 0 && (end == len(video) || schemas.Rescale(audio[0].DTS, rate, schemas.MediaTimescale) < until) {
			s := audio[0]
			s.DTS += schemas.Rescale(base, schemas.MediaTimescale, rate)
			run.Samples = append(run.Samples, s)
			audio = audio[1:]
		}
		if len(run.Samples) > 0 {
			ch.Runs = append(ch.Runs, run)
		}
		f.Chunks = append(f.Chunks, ch)
		f.Entry.Chunks++
		f.Entry.Bytes += int64(ch.Size())
		f.Entry.Duration = ch.MediaEnd() - f.Entry.Media
		i = end
	}
	return all
}

// Layout is that of 25 frames a second in chunks of 5.
var Layout = schemas.Layout{Target: 2, Part: schemas.PartTarget(5, 3600), Video: schemas.H264, Audio: schemas.AAC}

// Options of encoders for GOPs of one second.
var (
	H264Plain   = []string{"-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-keyint_min", "25", "-sc_threshold", "0", "-bf", "0"}
	H264BFrames = []string{"-c:v", "libx264", "-preset", "veryfast", "-profile:v", "main", "-g", "25", "-keyint_min", "25", "-sc_threshold", "0", "-bf", "2", "-x264-params", "open-gop=0"}
	H265BFrames = []string{"-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-x265-params", "keyint=25:min-keyint=25:scenecut=0:bframes=2:open-gop=0:log-level=error"}
	MJPEG       = []string{"-c:v", "mjpeg", "-q:v", "3", "-pix_fmt", "yuvj420p"}
)

// Options of ffmpeg for [Hashes]: the decoded pictures, and the packets of sound.
var (
	Pictures = []string{"-map", "0:v", "-c:v", "rawvideo", "-fps_mode", "passthrough"}
	Sound    = []string{"-map", "0:a", "-c", "copy"}
)

// Hashes gives the hashes of the frames or packets of a file or URL, in order.
func Hashes(t testing.TB, url string, args ...string) []string {
	t.Helper()
	in := []string{"-i", url}
	if strings.HasPrefix(url, "http") {
		// A live playlist from its first segment, until it stands still.
		in = append([]string{"-live_start_index", "0", "-max_reload", "3", "-m3u8_hold_counters", "3"}, in...)
	}
	out := FFmpeg(t, append(append(in, args...), "-f", "framemd5", "-")...)
	var all []string
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(strings.TrimSpace(line), ",")
		all = append(all, strings.TrimSpace(fields[len(fields)-1]))
	}
	return all
}
