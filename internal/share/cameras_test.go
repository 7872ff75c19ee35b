package share

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// process is a process of a test, without a group: the test is the group.
type process struct {
	*Cameras
	role *fakeRole
}

func newProcess(t *testing.T, name string, logs *fakeLogs) *process {
	role := newFakeRole(t, name, logs)
	return &process{New(Config{Doing: "recorded"}, role, slog.New(slog.DiscardHandler)), role}
}

// take gives a process partition 1 with cameras, as the group would.
func (p *process) take(cams ...schemas.Camera) {
	p.Assigned([]int32{1})
	p.Desired(1, cameraMap(cams...))
}

func (p *process) work(camera string) *fakeWork {
	p.role.mu.Lock()
	defer p.role.mu.Unlock()
	return p.role.works[camera]
}

// finish ends a process as Run does.
func (p *process) finish(t *testing.T) {
	t.Helper()
	p.Close()
	if n := len(p.cameras); n != 0 {
		t.Errorf("%d cameras are left", n)
	}
}

func wantOpens(t *testing.T, logs *fakeLogs, want ...string) {
	t.Helper()
	if got := logs.opens(); !slices.Equal(got, want) {
		t.Errorf("opened %q, want %q", got, want)
	}
}

var part1 = []int32{1}

// What a process does with camera a, which it records from the first second on,
// while the group and the registry do this.
func TestOneProcess(t *testing.T) {
	a, b := testCamera("a"), testCamera("b")
	changed := a
	changed.URL += "/2"
	label := a
	label.Label = "Gate"
	for name, tt := range map[string]struct {
		do        func(t *testing.T, p *process)
		opens     []string // after the first
		hole      time.Duration
		ended     bool // nobody records it at the end
		muted     bool
		forgotten string
	}{
		"lost for an hour, and given back": {do: func(_ *testing.T, p *process) {
			p.Lost(part1)
			after(time.Hour)
			p.Assigned(part1)
			after(time.Second) // the partition is read again
			p.Desired(1, cameraMap(a))
			after(time.Minute)
		}},
		"lost, and not given back": {do: func(t *testing.T, p *process) {
			p.Lost(part1)
			p.Assigned(nil)
			after(29 * time.Second)
			if p.role.logs.recordedBy("a") != "one" {
				t.Error("ended before its time")
			}
			after(2 * time.Second)
		}, ended: true, forgotten: "a"},
		"revoked, and nobody begins": {do: func(t *testing.T, p *process) {
			p.Revoked(part1)
			after(29 * time.Second)
			if p.role.logs.recordedBy("a") != "one" || !p.work("a").isMuted() {
				t.Error("not recorded, or its status is written by who is no owner")
			}
			after(2 * time.Second)
		}, ended: true, forgotten: "a"},
		"revoked and given back, again and again": {do: func(_ *testing.T, p *process) {
			for range 5 {
				p.Revoked(part1)
				after(20 * time.Second)
				p.take(a)
				after(20 * time.Second)
			}
		}},
		"its log ends": {do: func(_ *testing.T, p *process) {
			close(p.role.logs.newest("a").deleted)
			after(2 * time.Second)
		}, opens: []string{"a one assigned"}, hole: 500 * time.Millisecond},
		"its log ends while it is released": {do: func(_ *testing.T, p *process) {
			p.Revoked(part1)
			close(p.role.logs.newest("a").deleted)
			after(time.Minute)
		}, ended: true, forgotten: "a"},
		"removed": {do: func(_ *testing.T, p *process) {
			p.Desired(1, nil)
			after(time.Millisecond)
		}, ended: true, forgotten: "a removed"},
		"removed and back, faster than it ends": {do: func(_ *testing.T, p *process) {
			p.role.slow = time.Second
			for range 10 {
				p.Desired(1, nil)
				p.Desired(1, cameraMap(a))
			}
			after(2 * time.Second)
		}, opens: []string{"a one added"}, hole: time.Second},
		"another URL": {do: func(_ *testing.T, p *process) {
			p.Desired(1, cameraMap(changed))
			after(time.Second)
		}, opens: []string{"a one changed"}},
		"another label": {do: func(_ *testing.T, p *process) {
			p.Desired(1, cameraMap(label))
			after(time.Second)
		}},
		"another camera": {do: func(_ *testing.T, p *process) {
			p.Desired(1, cameraMap(a, b))
			after(time.Second)
		}, opens: []string{"b one added"}},
		"news of a partition that is another process's": {do: func(_ *testing.T, p *process) {
			p.Desired(2, cameraMap(b))
			p.Lost(part1)
			p.Desired(1, cameraMap(changed))
			after(time.Second)
		}},
		"the process ends, and the group goes on": {do: func(_ *testing.T, p *process) {
			p.end()
			p.Assigned([]int32{2})
			p.Desired(2, cameraMap(b))
			p.Lost(part1)
			p.Revoked(part1)
			after(time.Second)
		}, ended: true, forgotten: "a"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProcess(t, "one", newFakeLogs())
				p.take(a)
				after(time.Second)
				tt.do(t, p)
				wantOpens(t, p.role.logs, slices.Concat([]string{"a one assigned"}, tt.opens)...)
				if got := p.role.logs.longestHole("a"); got != tt.hole {
					t.Errorf("it was not recorded for %v, want %v", got, tt.hole)
				}
				if ended := p.role.logs.recordedBy("a") == ""; ended != tt.ended {
					t.Errorf("ended: %v", ended)
				}
				if got := p.role.forgotten(); got != tt.forgotten {
					t.Errorf("forgotten: %q, want %q", got, tt.forgotten)
				}
				if w := p.work("a"); w != nil && w.isMuted() {
					t.Error("it is muted")
				}
				p.finish(t)
			})
		})
	}
}

func TestReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProcess(t, "one", newFakeLogs())
		want := func(problem string) {
			t.Helper()
			if err := p.Ready(); (err == nil) != (problem == "") || err != nil && !strings.Contains(err.Error(), problem) {
				t.Errorf("ready: %v, want %q", err, problem)
			}
		}
		want("not joined")
		p.Assigned([]int32{1, 2})
		p.Desired(1, cameraMap(testCamera("a")))
		want("not read")
		p.Desired(2, nil)
		want("")
		p.Lost([]int32{1, 2})
		want("")
		p.Assigned(part1)
		if n := p.Partitions(); n != 1 {
			t.Errorf("%d partitions", n)
		}
		p.finish(t)
	})
}

// A camera goes to another process without a hole, and each of its frames is
// recorded by one of them.
func TestHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs := newFakeLogs()
		one, two := newProcess(t, "one", logs), newProcess(t, "two", logs)
		one.take(testCamera("a"))
		two.Assigned(nil) // it joins, and the others have everything
		after(time.Minute)
		one.Revoked(part1)
		after(20 * time.Second) // two is slow
		two.take(testCamera("a"))
		after(time.Second)
		wantOpens(t, logs, "a one assigned", "a two moved")
		if logs.recordedBy("a") != "two" || logs.longestHole("a") != 0 || one.role.forgotten() != "a" {
			t.Errorf("recorded by %q, not at all for %v; forgotten %q", logs.recordedBy("a"), logs.longestHole("a"), one.role.forgotten())
		}
		one.finish(t)
		two.finish(t)
	})
}

// A camera whose log was taken is opened again once nobody writes it and the
// group has confirmed that it is ours. If its record changes, the group's word is
// enough.
func TestReclaim(t *testing.T) {
	changed := testCamera("a")
	changed.URL += "/2"
	for name, tt := range map[string]struct {
		do   func(p *process)
		wait time.Duration // until the group is asked
		want string
	}{
		"deserted": {func(*process) {}, 2*sessionTime + desertedAfter + desertedAfter/8, "a one deserted"},
		"changed":  {func(p *process) { p.Desired(1, cameraMap(changed)) }, time.Millisecond, "a one changed"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logs := newFakeLogs()
				p := newProcess(t, "one", logs)
				var confirmed atomic.Bool
				p.confirm = func(context.Context) error {
					if confirmed.Load() {
						return nil
					}
					return errors.New("rebalance in progress")
				}
				p.take(testCamera("a"))
				after(time.Second)
				logs.open(&fakeWriter{camera: "a", process: "two", over: true}, "assigned", 0)
				after(time.Second)
				tt.do(p)
				after(tt.wait)
				wantOpens(t, logs, "a one assigned", "a two assigned")
				confirmed.Store(true)
				after(time.Second)
				wantOpens(t, logs, "a one assigned", "a two assigned", tt.want)
				if logs.recordedBy("a") != "one" {
					t.Error("it is not recorded")
				}
				p.finish(t)
			})
		})
	}
}

// What happens to a camera is a line of the log with its name.
func TestLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProcess(t, "one", newFakeLogs())
		var log testenv.Log
		p.log = textLog(&log)
		p.take(testCamera("a"))
		after(time.Second)
		p.Revoked(part1)
		after(time.Minute)
		for _, want := range []string{"level=INFO msg=\"camera goes to another process", "level=WARN msg=\"camera was given away and no other process has begun"} {
			if got := log.Lines(want); len(got) != 1 || !strings.Contains(got[0], "camera=a") {
				t.Errorf("%d lines with %q", len(got), want)
			}
		}
		p.finish(t)
	})
}
