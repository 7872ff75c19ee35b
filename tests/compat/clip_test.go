// Package compat tests Framelog with cameras and players of other projects. It
// judges by what players show: the number and the time in each picture (see
// camsim.Strip), and hashes of the pictures.
package compat

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/testenv"
)

// piece is a run of pictures that are encoded alike.
type piece struct {
	Codec   string        // "h264" (default), "h265" or "mjpeg"
	Size    string        // default "640x360"
	FPS     int           // default 30
	GOP     time.Duration // from one IDR to the next, default 1 s
	Long    time.Duration // default 10 s
	BFrames int
	Profile string // of H.264, default "high"
	Params  string // more parameters of x264 or x265
}

func (p piece) withDefaults() piece {
	p.Codec = cmp.Or(p.Codec, "h264")
	p.Size = cmp.Or(p.Size, "640x360")
	p.FPS = cmp.Or(p.FPS, 30)
	p.GOP = cmp.Or(p.GOP, time.Second)
	p.Long = cmp.Or(p.Long, 10*time.Second)
	p.Profile = cmp.Or(p.Profile, "high")
	return p
}

func (p piece) frames() int { return int(p.Long * time.Duration(p.FPS) / time.Second) }

// encoder returns the arguments by which ffmpeg encodes the piece.
func (p piece) encoder() []string {
	gop := strconv.Itoa(int(p.GOP * time.Duration(p.FPS) / time.Second))
	params := fmt.Sprintf("keyint=%s:min-keyint=%[1]s:scenecut=0:bframes=%d:b-adapt=0", gop, p.BFrames)
	if !strings.Contains(p.Params, "open-gop") {
		params += ":open-gop=0"
	}
	if p.Params != "" {
		params += ":" + p.Params
	}
	switch p.Codec {
	case "h265":
		return []string{"-c:v", "libx265", "-preset", "ultrafast", "-crf", "26", "-x265-params", "log-level=error:" + params}
	case "mjpeg":
		// RFC 2435 carries no Huffman tables, so they must be the standard ones.
		return []string{"-c:v", "mjpeg", "-huffman", "default", "-q:v", "4", "-strict", "unofficial", "-pix_fmt", "yuvj420p"}
	}
	return []string{"-c:v", "libx264", "-preset", "veryfast", "-crf", "24", "-profile:v", p.Profile, "-x264-params", params}
}

// clip is a file of pictures that are numbered from first on.
type clip struct {
	path   string
	pieces []piece
	first  int           // number of the first picture
	from   time.Duration // its time, as the picture shows it
	again  int           // how often it is sent once more; -1: for ever
}

// before is the stream's time at the first picture: with B-frames a decode time is
// earlier, and must not be negative.
const before = time.Second

// makeClip encodes pieces one after the other into one file, or takes it from the
// cache. The file is an MPEG transport stream: it has parameter sets in band, so
// that they may change. MJPEG, which a transport stream cannot hold, is in
// Matroska.
func makeClip(t *testing.T, first int, from time.Duration, pieces ...piece) clip {
	t.Helper()
	c := clip{first: first, from: from}
	for _, p := range pieces {
		c.pieces = append(c.pieces, p.withDefaults())
	}
	format := "mpegts"
	if c.pieces[0].Codec == "mjpeg" {
		format = "matroska"
	}
	c.path = testenv.CachedFile(t, "compat-"+testenv.Digest(fmt.Sprintf("2 %d %v %+v", first, from, c.pieces))+"."+format, func(path string) error {
		var whole bytes.Buffer
		n, at := first, from
		for _, p := range c.pieces {
			b, err := encode(t, p, n, at, at-from+before, format)
			if err != nil {
				return err
			}
			whole.Write(b)
			n, at = n+p.frames(), at+p.Long
		}
		return os.WriteFile(path, whole.Bytes(), 0o644)
	})
	return c
}

// encode draws a piece's pictures and has ffmpeg encode them. The first has number
// n; its time is at in the picture and offset in the stream.
func encode(t *testing.T, p piece, n int, at, offset time.Duration, format string) ([]byte, error) {
	args := []string{
		"-hide_banner", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p",
		"-video_size", p.Size, "-framerate", strconv.Itoa(p.FPS), "-i", "pipe:0",
	}
	args = append(args, p.encoder()...)
	args = append(args, "-muxdelay", "0", "-muxpreload", "0", "-output_ts_offset", fmt.Sprintf("%.6f", offset.Seconds()), "-f", format)
	if format == "mpegts" {
		args = append(args, "-mpegts_flags", "initial_discontinuity") // pieces are joined byte by byte
	}
	args = append(args, "pipe:1")
	cmd := exec.CommandContext(t.Context(), testenv.Tool(t, "ffmpeg", "ffmpeg"), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	drawn := draw(in, p, n, at)
	if err := cmd.Wait(); err != nil || drawn != nil {
		return nil, fmt.Errorf("ffmpeg: %w, %w\n%s", err, drawn, errs.String())
	}
	return out.Bytes(), nil
}

// draw writes a piece's pictures as yuv420p: bands that move, and a strip with
// number and time.
func draw(w io.WriteCloser, p piece, n int, at time.Duration) error {
	defer w.Close()
	var width, height int
	if _, err := fmt.Sscanf(p.Size, "%dx%d", &width, &height); err != nil {
		return fmt.Errorf("size %q: %w", p.Size, err)
	}
	picture := make([]byte, width*height*3/2)
	for i := range picture[width*height:] {
		picture[width*height+i] = byte(96 + 64*i/(width*height/2))
	}
	for i := range p.frames() {
		number := n + i
		for y := range height {
			row := picture[y*width:][:width]
			for x := range row {
				row[x] = byte(40 + (x+y+4*number)/2%160)
			}
		}
		shown := at + time.Duration(i)*time.Second/time.Duration(p.FPS)
		camsim.Strip{Time: time.UnixMilli(shown.Milliseconds()), Frame: uint32(number)}.Draw(picture, width, width, height)
		if _, err := w.Write(picture); err != nil {
			return err
		}
	}
	return nil
}

// frames returns how many pictures the clip has.
func (c clip) frames() (n int) {
	for _, p := range c.pieces {
		n += p.frames()
	}
	return n
}

// long returns how long it plays.
func (c clip) long() (d time.Duration) {
	for _, p := range c.pieces {
		d += p.Long
	}
	return d
}

// then makes a clip that goes on where this one ends, for another connection.
func (c clip) then(t *testing.T, pieces ...piece) clip {
	t.Helper()
	return makeClip(t, c.first+c.frames(), c.from+c.long(), pieces...)
}

// beeps makes a file of sound: a tone of 1 kHz in the first 100 ms of each second,
// encoded by ffmpeg with args.
func beeps(t *testing.T, long time.Duration, ext string, args ...string) string {
	t.Helper()
	return testenv.CachedFile(t, "beeps-"+testenv.Digest(fmt.Sprintf("1 %v %q", long, args))+"."+ext, func(path string) error {
		all := append([]string{
			"-y", "-f", "lavfi", "-i",
			fmt.Sprintf("aevalsrc='0.4*sin(2*PI*1000*t)*lt(mod(t,1),0.1)':s=48000:d=%.3f", long.Seconds()),
		}, args...)
		return testenv.FFmpeg(t, append(all, path)...)
	})
}
