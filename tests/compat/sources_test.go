package compat

import (
	"fmt"
	"os/exec"
	"testing"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"

	"github.com/framelog/framelog/tests/testenv"
)

// sound is one kind of sound, and how each server is told to make it; "" if a
// server cannot.
type sound struct {
	name   string
	codec  string // ffprobe's name of it
	ffmpeg []string
	gst    string
	vlc    string // the codec for VLC to make; "copy" takes that of the file
}

var sounds = []sound{
	{"AAC", "aac", []string{"-c:a", "aac", "-b:a", "64k"}, "avenc_aac ! aacparse ! rtpmp4gpay pt=97", "copy"},
	{"Opus", "opus", []string{"-c:a", "libopus"}, "audio/x-raw,rate=48000,channels=2 ! opusenc ! rtpopuspay pt=97", ""},
	{"G.711 µ-law", "pcm_mulaw", []string{"-c:a", "pcm_mulaw", "-ar", "8000", "-ac", "1"}, "audio/x-raw,rate=8000,channels=1 ! mulawenc ! rtppcmupay", ""},
	{"G.711 A-law", "pcm_alaw", []string{"-c:a", "pcm_alaw", "-ar", "8000", "-ac", "1"}, "audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay", ""},
	{"MP3", "mp3", []string{"-c:a", "libmp3lame", "-ar", "44100"}, "audio/x-raw,rate=44100,channels=2 ! lamemp3enc ! mpegaudioparse ! rtpmpapay", "mp3"},
	{"G.726", "adpcm_g726", []string{"-c:a", "g726", "-ar", "8000", "-ac", "1", "-b:a", "32k"}, "audio/x-raw,rate=8000,channels=1 ! avenc_g726 bitrate=32000 ! rtpg726pay pt=97", ""},
	{"Speex", "speex", []string{"-c:a", "libspeex", "-ar", "16000", "-ac", "1"}, "audio/x-raw,rate=16000,channels=1 ! speexenc ! rtpspeexpay pt=97", ""},
	{"Vorbis", "vorbis", []string{"-c:a", "libvorbis", "-ar", "48000", "-ac", "2"}, "audio/x-raw,rate=48000,channels=2 ! vorbisenc ! rtpvorbispay pt=97", ""},
	{"AC-3", "ac3", nil, "audio/x-raw,rate=48000,channels=2 ! avenc_ac3 ! ac3parse ! rtpac3pay pt=97", ""},
}

// gstServer starts GStreamer's RTSP server, which sends a clip from its start to
// each client.
func gstServer(t *testing.T, c clip, s *sound) string {
	t.Helper()
	launch := fmt.Sprintf("filesrc location=%q ! ", c.path)
	switch c.pieces[0].Codec {
	case "mjpeg":
		launch += "matroskademux ! jpegparse ! rtpjpegpay name=pay0"
	case "h265":
		launch += "tsdemux ! h265parse ! rtph265pay name=pay0 pt=96"
	default:
		launch += "tsdemux ! h264parse ! rtph264pay name=pay0 pt=96"
	}
	if s != nil {
		wav := beeps(t, c.long(), "wav")
		launch += fmt.Sprintf(" filesrc location=%q ! wavparse ! audioconvert ! audioresample ! %s name=pay1", wav, s.gst)
	}
	return testenv.StartGstRTSPServer(t, testenv.GstRTSPOptions{Launch: launch}).URL
}

// vlcServer starts VLC, which plays a clip once, to all clients.
func vlcServer(t *testing.T, c clip, s *sound) string {
	t.Helper()
	file, out := c.path, ""
	if s != nil {
		file = join(t, c, beeps(t, c.long(), "m4a", "-c:a", "aac", "-b:a", "64k"))
		if s.vlc != "copy" {
			out = "transcode{acodec=" + s.vlc + ",ab=96}:"
		}
	}
	port := testenv.FreePort(t)
	url := fmt.Sprintf("rtsp://127.0.0.1:%d/cam", port)
	cmd := exec.CommandContext(t.Context(), testenv.Tool(t, "cvlc", "vlc-bin"), "-I", "dummy", file, "--sout", "#"+out+"rtp{sdp="+url+"}")
	testenv.AsAnybody(t, cmd)
	p := testenv.Start(t, "VLC's RTSP output", cmd)
	// VLC listens before its SDP has the sound: for a tenth of a second it
	// describes the pictures alone.
	want := 1
	if s != nil {
		want = 2
	}
	p.Wait(t, testenv.Patience, "SDP of all streams", func() bool { return streams(url) == want })
	return url
}

// streams returns how many streams a server announces; 0 if it does not answer.
func streams(url string) int {
	u, err := base.ParseURL(url)
	if err != nil {
		return 0
	}
	c := gortsplib.Client{Scheme: u.Scheme, Host: u.Host}
	if err := c.Start(); err != nil {
		return 0
	}
	defer c.Close()
	d, _, err := c.Describe(u)
	if err != nil {
		return 0
	}
	return len(d.Medias)
}

// join makes a file of a clip's pictures and a file's sound, without encoding them
// again.
func join(t *testing.T, c clip, sound string) string {
	t.Helper()
	return testenv.CachedFile(t, "joined-"+testenv.Digest("1", c.path, sound)+".ts", func(path string) error {
		return testenv.FFmpeg(t, "-y", "-i", c.path, "-itsoffset", fmt.Sprint(before.Seconds()), "-i", sound,
			"-map", "0:v", "-map", "1:a", "-c", "copy", "-f", "mpegts", path)
	})
}
