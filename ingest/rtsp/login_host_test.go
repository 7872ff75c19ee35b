package rtsp_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/framelog/framelog/ingest/rtsp"
)

// A camera may name itself by another host or port than the one at which it is reached. It
// still gets the credentials, over the same connection.
func TestLoginWhereTheCameraNamesAnotherHost(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		for name, base := range map[string]string{
			"address": "rtsp://192.0.2.7:554/s/",
			"name":    "rtsp://camera.invalid/s/",
			"no port": "rtsp://127.0.0.1/s/",
		} {
			for kind, g := range map[string]*guarded{
				"digest": {base: base},
				"basic":  {base: base, basic: true},
				"stale":  {base: base, once: true},
			} {
				t.Run(name+", "+kind, func(t *testing.T) {
					t.Parallel()
					g.password = "canary"
					g.start(t)
					_, stop, wait := start(t, rtsp.Config{Engine: engine, URL: fixed(t, g.login(t, "canary").String()), Transport: rtsp.TransportTCP})
					eventually(t, "PLAY", func() bool { n := g.counts(); return n.played > 0 || n.requests > 20 })
					stop()
					_ = wait()
					if n := g.counts(); n.conns != 1 || n.played != 1 || n.wrong != 0 || n.right < 3 {
						t.Errorf("%+v", n)
					}
				})
			}
		}
	})
}

// A camera that redirects to another address gives that address no password. If one is asked
// for there, the connection ends with an error that says so.
func TestRedirectGetsNoPassword(t *testing.T) {
	all := map[string]bool{"DESCRIBE": true, "SETUP": true, "PLAY": true, "TEARDOWN": true}
	options := maps.Clone(all)
	options["OPTIONS"] = true
	engines(t, func(t *testing.T, engine string) {
		for name, c := range map[string]struct {
			from, to *guarded
			plays    bool
		}{
			"digest":               {from: &guarded{}, to: &guarded{ask: all}},
			"basic":                {from: &guarded{}, to: &guarded{ask: all, basic: true}},
			"OPTIONS":              {from: &guarded{}, to: &guarded{ask: options, basic: true}},
			"SETUP alone":          {from: &guarded{}, to: &guarded{ask: map[string]bool{"SETUP": true}, basic: true}},
			"both ask, digest":     {from: &guarded{ask: all}, to: &guarded{ask: all}},
			"both ask, basic":      {from: &guarded{ask: all, basic: true}, to: &guarded{ask: all, basic: true}},
			"only the first":       {from: &guarded{ask: all, basic: true}, to: &guarded{}, plays: true},
			"names the first host": {from: &guarded{ask: all, basic: true}, to: &guarded{ask: map[string]bool{"SETUP": true}, basic: true, base: "first"}},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				from, to := c.from, c.to
				untold := engine == rtsp.EngineGStreamer && to.ask["SETUP"] && !to.ask["DESCRIBE"] // rtspsrc does not tell that SETUP was refused
				from.password, to.password = "canary", "another"
				for _, g := range []*guarded{from, to} {
					if g.ask == nil {
						g.ask = map[string]bool{}
					}
				}
				to.start(t)
				from.to = to.url
				from.start(t)
				if to.base != "" {
					to.mu.Lock()
					to.base = from.url
					to.mu.Unlock()
				}
				s, stop, wait := start(t, rtsp.Config{Engine: engine, URL: fixed(t, from.login(t, "canary").String()), Transport: rtsp.TransportTCP})
				if c.plays {
					eventually(t, "PLAY", func() bool { return to.counts().played > 0 })
					stop()
					_ = wait()
				} else {
					err := wait()
					var e *rtsp.Error
					if untold {
						if !errors.Is(err, rtsp.ErrAway) {
							t.Error(err)
						}
					} else if !errors.Is(err, rtsp.ErrRefused) || !errors.As(err, &e) || e.Status != 401 || !strings.HasPrefix(e.Cause, "the camera redirects to another host or port") {
						t.Error(err)
					}
					if strings.Contains(err.Error(), "is tried again") {
						t.Errorf("no credentials were refused: %v", err)
					}
					noCanary(t, err, s.observed())
				}
				attempts, most := 1, 3
				if engine == rtsp.EngineGStreamer {
					most++ // OPTIONS
				}
				if untold {
					attempts++
				}
				if n := to.counts(); n.logins != 0 || n.requests > 5*attempts || n.conns != attempts {
					t.Errorf("the other address: %+v", n)
				}
				if n := from.counts(); n.requests > most*attempts || n.wrong != 0 {
					t.Errorf("the camera: %+v", n)
				}
			})
		}
	})
}

// A camera that redirects to another path of its own gets the credentials there too.
func TestRedirectToTheSameAddress(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		for _, basic := range []bool{false, true} {
			g := &guarded{password: "canary", basic: basic}
			g.start(t)
			g.mu.Lock()
			g.to = g.url + "/main"
			g.mu.Unlock()
			_, stop, wait := start(t, rtsp.Config{Engine: engine, URL: fixed(t, g.login(t, "canary").String()), Transport: rtsp.TransportTCP})
			eventually(t, "PLAY", func() bool { return g.counts().played > 0 })
			stop()
			_ = wait()
			if n := g.counts(); n.wrong != 0 {
				t.Errorf("%+v", n)
			}
		}
	})
}
