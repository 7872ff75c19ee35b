package rtsp_test

import (
	"errors"
	"net/url"
	"testing"

	"github.com/framelog/framelog/ingest/rtsp"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/testenv"
)

// A password in the path goes to the camera, and into no error: they name the
// camera as they are told to.
func TestPasswordInThePath(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		feed := clip(t, testenv.Clip{Seconds: 3}).With(true, 1)
		srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "user=a&password=canary-7f3a&channel=1", Feed: feed}}})
		host := func(raw string) string {
			u, err := url.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			return u.Host
		}(srv.URL("c"))
		const shown = "camera/user=a&password=${file:c}&channel=1"
		for name, c := range map[string]struct {
			url  string
			kind error
		}{
			"wrong":  {"rtsp://" + host + "/user=a&password=canary-other&channel=1", rtsp.ErrRefused},
			"absent": {"rtsp://127.0.0.1:1/user=a&password=canary-7f3a&channel=1", rtsp.ErrAway},
			"scheme": {"http://" + host + "/user=a&password=canary-7f3a&channel=1", rtsp.ErrRefused},
		} {
			t.Run(name, func(t *testing.T) {
				s, _, wait := start(t, rtsp.Config{Engine: engine, URL: fixed(t, c.url), Shown: shown})
				err := wait()
				var e *rtsp.Error
				if !errors.Is(err, c.kind) || !errors.As(err, &e) || e.Where != shown {
					t.Errorf("%v", err)
				}
				noCanary(t, err, e, s.observed())
			})
		}
		s, _, _ := start(t, rtsp.Config{Engine: engine, URL: fixed(t, "rtsp://"+host+"/user=a&password=canary-7f3a&channel=1"), Shown: shown})
		eventually(t, "units", func() bool { return len(s.of(1)) > 5 })
		noCanary(t, s.observed())
	})
}
