package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// GstRTSPOptions are options of StartGstRTSPServer.
type GstRTSPOptions struct {
	File   string // an MP4; empty: a live test pattern in H.264
	Launch string // instead of File: a pipeline as for gst-launch, with payloaders named pay0 and pay1
	Record string // instead of File: take what a client publishes, and write Record+".video" and ".audio"
	Port   int    // 0: a free one
	Video  string // codec of the file: "h264" (default), "h265", "mjpeg"
	Audio  string // "aac", "opus" or "" for none; of a file with raw sound also those of ENCODED in rtsp_server.py
	User   string // if set, the server asks for Digest authentication
	Pass   string
}

// GstRTSPServer is a camera that does not use our code.
type GstRTSPServer struct {
	*Process
	Port int
	URL  string // without credentials
}

var portLine = regexp.MustCompile(`(?m)^PORT (\d+)$`)

// StartGstRTSPServer starts GStreamer's own RTSP server. A file is served from
// its start to each client and then ends; a live pattern goes on.
func StartGstRTSPServer(t testing.TB, o GstRTSPOptions) *GstRTSPServer {
	t.Helper()
	python := Python(t, "import gi; gi.require_version('GstRtspServer', '1.0')", "python3-gi and gir1.2-gst-rtsp-server-1.0")
	args := []string{filepath.Join(Root(t), "tests/testenv/testdata/rtsp_server.py")}
	for _, f := range []struct{ flag, value string }{
		{"--file", o.File},
		{"--launch", o.Launch},
		{"--record", o.Record},
		{"--video", o.Video},
		{"--audio", o.Audio},
		{"--user", o.User},
	} {
		if f.value != "" {
			args = append(args, f.flag, f.value)
		}
	}
	if o.Port != 0 {
		args = append(args, "--port", fmt.Sprint(o.Port))
	}
	cmd := exec.CommandContext(t.Context(), python, args...)
	if o.User != "" {
		cmd.Args = append(cmd.Args, "--password-env", "CAMERA_PASSWORD")
		cmd.Env = append(os.Environ(), "CAMERA_PASSWORD="+o.Pass)
	}
	s := &GstRTSPServer{Process: Start(t, "gst-rtsp-server", cmd)}
	s.Wait(t, Patience, "listening", func() bool {
		m := portLine.FindStringSubmatch(s.Log.String())
		if m == nil {
			return false
		}
		_, err := fmt.Sscan(m[1], &s.Port)
		return err == nil
	})
	s.URL = fmt.Sprintf("rtsp://127.0.0.1:%d/cam", s.Port)
	return s
}
