package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/testenv"
)

// What Framelog is compared with.
const (
	ffmpegName  = "ffmpeg -c copy to HLS"
	gstHLSName  = "gst-launch rtspsrc to hlssink2"
	gstSinkName = "gst-launch rtspsrc to fakesink"
)

// peer is one or more processes that write plain HLS, or nothing.
type peer struct {
	role      string
	procs     []*testenv.Process
	dir       string
	playlists []string
}

func (p *peer) processes() map[string][]int {
	m := map[string][]int{}
	for _, proc := range p.procs {
		m[p.role] = append(m[p.role], proc.PID())
	}
	return m
}

func (p *peer) begin(*testing.B)        {}
func (p *peer) end(*testing.B, *sample) {}

func (p *peer) stop() {
	for _, proc := range p.procs {
		proc.KillTree()
	}
	_ = os.RemoveAll(p.dir) // in the test's own folder, which is removed at the end too
}

// segments counts by media sequence numbers: old segments are removed.
func (p *peer) segments(b *testing.B) int {
	b.Helper()
	if p.playlists == nil {
		return -1
	}
	n := 0
	for _, path := range p.playlists {
		raw, err := os.ReadFile(path)
		if err != nil {
			b.Fatalf("%s has written no playlist: %v", p.role, err)
		}
		text := string(raw)
		_, rest, _ := strings.Cut(text, "#EXT-X-MEDIA-SEQUENCE:")
		first, _, _ := strings.Cut(rest, "\n")
		seq, err := strconv.Atoi(strings.TrimSpace(first))
		if err != nil {
			b.Fatalf("%s: %v in %s", p.role, err, text)
		}
		n += seq + strings.Count(text, "#EXTINF:")
	}
	return n
}

// wait waits for the first segment of every camera.
func (p *peer) wait(b *testing.B) running {
	b.Helper()
	testenv.Wait(b, time.Minute, "the first segments of "+p.role, func() bool {
		for _, path := range p.playlists {
			if raw, err := os.ReadFile(path); err != nil || !strings.Contains(string(raw), "#EXTINF:") {
				return false
			}
		}
		return true
	})
	return p
}

func startFFmpeg(b *testing.B, c *cameras) running {
	p := &peer{role: "ffmpeg", dir: b.TempDir()}
	for i, url := range c.urls {
		list := filepath.Join(p.dir, fmt.Sprintf("%d.m3u8", i))
		cmd := exec.Command(testenv.Tool(b, "ffmpeg", "ffmpeg"), "-nostdin", "-loglevel", "error", "-rtsp_transport", "tcp",
			"-i", url, "-c", "copy", "-f", "hls", "-hls_time", fmt.Sprint(gop.Seconds()), "-hls_list_size", "30",
			"-hls_flags", "delete_segments", list)
		p.procs = append(p.procs, testenv.Start(b, "ffmpeg", cmd))
		p.playlists = append(p.playlists, list)
	}
	return p.wait(b)
}

// source is one camera for gst-launch, up to whole access units.
func source(url string) []string {
	return []string{"rtspsrc", "location=" + url, "protocols=tcp", "latency=0", "!", "rtph264depay", "!", "h264parse"}
}

func startGstHLS(b *testing.B, c *cameras) running {
	p := &peer{role: "gst-launch", dir: b.TempDir()}
	args := []string{"-q"}
	for i, url := range c.urls {
		list := filepath.Join(p.dir, fmt.Sprintf("%d.m3u8", i))
		sink := fmt.Sprintf("sink%d", i)
		args = append(args, "hlssink2", "name="+sink, "location="+filepath.Join(p.dir, fmt.Sprintf("%d-%%05d.ts", i)),
			"playlist-location="+list, fmt.Sprintf("target-duration=%d", gop/time.Second), "max-files=30", "playlist-length=30")
		args = append(append(args, source(url)...), "!", sink+".video")
		p.playlists = append(p.playlists, list)
	}
	p.procs = append(p.procs, testenv.Start(b, "gst-launch", exec.Command(testenv.Tool(b, "gst-launch-1.0", "gstreamer1.0-tools"), args...)))
	return p.wait(b)
}

// startGstSink is what ingest is compared with: GStreamer makes the same access
// units, in the form that Framelog takes, and drops them.
func startGstSink(b *testing.B, c *cameras) running {
	p := &peer{role: "gst-launch", dir: b.TempDir()}
	args := []string{"-q"}
	for _, url := range c.urls {
		args = append(append(args, source(url)...), "config-interval=-1", "!", "video/x-h264,stream-format=avc,alignment=au", "!",
			"fakesink", "sync=false", "async=false")
	}
	p.procs = append(p.procs, testenv.Start(b, "gst-launch", exec.Command(testenv.Tool(b, "gst-launch-1.0", "gstreamer1.0-tools"), args...)))
	return p
}
