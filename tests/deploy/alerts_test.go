package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// soon is how long an alert may take: what it waits for takes up to 90 s.
const soon = 4 * time.Minute

// scene is a Framelog with two cameras, and a Prometheus with the rules that are shipped.
type scene struct {
	*testenv.Framelog
	prom    string
	cameras map[string]*camsim.Camera
}

func newScene(t *testing.T) *scene {
	t.Helper()
	testenv.Long(t)
	t.Parallel()
	s := &scene{cameras: map[string]*camsim.Camera{}}
	urls := map[string]string{}
	for _, id := range []string{"gate", "yard"} {
		s.cameras[id], urls[id] = system.Camera(t, camsim.CameraConfig{Feed: system.Loop(t, testenv.Clip{Size: "320x240", FPS: 15, Seconds: 6, KBits: 300})})
	}
	s.Framelog = testenv.Up(t, testenv.UpOptions{Config: "monitor: {interval: 1s}\n" + system.Cameras(urls)})
	s.prom = prometheus(t, strings.TrimPrefix(s.URL, "http://"))
	testenv.Wait(t, 2*testenv.Patience, "both cameras to be recorded", func() bool {
		return len(instant(t, s.prom, `framelog:hop_behind_seconds{hop="log"} < 10`)) == 2
	})
	return s
}

// process runs the processor "work", whose function is f.
func (s *scene) process(t *testing.T, f processors.Func) (stop func()) {
	t.Helper()
	return system.Process(t, s.Broker, processors.Processor{Name: "work", Attempts: 1, Process: f})
}

// reach waits until a number has reached a value for both cameras: long enough for other
// alerts to fire too.
func (s *scene) reach(t *testing.T, number string, value int) {
	t.Helper()
	testenv.Wait(t, soon, fmt.Sprintf("%s to reach %d", number, value), func() bool {
		return len(instant(t, s.prom, fmt.Sprintf("%s >= %d", number, value))) == len(s.cameras)
	})
}

// firing are the alerts that fire, as "name camera hop", sorted.
func (s *scene) firing(t *testing.T) (all []string) {
	t.Helper()
	for _, a := range instant(t, s.prom, `ALERTS{alertstate="firing"}`) {
		all = append(all, fmt.Sprintf("%s %s %s", a.labels["alertname"], a.labels["camera"], a.labels["hop"]))
	}
	slices.Sort(all)
	return all
}

// waitFiring waits until these alerts fire, and no other. want is sorted.
func (s *scene) waitFiring(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	if !testenv.Poll(t, soon, func() bool { got = s.firing(t); return fmt.Sprint(got) == fmt.Sprint(want) }) {
		t.Errorf("alerts after %v: %q, want %q", soon, got, want)
	}
}

// onlyEver checks that no other alert has fired since the start.
func (s *scene) onlyEver(t *testing.T, alert string) {
	t.Helper()
	for _, a := range instant(t, s.prom, fmt.Sprintf(`count_over_time(ALERTS{alertstate="firing", alertname!=%q}[1h])`, alert)) {
		t.Errorf("another alert has fired: %v", a.labels)
	}
}

// lags are queries for how far the processor "work" is behind: what its rendition lacks, and
// what its group has not done.
var lags = []string{
	`framelog_monitor_hop_behind_seconds{hop="work"}`,
	`framelog_monitor_group_lag_seconds{group="framelog-process-work", rendition="raw"}`,
}

// within waits until the processor is less than 5 s behind with both cameras.
func (s *scene) within(t *testing.T, what string) {
	t.Helper()
	testenv.Wait(t, soon, what, func() bool {
		for _, q := range lags {
			if len(instant(t, s.prom, q+" < 5")) != len(s.cameras) {
				return false
			}
		}
		return true
	})
}

func nothing(context.Context, *processors.Fragment, *processors.Output) error { return nil }

// A processor is stopped for a minute: two scrapes later it is behind by a minute more, its
// alert fires, and it is behind by nothing once it has caught up.
func TestStoppedProcessor(t *testing.T) {
	s := newScene(t)
	stop := s.process(t, nothing)
	s.within(t, "the processor to be near the edge")
	stop()
	stopped := time.Now()
	asked := stopped.Add(time.Minute + 2*time.Second) // Prometheus scrapes once a second
	testenv.Wait(t, soon, "two scrapes after a minute", func() bool {
		up := instant(t, s.prom, "timestamp(framelog_monitor_up)")
		return len(up) == 1 && up[0].value > float64(asked.Unix()+1)
	})
	for _, q := range lags {
		newest := "last_over_time(" + q + "[5s])" // a scrape may have come too late
		before, after := instantAt(t, s.prom, newest, stopped), instantAt(t, s.prom, newest, asked)
		if len(before) != len(s.cameras) || len(after) != len(s.cameras) {
			t.Fatalf("%s: %v, then %v", q, before, after)
		}
		for i := range after {
			if rise := after[i].value - before[i].value; rise < 54 || rise > 66 {
				t.Errorf("%v: %.1f s behind, and after a stop of 60 s %.1f s", after[i].labels, before[i].value, after[i].value)
			}
		}
	}
	s.waitFiring(t, "FramelogHopBehind gate work", "FramelogHopBehind yard work")
	s.process(t, nothing)
	s.within(t, "the processor to be near the edge again")
	s.waitFiring(t)
	s.onlyEver(t, "FramelogHopBehind")
}

func TestDeadCamera(t *testing.T) {
	s := newScene(t)
	s.process(t, nothing)
	s.within(t, "the processor to be near the edge")
	s.cameras["yard"].Stall(true)
	s.waitFiring(t, "FramelogCameraSilent yard log")
	s.cameras["yard"].Stall(false)
	s.waitFiring(t)
	s.onlyEver(t, "FramelogCameraSilent")
}

func TestFullDisk(t *testing.T) {
	s := newScene(t)
	if code := s.Stop(); code != 0 {
		t.Fatalf("framelog up ended with %d", code)
	}
	s.Env = []string{"FRAMELOG_INGEST_DISK_RESERVE=900TiB"}
	s.Start(t)
	s.WaitReady(t)
	s.waitFiring(t, "FramelogDiskFull gate log", "FramelogDiskFull yard log")
	s.reach(t, `framelog_monitor_gap_seconds_total{rendition="raw", reason="storage"}`, 95)
	s.onlyEver(t, "FramelogDiskFull")
}

func TestDeadLetterStorm(t *testing.T) {
	s := newScene(t)
	s.process(t, func(context.Context, *processors.Fragment, *processors.Output) error { return errors.New("no") })
	s.waitFiring(t, "FramelogDeadLetters gate dlq-work", "FramelogDeadLetters yard dlq-work")
	s.reach(t, "framelog:dead_letters", 45)
	s.onlyEver(t, "FramelogDeadLetters")
}
