package rtsp_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/ingest/rtsp"
	"github.com/framelog/framelog/tests/testenv"
)

// describing is a camera that answers DESCRIBE with the given status and body
// and every other request with 200.
func describing(t *testing.T, status, sdp string) string {
	t.Helper()
	return "rtsp://" + testenv.ServeSDP(t, status, sdp) + "/c"
}

// What a camera answers to DESCRIBE is explained, and never repeated.
func TestDescribe(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		const head = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=canary\r\nt=0 0\r\n"
		for name, c := range map[string]struct {
			status, sdp string
			kind        error
			text        string
		}{
			"vp8":        {"200 OK", head + "m=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\na=control:a\r\n", rtsp.ErrUnsupported, "the camera's video is VP8"},
			"sound only": {"200 OK", head + "m=audio 0 RTP/AVP 0\r\na=control:a\r\n", rtsp.ErrUnsupported, "no video"},
			"nothing":    {"200 OK", head, rtsp.ErrUnsupported, "no video"},
			"no SDP":     {"200 OK", "canary", rtsp.ErrUnsupported, "no video"},
			"hostile":    {"200 OK", head + "m=video 0 RTP/AVP 96\r\na=rtpmap:96 \x01\xffcan\r\nary/90000\r\n", rtsp.ErrUnsupported, ""},
			"400":        {"400 canary", "", rtsp.ErrRefused, "400"},
			"403":        {"403 canary", "", rtsp.ErrRefused, "forbidden"},
			"404":        {"404 canary", "", rtsp.ErrRefused, "path"},
			"453":        {"453 canary", "", rtsp.ErrAway, "453"},
			"500":        {"500 canary", "", rtsp.ErrAway, "500"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s, _, wait := start(t, rtsp.Config{Engine: engine, URL: fixed(t, describing(t, c.status, c.sdp)), ConnectTimeout: testenv.Patience / 2})
				err := wait()
				t.Log(err)
				if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
					t.Errorf("want %v with %q", c.kind, c.text)
				}
				noCanary(t, err, s.observed())
			})
		}
	})
}

// The frame rate that SDP names is told; nonsense is told as none, so that a
// rate of the connection before does not stay.
func TestFrameTimeOfSDP(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		const sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n" +
			"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:a\r\n"
		for attribute, want := range map[string]time.Duration{
			"framerate:12.5":      80 * time.Millisecond,
			"framerate:25.000000": 40 * time.Millisecond,
			"x-framerate: 30":     time.Second / 30,
			"framerate:0":         0,
			"framerate:NaN":       0,
			"framerate:1e9":       0,
			"framerate:canary":    0,
			"sendonly":            0,
		} {
			t.Run(attribute, func(t *testing.T) {
				t.Parallel()
				s, _, wait := start(t, rtsp.Config{Engine: engine, URL: fixed(t, describing(t, "200 OK", sdp+"a="+attribute+"\r\n"))})
				t.Log(wait())
				got, told := time.Duration(0), 0
				for _, e := range s.observed() {
					if e.Kind == ingest.EventFrameTime {
						got = e.FrameTime
						told++
					}
				}
				if d := got - want; told == 0 || d.Abs() > time.Microsecond {
					t.Errorf("%v, told %d times, want %v", got, told, want)
				}
			})
		}
	})
}
