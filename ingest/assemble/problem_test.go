package assemble

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/schemas"
)

func TestGarbageIsNamed(t *testing.T) {
	s := stream{frame: 3600, gop: 25}
	us := s.units(40 * time.Second)
	for i := range us[300:] {
		us[300+i].Data = []byte("HTTP/1.1 404 Not Found")
	}
	var m memory
	var problem string
	m.t = t
	a := New(Config{Live: true, Problem: func(p string) { problem = p }}, &m, nil)
	feed(t, a, s.tracks(), us)
	if !strings.Contains(problem, "damaged") {
		t.Errorf("problem %q", problem)
	}
	a.Flush()
	wantAll(t, m.samples(1), us[:300])
	if problem != "" || m.lost.Units == 0 {
		t.Errorf("problem %q, lost %v", problem, m.lost)
	}
}

// A problem is told while it lasts and for a while after.
func TestProblems(t *testing.T) {
	s := stream{frame: 3600, gop: 25}
	for name, c := range map[string]struct {
		change func(us []ingest.Unit) []ingest.Unit
		want   string
	}{
		"loss":   {func(us []ingest.Unit) []ingest.Unit { us[100].Lost = 3; return us }, "packets are lost"},
		"damage": {func(us []ingest.Unit) []ingest.Unit { us[100].Broken = true; return us }, "damaged and left out"},
		"clock forward": {func(us []ingest.Unit) []ingest.Unit {
			for i := 100; i < len(us); i++ {
				us[i].PTS += 3600 * schemas.MediaTimescale
			}
			return us
		}, "clock jumped forward by 1h0m0s"},
		"clock back": {func(us []ingest.Unit) []ingest.Unit {
			for i := 100; i < len(us); i++ {
				us[i].PTS -= 3600 * schemas.MediaTimescale
			}
			return us
		}, "clock jumped back by 1h0m0s"},
		"nothing": {func(us []ingest.Unit) []ingest.Unit { return us }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			us := c.change(s.units(30 * time.Second))
			var m memory
			m.t = t
			var told []string
			at := 0
			a := New(Config{Live: true, Problem: func(p string) { told = append(told, fmt.Sprintf("%d %s", at, p)) }}, &m, nil)
			if err := a.Tracks(s.tracks()); err != nil {
				t.Fatal(err)
			}
			for at = range us {
				if err := a.Unit(us[at]); err != nil {
					t.Fatal(err)
				}
			}
			if c.want == "" {
				if len(told) > 0 {
					t.Errorf("told %q", told)
				}
				return
			}
			// 15 s are 375 pictures.
			if len(told) != 2 || !strings.HasPrefix(told[0], "100 ") || !strings.Contains(told[0], c.want) || told[1] != "475 " {
				t.Errorf("told %q", told)
			}
		})
	}
}

// If packets are lost, some of what comes is damaged. That is one problem, and its
// cause is told, whichever of both is seen first.
func TestLossAndDamageDoNotTakeTurns(t *testing.T) {
	s := stream{frame: 3600, gop: 25}
	us := s.units(60 * time.Second)
	for i := 100; i < 1100; i += 200 {
		us[i].Lost = 2
		us[i+100].Lost, us[i+100].Broken = 1, true
	}
	var m memory
	var told []string
	m.t = t
	a := New(Config{Live: true, Problem: func(p string) { told = append(told, p) }}, &m, nil)
	feed(t, a, s.tracks(), us)
	if len(told) != 2 || !strings.Contains(told[0], "packets are lost") || told[1] != "" {
		t.Errorf("told %q", told)
	}
}

func TestNoKeyframeAtAll(t *testing.T) {
	s := stream{frame: 3600, gop: 1000}
	us := s.units(30 * time.Second)[1:]
	var m memory
	m.t = t
	var problem string
	reg := prometheus.NewPedanticRegistry()
	a := New(Config{Live: true, Camera: "c", Problem: func(p string) { problem = p }}, &m, NewMetrics(reg))
	feed(t, a, s.tracks(), us)
	if problem == "" || a.Stats().Blocked != problem || len(m.fragments)+len(m.gaps)+m.sessions != 0 {
		t.Errorf("problem %q, %d fragments, gaps %v, %d sessions", problem, len(m.fragments), m.gaps, m.sessions)
	}
	if got := testutil.ToFloat64(a.m.dropped.WithLabelValues("c", dropBeforeKeyframe)); got != float64(len(us)) {
		t.Errorf("%v dropped, want %d", got, len(us))
	}
	problems, err := promlint.NewWithMetricFamilies(must(reg.Gather())).Lint()
	if err != nil || len(problems) != 0 {
		t.Error(err, problems)
	}
}

// If this process stands still, no camera is blamed for what comes of it: that
// is told instead. Only a live source's clock tells it.
func TestStandstillIsNotTheCamerasFault(t *testing.T) {
	const froze, thawed = 20 * time.Second, 51 * time.Second
	s := stream{frame: 3600, gop: 200} // a keyframe every 8 s
	for name, c := range map[string]struct {
		live   bool
		frozen bool // else the camera alone sends nothing
		lost   bool // packets while it stood still
		want   []string
	}{
		"live":                 {true, true, false, []string{"stood still for 31s", ""}},
		"live, packets lost":   {true, true, true, []string{"stood still for 31s", ""}},
		"not live":             {false, true, false, nil},
		"the camera is silent": {true, false, false, []string{"more than 10s apart", "no keyframe for 20s", "more than 10s apart", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			var m memory
			var told []string
			m.t, m.loose = t, true
			a := New(Config{Live: c.live, Problem: func(p string) { told = append(told, p) }}, &m, nil)
			if err := a.Tracks(s.tracks()); err != nil {
				t.Fatal(err)
			}
			ticked := epoch.Add(-time.Second)
			for _, u := range s.units(100 * time.Second) {
				at := u.Captured.Sub(epoch)
				now := u.Captured
				switch waits := at >= froze && at < froze+200*time.Millisecond; {
				case waits && c.frozen:
					now = epoch.Add(thawed) // it came, and waited here
				case at >= froze && at < thawed:
					continue // the camera could not send it
				}
				for x := ticked.Add(time.Second); !c.frozen && x.Before(now); x = x.Add(time.Second) {
					ticked = x
					_ = a.Tick(x)
				}
				if now.Sub(ticked) >= time.Second {
					ticked = now
					_ = a.Tick(now)
				}
				if c.lost && at == thawed+2*time.Second { // the late ones
					u.Lost, u.Broken = 7, true
				}
				if err := a.Unit(u); err != nil {
					t.Fatal(err)
				}
			}
			if len(told) != len(c.want) {
				t.Fatalf("told %q, want %q", told, c.want)
			}
			for i, w := range c.want {
				if w == "" != (told[i] == "") || !strings.Contains(told[i], w) {
					t.Errorf("told %q, want %q", told, c.want)
				}
			}
			if m.sessions != 1 {
				t.Errorf("%d sessions", m.sessions)
			}
		})
	}
}

// A standstill often ends the connection. It is told all the same for as long as
// other problems, and is over by itself.
func TestStandstillOutlastsItsConnection(t *testing.T) {
	s := stream{frame: 3600, gop: 25}
	var told []string
	m := memory{t: t}
	a := New(Config{Live: true, Problem: func(p string) { told = append(told, p) }}, &m, nil)
	us := s.units(2 * time.Second)
	feed(t, a, s.tracks(), us)
	_ = a.Tick(epoch.Add(30 * time.Second))
	a.Flush()
	if len(told) != 1 || !strings.Contains(told[0], "stood still for 28s") {
		t.Fatalf("told %q", told)
	}
	feed(t, a, s.tracks(), later(us, 31*time.Second, 0))
	for s := 33; s <= 44; s++ {
		_ = a.Tick(epoch.Add(time.Duration(s) * time.Second))
	}
	if len(told) != 1 {
		t.Errorf("told %q too early", told)
	}
	_ = a.Tick(epoch.Add(45 * time.Second))
	if len(told) != 2 || told[1] != "" {
		t.Errorf("told %q", told)
	}
}
