package hls

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// clip is a file made by ffmpeg, and its samples as the log has them.
type clip struct {
	path    string
	tracks  []schemas.Track
	samples map[uint8][]schemas.Sample
}

func ffmpeg(t testing.TB, args ...string) []byte {
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

// makeClip makes n seconds of a moving picture (and a tone, with audio) by
// ffmpeg with the encoder options given.
func makeClip(t testing.TB, seconds int, audio bool, video ...string) clip {
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
	ffmpeg(t, append(args, "-movflags", "frag_keyframe+empty_moov+default_base_moof", path)...)
	return readClip(t, path)
}

func readClip(t testing.TB, path string) clip {
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
	c := clip{path: path, samples: map[uint8][]schemas.Sample{}}
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
		case stsd.Mp4a != nil:
			track.Codec, track.Config = schemas.AAC, stsd.Mp4a.Esds.DecConfigDescriptor.DecSpecificInfo.DecConfig
			track.SampleRate, track.Channels = track.Timescale, uint8(stsd.Mp4a.ChannelCount)
		}
		c.tracks = append(c.tracks, track)
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
				track := c.tracks[trackOf(c.tracks, uint8(id))]
				to := track.Timescale
				if track.Codec.Video() {
					to = schemas.MediaTimescale
				}
				scale := func(v int64) int64 { return schemas.Rescale(v, track.Timescale, to) }
				for _, s := range full {
					c.samples[uint8(id)] = append(c.samples[uint8(id)], schemas.Sample{
						DTS: scale(int64(s.DecodeTime)), PTSOffset: int32(scale(int64(s.CompositionTimeOffset))),
						Duration: uint32(scale(int64(s.Dur))), Sync: !track.Codec.Video() || mp4.IsSyncSampleFlags(s.Flags), Data: s.Data,
					})
				}
			}
		}
	}
	for i := range c.tracks {
		if c.tracks[i].Codec.Video() {
			c.tracks[i].Timescale = schemas.MediaTimescale
		}
	}
	return c
}

// fragmentData is a fragment with its entry.
type fragmentData struct {
	chunks []*schemas.Chunk
	entry  schemas.Entry
}

// place says where a clip stands in a log.
type place struct {
	seq, session uint64
	epoch        int64
	layout       schemas.Layout
	start        time.Time // public; media time is the same instant
}

var testStart = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fragments cuts a clip at its keyframes, into chunks of n frames.
func (c clip) fragments(p place, n int) []fragmentData {
	base := schemas.Ticks(time.Duration(p.start.UnixNano()))
	video := c.samples[schemas.VideoTrack]
	audio := c.samples[schemas.AudioTrack]
	var rate uint32
	for _, t := range c.tracks {
		if t.ID == schemas.AudioTrack {
			rate = t.Timescale
		}
	}
	var all []fragmentData
	var f *fragmentData
	for i := 0; i < len(video); {
		if video[i].Sync {
			all = append(all, fragmentData{})
			f = &all[len(all)-1]
			f.entry = schemas.Entry{
				Kind: schemas.KindWhole, Seq: p.seq + uint64(len(all)-1), Session: p.session, Layout: p.layout,
				Config: schemas.ConfigHash(c.tracks), Epoch: p.epoch,
				Media: base + video[i].DTS, Start: p.start.Add(schemas.FromTicks(video[i].DTS)),
			}
		}
		end := i + 1
		for end < len(video) && end-i < n && !video[end].Sync {
			end++
		}
		ch := &schemas.Chunk{
			Epoch: p.epoch, Session: p.session, Layout: p.layout, Seq: f.entry.Seq, Index: uint32(len(f.chunks)),
			Last:  end == len(video) || video[end].Sync,
			Start: p.start.Add(schemas.FromTicks(video[i].DTS)), Captured: p.start.Add(schemas.FromTicks(video[i].DTS)),
		}
		if ch.Index == 0 {
			ch.Tracks = c.tracks
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
		f.chunks = append(f.chunks, ch)
		f.entry.Chunks++
		f.entry.Bytes += int64(ch.Size())
		f.entry.Duration = ch.MediaEnd() - f.entry.Media
		i = end
	}
	return all
}

// layout0 is that of 25 frames a second in chunks of 5.
var layout0 = schemas.Layout{Target: 2, Part: schemas.PartTarget(5, 3600), Video: schemas.H264, Audio: schemas.AAC}

// encoders' options for one-second GOPs.
var (
	h264Plain   = []string{"-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-keyint_min", "25", "-sc_threshold", "0", "-bf", "0"}
	h264BFrames = []string{"-c:v", "libx264", "-preset", "veryfast", "-profile:v", "main", "-g", "25", "-keyint_min", "25", "-sc_threshold", "0", "-bf", "2", "-x264-params", "open-gop=0"}
	h265BFrames = []string{"-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-x265-params", "keyint=25:min-keyint=25:scenecut=0:bframes=2:open-gop=0:log-level=error"}
)
