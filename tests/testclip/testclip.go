// Package testclip makes clips for tests with ffmpeg, and reads decoded frames back
// with it.
package testclip

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// Spec describes a clip.
type Spec struct {
	Video    schemas.Codec // empty: none; else H264, H265 or MJPEG
	Audio    schemas.Codec // empty: none; else AAC, Opus, camsim.PCMU or camsim.PCMA
	BFrames  int
	FPS      int           // defaults to 25
	GOP      int           // pictures; defaults to FPS
	Size     string        // defaults to 320x240
	Duration time.Duration // defaults to 4 s
	// Pattern is ffmpeg's source of pictures. It defaults to testsrc2.
	Pattern string
	// Bitrate of the video as ffmpeg takes it. It defaults to 500k.
	Bitrate string
}

// Make encodes a clip, or takes it from the cache. Without ffmpeg the test is
// skipped.
func Make(t testing.TB, s Spec) *camsim.Clip {
	t.Helper()
	c, _ := MakeFile(t, s)
	return c
}

// MakeFile is [Make], and returns the path of the MP4 file too. The file has
// everything but G.711 sound.
func MakeFile(t testing.TB, s Spec) (*camsim.Clip, string) {
	t.Helper()
	testenv.Tool(t, "ffmpeg", "ffmpeg")
	s.FPS = cmp.Or(s.FPS, 25)
	s.GOP = cmp.Or(s.GOP, s.FPS)
	s.Size = cmp.Or(s.Size, "320x240")
	s.Duration = cmp.Or(s.Duration, 4*time.Second)
	s.Pattern = cmp.Or(s.Pattern, "testsrc2")
	s.Bitrate = cmp.Or(s.Bitrate, "500k")
	args := []string{"-y"}
	d := fmt.Sprintf("%.3f", s.Duration.Seconds())
	if s.Video != "" {
		args = append(args, "-f", "lavfi", "-i", fmt.Sprintf("%s=size=%s:rate=%d:duration=%s", s.Pattern, s.Size, s.FPS, d))
	}
	g711 := s.Audio == camsim.PCMU || s.Audio == camsim.PCMA
	if s.Audio != "" && !g711 {
		args = append(args, "-f", "lavfi", "-i", fmt.Sprintf("sine=frequency=440:beep_factor=4:sample_rate=48000:duration=%s", d))
	}
	if s.Video != "" {
		args = append(args, "-pix_fmt", "yuv420p", "-video_track_timescale", "90000")
	}
	gop, bf := fmt.Sprint(s.GOP), fmt.Sprint(s.BFrames)
	switch s.Video {
	case schemas.H264:
		args = append(args, "-c:v", "libx264", "-preset", "ultrafast", "-g", gop, "-bf", bf, "-sc_threshold", "0", "-b:v", s.Bitrate,
			"-x264-params", "b-adapt=0:open-gop=0")
	case schemas.H265:
		args = append(args, "-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-b:v", s.Bitrate,
			"-x265-params", fmt.Sprintf("log-level=error:keyint=%s:min-keyint=%s:bframes=%s:scenecut=0:open-gop=0:repeat-headers=0", gop, gop, bf))
	case schemas.MJPEG:
		// RFC 2435 carries no Huffman tables, so they must be the standard ones.
		args = append(args, "-c:v", "mjpeg", "-huffman", "default", "-q:v", "5", "-strict", "unofficial", "-pix_fmt", "yuvj420p")
	default: // no video
	}
	switch s.Audio {
	case schemas.AAC:
		args = append(args, "-c:a", "aac", "-b:a", "64k")
	case schemas.Opus:
		args = append(args, "-c:a", "libopus", "-b:a", "48k")
	default: // none, or G.711, which is made below
	}
	var clip *camsim.Clip
	var path string
	if s.Video != "" || !g711 {
		path = testenv.CachedFile(t, "testclip-"+testenv.Digest(args...)+".mp4", func(path string) error {
			return testenv.FFmpeg(t, append(args, path)...)
		})
		var err error
		if clip, err = camsim.LoadMP4(path); err != nil {
			t.Fatal(err)
		}
	}
	if g711 {
		tone := camsim.ToneG711(s.Audio, s.Duration)
		if clip == nil {
			return tone, path
		}
		var err error
		if clip, err = camsim.Join(clip, tone); err != nil {
			t.Fatal(err)
		}
	}
	return clip, path
}

// Frame is one line of ffmpeg's framemd5: a decoded picture or an encoded frame of
// sound.
type Frame struct {
	PTS  string // in the time base that ffmpeg chooses
	Hash string
}

// Frames reads one stream of an input with ffmpeg, which gets the given options
// before -i. It returns the stream's frames in order: decoded pictures for "v",
// encoded frames for "a", because decoders disagree on what to do with the priming.
// An error of ffmpeg after the first frame is ignored: cameras hang up.
func Frames(ctx context.Context, input, stream string, options ...string) ([]Frame, error) {
	args := append([]string{"-hide_banner", "-loglevel", "error"}, options...)
	args = append(args, "-i", input, "-map", "0:"+stream)
	if stream == "v" {
		args = append(args, "-fps_mode", "passthrough")
	} else {
		args = append(args, "-c", "copy")
	}
	args = append(args, "-f", "framemd5", "-")
	cmd := exec.CommandContext(ctx, "ffmpeg", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var frames []Frame
	for sc := bufio.NewScanner(bytes.NewReader(out)); sc.Scan(); {
		f := strings.Split(sc.Text(), ",")
		if strings.HasPrefix(sc.Text(), "#") || len(f) < 6 {
			continue
		}
		frames = append(frames, Frame{PTS: strings.TrimSpace(f[2]), Hash: strings.TrimSpace(f[5])})
	}
	if len(frames) == 0 && err != nil {
		return nil, fmt.Errorf("testclip: ffmpeg: %w: %s", err, stderr.String())
	}
	return frames, nil
}
