package testenv

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Clip describes an MP4 file: FFmpeg's moving test pattern, which shows time and
// frame number, and a tone whose frequency rises, so that no two frames are alike.
type Clip struct {
	Codec   string // "h264" (default), "h265" or "mjpeg"
	BFrames int    // between two other frames; 0: none
	Audio   string // "aac", "opus", "" for none
	Size    string // default "640x360"
	FPS     int    // default 30
	Seconds int    // default 10
	GOP     int    // frames from one IDR to the next, default FPS
	OpenGOP bool   // CRA (H.265) or recovery points with leading pictures instead of IDR, but for the first
	KBits   int    // bit rate of the video, 0: by quality

	Restarts bool // restart markers in MJPEG
}

func (c Clip) withDefaults() Clip {
	c.Codec = cmp.Or(c.Codec, "h264")
	c.Size = cmp.Or(c.Size, "640x360")
	c.FPS = cmp.Or(c.FPS, 30)
	c.Seconds = cmp.Or(c.Seconds, 10)
	c.GOP = cmp.Or(c.GOP, c.FPS)
	return c
}

func (c Clip) args() []string {
	a := []string{
		"-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=%s:rate=%d:duration=%d", c.Size, c.FPS, c.Seconds),
	}
	if c.Audio != "" {
		a = append(a, "-f", "lavfi", "-i", fmt.Sprintf("aevalsrc=0.4*sin(2*PI*(200+40*t)*t):s=48000:d=%d", c.Seconds))
	}
	a = append(a, "-pix_fmt", "yuv420p", "-threads", "2")
	open := 0
	if c.OpenGOP {
		open = 1
	}
	switch c.Codec {
	case "h264":
		a = append(a, "-c:v", "libx264", "-preset", "veryfast", "-profile:v", "high",
			"-x264-params", fmt.Sprintf("keyint=%d:min-keyint=%[1]d:scenecut=0:bframes=%d:b-adapt=0:open-gop=%d", c.GOP, c.BFrames, open))
	case "h265":
		a = append(a, "-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1",
			"-x265-params", fmt.Sprintf("log-level=error:keyint=%d:min-keyint=%[1]d:scenecut=0:bframes=%d:b-adapt=0:open-gop=%d", c.GOP, c.BFrames, open))
	case "mjpeg":
		// RTP carries no Huffman tables (RFC 2435).
		a = append(a, "-c:v", "mjpeg", "-huffman", "default", "-q:v", "6", "-pix_fmt", "yuvj420p")
		if c.Restarts {
			a = append(a, "-threads", "4", "-thread_type", "slice") // one marker between slices
		}
	}
	if c.KBits > 0 {
		a = append(a, "-b:v", fmt.Sprintf("%dk", c.KBits))
	}
	switch c.Audio {
	case "aac":
		// Without noise substitution, whose decoded sound depends on where the
		// decoder began.
		a = append(a, "-c:a", "aac", "-b:a", "96k", "-aac_pns", "0")
	case "opus":
		a = append(a, "-c:a", "libopus", "-b:a", "64k")
	}
	return append(a, "-movflags", "+faststart", "-f", "mp4")
}

// File makes the clip, or takes it from the cache, and returns its path.
func (c Clip) File(t testing.TB) string {
	t.Helper()
	args := c.withDefaults().args()
	return CachedFile(t, c.withDefaults().Codec+"-"+Digest(args...)+".mp4", func(path string) error {
		return FFmpeg(t, append(args, "-y", path)...)
	})
}

// FFmpeg runs ffmpeg with these arguments.
func FFmpeg(t testing.TB, args ...string) error {
	t.Helper()
	if out, err := ffmpeg(t, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ffmpeg: %w\n%s", err, out)
	}
	return nil
}

func ffmpeg(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	bin := Tool(t, "ffmpeg", "ffmpeg")
	return exec.CommandContext(t.Context(), bin, append([]string{"-nostdin", "-hide_banner", "-loglevel", "error"}, args...)...)
}

// Hash is one frame (decoded) or packet (copied) that FFmpeg read.
type Hash struct {
	PTS  int64 // in the stream's time base
	Size int
	Sum  string // MD5 of its bytes
}

// Hashes are the frames that FFmpeg read from an input, in their order.
type Hashes struct {
	Video, Audio []Hash
	// The unit of PTS in seconds, as in "1/90000".
	VideoTimeBase, AudioTimeBase string
}

// HashOptions are options of FrameHashes.
type HashOptions struct {
	Input   []string      // options in front of the input, as in "-live_start_index", "0"
	Output  []string      // options after it, as in "-frames:v", "300"
	Copy    bool          // hash packets instead of decoded frames
	Timeout time.Duration // default 3 minutes; what was read until then is returned
	NoAudio bool
	// EditList: the edit lists of a file count, so that only what a player shows is read.
	EditList bool
}

// FrameHashes decodes the first video and the first audio stream of a file or
// URL and returns a hash of each frame. Edit lists are ignored unless o says otherwise, so that audio
// begins with the same frame in a file and over HLS. An input that FFmpeg
// cannot read fails the test; one that ends in the middle does not.
func FrameHashes(t testing.TB, input string, o HashOptions) Hashes {
	t.Helper()
	o.Timeout = cmp.Or(o.Timeout, 3*Patience)
	args := append([]string{}, o.Input...)
	if strings.HasSuffix(input, ".mp4") && !strings.Contains(input, "://") && !o.EditList {
		args = append(args, "-ignore_editlist", "1")
	}
	args = append(args, "-i", input, "-map", "0:v:0?")
	if !o.NoAudio {
		args = append(args, "-map", "0:a:0?")
	}
	if o.Copy {
		args = append(args, "-c", "copy", "-copyts")
	} else {
		args = append(args, "-fps_mode", "passthrough")
	}
	args = append(args, o.Output...)
	args = append(args, "-f", "framehash", "-hash", "md5", "-")
	cmd := ffmpeg(t, args...)
	ctx, cancel := context.WithTimeout(t.Context(), o.Timeout)
	defer cancel()
	var out, errs bytes.Buffer
	timed := exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...)
	timed.Stdout, timed.Stderr = &out, &errs
	timed.Cancel = func() error { return timed.Process.Signal(os.Interrupt) } // flushes what it has
	timed.WaitDelay = 5 * time.Second
	err := timed.Run()
	h, perr := ParseHashes(out.Bytes())
	if perr != nil || (len(h.Video) == 0 && len(h.Audio) == 0) {
		t.Fatalf("testenv: read frames of %s: %v, %v\n%s", input, err, perr, errs.String())
	}
	if errs.Len() > 0 {
		t.Logf("what ffmpeg printed on %s:\n%s", input, errs.String())
	}
	return h
}

// ParseHashes reads FFmpeg's framehash format: comments that describe the streams,
// then "stream, dts, pts, duration, size, hash".
func ParseHashes(b []byte) (Hashes, error) {
	var h Hashes
	audio := map[string]bool{}
	s := bufio.NewScanner(bytes.NewReader(b))
	for s.Scan() {
		line := s.Text()
		if rest, ok := strings.CutPrefix(line, "#media_type "); ok {
			id, kind, _ := strings.Cut(rest, ": ")
			audio[id] = kind == "audio"
			continue
		}
		if rest, ok := strings.CutPrefix(line, "#tb "); ok {
			id, tb, _ := strings.Cut(rest, ": ")
			// Some versions write time bases before media types.
			if id == "0" {
				h.VideoTimeBase = tb
			} else {
				h.AudioTimeBase = tb
			}
			continue
		}
		if strings.HasPrefix(line, "#") || line == "" {
			continue
		}
		f := strings.Split(line, ",")
		if len(f) < 6 {
			return h, fmt.Errorf("framehash line %q", line)
		}
		for i := range f {
			f[i] = strings.TrimSpace(f[i])
		}
		pts, err1 := strconv.ParseInt(f[2], 10, 64)
		size, err2 := strconv.Atoi(f[4])
		if err1 != nil || err2 != nil {
			return h, fmt.Errorf("framehash line %q", line)
		}
		x := Hash{PTS: pts, Size: size, Sum: f[5]}
		if audio[f[0]] {
			h.Audio = append(h.Audio, x)
		} else {
			h.Video = append(h.Video, x)
		}
	}
	if len(h.Video) == 0 {
		h.AudioTimeBase, h.VideoTimeBase = h.VideoTimeBase, ""
	}
	return h, s.Err()
}

// Probed is what ffprobe prints on an input.
type Probed struct {
	Streams []ProbedStream `json:"streams"`
	Format  struct {
		StartTime string `json:"start_time"` // in seconds
	} `json:"format"`
}

// ProbedStream is one stream of it.
type ProbedStream struct {
	CodecType  string `json:"codec_type"`
	StartTime  string `json:"start_time"` // in seconds
	CodecName  string `json:"codec_name"`
	Profile    string `json:"profile"`
	Width      int    `json:"width"`
	Height     int    `json:"height"`
	HasBFrames int    `json:"has_b_frames"`
	SampleRate string `json:"sample_rate"`
	Frames     string `json:"nb_read_packets"`
	Aspect     string `json:"sample_aspect_ratio"` // of a pixel, as "16:11"
	FieldOrder string `json:"field_order"`
}

// Probe asks ffprobe about a file or URL, and counts its packets.
func Probe(t testing.TB, input string) Probed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), Tool(t, "ffprobe", "ffmpeg"), "-v", "error", "-count_packets",
		"-show_streams", "-show_format", "-of", "json", input)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("testenv: probe %s: %v", input, err)
	}
	var p Probed
	if err := json.Unmarshal(out, &p); err != nil {
		t.Fatalf("testenv: probe %s: %v", input, err)
	}
	return p
}

// Stream returns the first stream of a kind, "video" or "audio".
func (p Probed) Stream(kind string) (ProbedStream, bool) {
	for _, s := range p.Streams {
		if s.CodecType == kind {
			return s, true
		}
	}
	return ProbedStream{}, false
}
