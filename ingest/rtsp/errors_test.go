package rtsp_test

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/ingest/rtsp"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/testenv"
)

const canary = "canary-7f3a%@/?#[]\"'\\ ü"

// withUser puts user info into a URL.
func withUser(t *testing.T, raw, user, password string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(user, password)
	return u.String()
}

func noCanary(t *testing.T, texts ...any) {
	t.Helper()
	for _, v := range texts {
		s := fmt.Sprintf("%v %+v %#v", v, v, v)
		for _, secret := range []string{"canary", url.QueryEscape(canary), url.PathEscape(canary)} {
			if strings.Contains(s, secret) {
				t.Errorf("the password stands in %s", s)
			}
		}
	}
}

func TestAuthentication(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		feed := clip(t, testenv.Clip{Seconds: 3}).With(true, 1)
		for name, auth := range map[string]camsim.Auth{"digest": camsim.AuthDigest, "basic": camsim.AuthBasic} {
			t.Run(name, func(t *testing.T) {
				srv := server(t, camsim.Config{Auth: auth, Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed, User: "viewer", Password: canary}}})
				t.Run("right", func(t *testing.T) {
					s, _, _ := start(t, rtsp.Config{Engine: engine, URL: fixed(t, srv.LoginURL("c"))})
					eventually(t, "units", func() bool { return len(s.of(1)) > 5 })
					noCanary(t, s.observed())
				})
				for what, login := range map[string]string{
					"wrong": withUser(t, srv.URL("c"), "viewer", canary+"x"),
					"none":  srv.URL("c"),
				} {
					t.Run(what, func(t *testing.T) {
						s, _, wait := start(t, rtsp.Config{Engine: engine, URL: fixed(t, login)})
						err := wait()
						var e *rtsp.Error
						if !errors.Is(err, rtsp.ErrRefused) || !errors.As(err, &e) || e.Status != 401 {
							t.Errorf("%v", err)
						}
						noCanary(t, err, e, s.observed())
					})
				}
			})
		}
	})
}

func TestFailures(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		feed := clip(t, testenv.Clip{Seconds: 3}).With(true, 1)
		srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed}}})
		tlsSrv := server(t, camsim.Config{TLS: true, Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed}}})
		refusing := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed}}})
		refusing.Camera("c").Refuse(true)

		closed := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))

		for name, c := range map[string]struct {
			url  string
			kind error
			text string
		}{
			"path":     {srv.URL("other"), rtsp.ErrRefused, "path"},
			"absent":   {"rtsp://" + closed + "/c", rtsp.ErrAway, "c: nothing listens at " + closed + " (check"},
			"host":     {"rtsp://no-such-host.invalid/c", rtsp.ErrAway, "the host name no-such-host.invalid is not known (check"},
			"untrusty": {tlsSrv.URL("c"), rtsp.ErrRefused, "set insecure_tls"},
			"busy":     {refusing.URL("c"), rtsp.ErrAway, "503"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				began := time.Now()
				cfg := rtsp.Config{Engine: engine, URL: fixed(t, withUser(t, c.url, "viewer", canary))}
				s, _, wait := start(t, cfg)
				err := wait()
				t.Logf("%v after %v: %v", s.states(), time.Since(began).Round(time.Millisecond), err)
				var e *rtsp.Error
				if !errors.Is(err, c.kind) || !errors.As(err, &e) || !strings.Contains(err.Error(), c.text) {
					t.Errorf("want %v with %q", c.kind, c.text)
				}
				u, _ := url.Parse(c.url)
				if !strings.Contains(err.Error(), u.Host+u.Path) {
					t.Errorf("does not say where")
				}
				noCanary(t, err, e, s.observed())
			})
		}
	})
}

// That any certificate is accepted of one camera does not make it good for others:
// TLS resumes the session that it had, and checks no certificate then.
func TestCertificateIsCheckedAfterAnyWasTaken(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		feed := clip(t, testenv.Clip{Seconds: 3}).With(true, 1)
		srv := server(t, camsim.Config{TLS: true, Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed}}})
		for i, insecure := range []bool{false, true, false, true, false} {
			s, stop, wait := start(t, rtsp.Config{Engine: engine, URL: fixed(t, srv.URL("c")), InsecureTLS: insecure})
			if insecure {
				eventually(t, "units", func() bool { return len(s.of(1)) > 5 })
				stop()
				_ = wait()
				continue
			}
			if err := wait(); !errors.Is(err, rtsp.ErrRefused) || !strings.Contains(err.Error(), "certificate") {
				t.Errorf("connection %d: %v", i, err)
			}
			if got := s.states(); slices.Contains(got, ingest.EventPlaying) {
				t.Errorf("connection %d: %v", i, got)
			}
		}
	})
}
