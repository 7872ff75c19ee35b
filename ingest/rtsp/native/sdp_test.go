package native

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/base"

	"github.com/framelog/framelog/internal/rtspconn"
	"github.com/framelog/framelog/schemas"
)

const head = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"

// sections are media sections of SDP, and what is known of them.
var sections = map[string]string{
	"m=video 0 RTP/AVP 96|a=rtpmap:96 H264/90000|a=framerate:12.5": "video H264 90000 80ms",
	"m=video 0 RTP/AVP 26":                         "video JPEG 90000 0s",
	"m=video 0 RTP/AVP 96|a=rtpmap:96  h265/90000": "video H265 90000 0s",
	"m=audio 0 RTP/AVP 0":                          "audio PCMU 8000 0s",
	"m=audio 0 RTP/AVP 14|a=rtpmap:14 PCMA/8000":   "audio PCMA 8000 0s",
	"m=audio 0 RTP/AVP 77":                         "audio PAYLOAD-TYPE-77 0 0s",
	"m=audio 0 RTP/AVP 97|a=rtpmap:97 MPEG4-GENERIC/48000/2|a=fmtp:97 mode=AAC-hbr; SizeLength=13": "audio MPEG4-GENERIC 48000 0s",
	"m=audio 0 RTP/AVP 97|a=rtpmap:97 OPUS/x":                                                      "audio OPUS 0 0s",
	"m=application 0 RTP/AVP 107|a=rtpmap:107 ONVIF/90000":                                         "application ONVIF 90000 0s",
	"m=video 0 RTP/AVP 200":                                 "",
	"m=video 0 RTP/AVP 96|a=rtpmap:96 H264/90000|a=mid:%%":  "video H264 90000 0s",
	"m=audio 0 RTP/AVP 97|a=rtpmap:97 opus/48000|a=fmtp:97": "audio OPUS 48000 0s",
}

func TestStreamsOfSDP(t *testing.T) {
	for section, want := range sections {
		got := ""
		for _, s := range streamsOf([]byte(sdpOf(section))) {
			got += fmt.Sprintf("%s %s %d %v", s.kind, s.Encoding, s.ClockRate, s.FrameTime)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", section, got, want)
		}
	}
}

func sdpOf(sections ...string) string {
	return head + strings.ReplaceAll(strings.Join(sections, "|"), "|", "\r\n") + "\r\n"
}

// What is asked for: the first video and the first sound that are recorded, and no sound to
// the camera.
func TestChosenStreams(t *testing.T) {
	const (
		h264 = "m=video 0 RTP/AVP 96|a=rtpmap:96 H264/90000"
		h265 = "m=video 0 RTP/AVP 98|a=rtpmap:98 H265/90000"
		jpeg = "m=video 0 RTP/AVP 26|a=framesize:26 2592-1944"
		opus = "m=audio 0 RTP/AVP 97|a=rtpmap:97 OPUS/48000/2"
		pcmu = "m=audio 0 RTP/AVP 0"
		he   = "m=audio 0 RTP/AVP 97|a=rtpmap:97 MPEG4-GENERIC/48000/2|a=fmtp:97 config=2B098800;sizelength=13"
		keys = "m=audio 0 RTP/AVP 101|a=rtpmap:101 telephone-event/8000"
		back = "|a=sendonly"
	)
	for name, c := range map[string]struct {
		sdp   string
		opt   rtspconn.Options
		want  string // chosen encodings
		sound string // not recorded
		err   any
	}{
		"both":               {sdpOf(h264, opus), rtspconn.Options{}, "H264 OPUS ", "", nil},
		"first video":        {sdpOf(h265, h264), rtspconn.Options{}, "H265 ", "", nil},
		"no sound wanted":    {sdpOf(pcmu, h264), rtspconn.Options{NoAudio: true, Strict: true}, "H264 ", "", nil},
		"sound to convert":   {sdpOf(h264, pcmu), rtspconn.Options{}, "H264 ", "PCMU", nil},
		"left to GStreamer":  {sdpOf(h264, pcmu), rtspconn.Options{Strict: true}, "", "", new(*rtspconn.IncapableError)},
		"one that needs not": {sdpOf(h264, pcmu, opus), rtspconn.Options{Strict: true}, "H264 OPUS ", "", nil},
		"keys":               {sdpOf(h264, keys), rtspconn.Options{Strict: true}, "H264 ", "", nil},
		"to the camera":      {sdpOf(h264, pcmu+back), rtspconn.Options{Strict: true}, "H264 ", "", nil},
		"all marked so":      {sdpOf(h264+back, opus+back), rtspconn.Options{}, "H264 OPUS ", "", nil},
		"HE-AAC":             {sdpOf(h264, he), rtspconn.Options{Strict: true}, "", "", new(*rtspconn.IncapableError)},
		"large JPEG":         {sdpOf(jpeg), rtspconn.Options{}, "", "", new(*rtspconn.IncapableError)},
		"other video":        {sdpOf("m=video 0 RTP/AVP 96|a=rtpmap:96 VP8/90000"), rtspconn.Options{}, "", "", new(*rtspconn.UnsupportedError)},
		"no video":           {sdpOf(opus), rtspconn.Options{}, "", "", new(*rtspconn.Error)},
		"nothing":            {"", rtspconn.Options{}, "", "", new(*rtspconn.Error)},
	} {
		conn := &Conn{opt: c.opt, tracks: map[uint8]*track{}}
		streams, err := conn.choose([]byte(c.sdp))
		got := ""
		for _, s := range streams {
			got += s.Encoding + " "
		}
		if sound, _ := conn.NoSound(); got != c.want || sound != c.sound || (err == nil) != (c.err == nil) || err != nil && !errors.As(err, c.err) {
			t.Errorf("%s: %q, not recorded: %q, %v", name, got, sound, err)
		}
	}
}

// RTP-Info names the streams by their URLs, which cameras write in several ways.
func TestRTPInfo(t *testing.T) {
	streams := []*stream{
		{Track: rtspconn.Track{ID: schemas.VideoTrack}, url: "rtsp://10.0.0.5/live/trackID=1"},
		{Track: rtspconn.Track{ID: schemas.AudioTrack}, url: "rtsp://10.0.0.5/live/trackID=2"},
	}
	for info, want := range map[string]string{
		"url=rtsp://10.0.0.5/live/trackID=2;seq=1;rtptime=20,url=rtsp://10.0.0.5/live/trackID=1;rtptime=10": "map[1:10 2:20]",
		"url=trackID=2;rtptime=20, url=trackID=1;rtptime=10":                                                "map[1:10 2:20]",
		"url=rtsp://camera/a;rtptime=10,url=rtsp://camera/b;rtptime=20":                                     "map[1:10 2:20]",
		"url=rtsp://camera/a;rtptime=10":                                                                    "map[]",
		"url=trackID=1;seq=5":                                                                               "map[]",
		"rtptime=x":                                                                                         "map[]",
	} {
		answer := &base.Response{Header: base.Header{"RTP-Info": base.HeaderValue{info}}}
		if got := fmt.Sprint(rtpInfo(answer, streams)); got != want {
			t.Errorf("%s: %s, want %s", info, got, want)
		}
	}
}

func FuzzSDP(f *testing.F) {
	for section := range sections {
		f.Add([]byte(sdpOf(section)))
	}
	f.Add([]byte(sdpOf("m=audio 0 RTP/AVP 97|a=rtpmap:97 MPEG4-GENERIC/48000/2|a=fmtp:97 config=1190;sizelength=13;indexlength=3")))
	f.Add([]byte(sdpOf("m=video 0 RTP/AVP 96|a=rtpmap:96 H264/90000|a=fmtp:96 sprop-parameter-sets=Z2QAHqzZQKAv+XARAAADAAEAAAMAPA8WLZY=,aO+Pyw==")))
	f.Fuzz(func(t *testing.T, body []byte) {
		conn := &Conn{opt: rtspconn.Options{Latency: time.Second}, tracks: map[uint8]*track{}}
		streams, err := conn.choose(body)
		for _, s := range streams {
			if s.ClockRate == 0 || err != nil {
				t.Errorf("%+v, %v", s, err)
			}
		}
	})
}
