package compat

import (
	"bufio"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/testenv"
)

// Decoders give each picture in gray at this size.
const (
	seenWidth, seenHeight = 320, 180
	seenSize              = "320x180"
)

// seen is one picture that a player showed.
type seen struct {
	At    time.Time
	Frame int           // the number that the picture shows; -1 if it cannot be read
	Shown time.Duration // the time that the picture shows
	Hash  string        // of the whole picture, if the player is a program
}

// decoder is a player without a screen: a program whose pictures are read.
type decoder struct {
	name string
	proc *testenv.Process

	mu  sync.Mutex
	all []seen
}

func (d *decoder) seen() []seen {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]seen(nil), d.all...)
}

// read takes pictures until in ends: gray ones of the one size, or with y4m as
// their header describes them.
func (d *decoder) read(in io.Reader, y4m bool) {
	r := bufio.NewReaderSize(in, 1<<20)
	width, height := seenWidth, seenHeight
	rest := 0 // bytes of the colours, which are skipped
	b := make([]byte, width*height)
	for {
		if y4m {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if strings.HasPrefix(line, "YUV4MPEG2 ") {
				if _, err := fmt.Sscanf(line, "YUV4MPEG2 W%d H%d ", &width, &height); err != nil {
					return
				}
				b, rest = make([]byte, width*height), 2*((width+1)/2)*((height+1)/2)
				continue
			}
		}
		if _, err := io.ReadFull(r, b); err != nil {
			return
		}
		if _, err := r.Discard(rest); err != nil {
			return
		}
		d.take(b, width, height)
	}
}

func (d *decoder) take(luma []byte, width, height int) {
	s := seen{At: time.Now(), Frame: -1}
	sum := md5.Sum(luma)
	s.Hash = hex.EncodeToString(sum[:8])
	if strip, err := camsim.ReadStrip(luma, width, width, height); err == nil {
		s.Frame, s.Shown = int(strip.Frame), time.Duration(strip.Time.UnixMilli())*time.Millisecond
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, s)
}

const toGray = "scale=" + seenSize + ":flags=area,format=gray"

// decoders are the commands of the programs, by name. Each gets a URL, and a pipe
// to which it writes its pictures.
var decoders = map[string]func(t *testing.T, url, pipe string) *exec.Cmd{
	"ffmpeg": func(t *testing.T, url, pipe string) *exec.Cmd {
		return exec.CommandContext(t.Context(), testenv.Tool(t, "ffmpeg", "ffmpeg"), "-nostdin", "-hide_banner", "-loglevel", "warning",
			"-i", url, "-map", "0:v:0", "-fps_mode", "passthrough", "-vf", toGray, "-f", "rawvideo", "-y", pipe)
	},
	"mpv": func(t *testing.T, url, pipe string) *exec.Cmd {
		return exec.CommandContext(t.Context(), testenv.Tool(t, "mpv", "mpv"), "--no-config", "--no-input-terminal", "--msg-level=all=warn", "--no-audio",
			"--vf=lavfi=["+toGray+"]", "--of=rawvideo", "--ovc=rawvideo", "--o="+pipe, url)
	},
	"VLC": func(t *testing.T, url, pipe string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), testenv.Tool(t, "cvlc", "vlc-bin"), "-I", "dummy", "--no-audio", "--no-osd", "--no-spu",
			"--vout", "yuv", "--yuv-yuv4mpeg2", "--yuv-file", pipe, url)
		testenv.AsAnybody(t, cmd)
		return cmd
	},
	"GStreamer": func(t *testing.T, url, pipe string) *exec.Cmd {
		return exec.CommandContext(t.Context(), testenv.Tool(t, "gst-launch-1.0", "gstreamer1.0-tools"), "-q", "playbin3", "uri="+url, "flags=video",
			fmt.Sprintf("video-sink=videoconvert ! videoscale ! video/x-raw,format=GRAY8,width=%d,height=%d ! filesink sync=true buffer-mode=unbuffered location=%s", seenWidth, seenHeight, pipe))
	},
}

// startDecoder has a program play url.
func startDecoder(t *testing.T, name, url string) *decoder {
	t.Helper()
	dir, err := os.MkdirTemp("", "framelog-compat-") //nolint:usetesting // other users cannot enter t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(dir, "pictures")
	if err := syscall.Mkfifo(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	// For reading and writing, so that opening does not block, and reading does not
	// end before the program does.
	f, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	d := &decoder{name: name, proc: testenv.Start(t, name, decoders[name](t, url, pipe))}
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.read(f, name == "VLC")
	}()
	t.Cleanup(func() {
		f.Close()
		<-done
	})
	return d
}
