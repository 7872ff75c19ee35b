package faults

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// status is what the API said of a camera from a time on.
type status struct {
	system.Status
	at time.Time
}

func (s status) String() string {
	return fmt.Sprintf("%s %s error=%q problem=%q %dx%d", s.at.Format("15:04:05.000"), s.State, s.Error, s.Problem, s.Width, s.Height)
}

// clean reports whether the camera is live and has no problem.
func (s status) clean() bool {
	return s.State == schemas.StateLive && s.Error == "" && s.Problem == "" && !s.Stale
}

// size returns a condition: the camera is clean and has this size.
func size(width, height uint16) func(status) bool {
	return func(s status) bool { return s.clean() && s.Width == width && s.Height == height }
}

// same reports whether nothing that tests look at has changed.
func (s status) same(o status) bool {
	return s.State == o.State && s.Error == o.Error && s.Problem == o.Problem && s.Stale == o.Stale &&
		s.Width == o.Width && s.Height == o.Height
}

// history is what the API has said of each camera, change by change.
type history struct {
	mu  sync.Mutex
	all map[string][]status
}

// follow asks the API at base ten times a second, until the test ends. If the test
// fails, it logs what the API has said.
func (h *history) follow(t *testing.T, base string) {
	h.all = map[string][]status{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			if all, err := system.Statuses(t, base); err == nil {
				h.add(all, time.Now())
			}
			select {
			case <-tick.C:
			case <-t.Context().Done():
				return
			}
		}
	}()
	t.Cleanup(func() {
		<-done
		if t.Failed() {
			for id := range h.all {
				t.Logf("%s: the API said:\n%s", id, lines(h.said(id)))
			}
		}
	})
}

func (h *history) add(all map[string]system.Status, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, s := range all {
		now, before := status{s, at}, h.all[id]
		if n := len(before); n == 0 || !now.same(before[n-1]) {
			h.all[id] = append(before, now)
		}
	}
}

// said returns what the API has said of a camera so far.
func (h *history) said(id string) []status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.all[id])
}

// since returns what the API has said of a camera from a time on. It begins with
// what the API said last before that time, which still holds then.
func (h *history) since(id string, from time.Time) []status {
	all := h.said(id)
	for len(all) > 1 && !all[1].at.After(from) {
		all = all[1:]
	}
	return all
}

// waitSaid waits until the API has said something of the camera, from a time on,
// for which cond holds. It returns that.
func (h *history) waitSaid(t *testing.T, id string, from time.Time, what string, cond func(status) bool) (found status) {
	t.Helper()
	const timeout = 2 * testenv.Patience
	if !testenv.Poll(t, timeout, func() bool {
		said := h.since(id, from)
		i := slices.IndexFunc(said, cond)
		if i >= 0 {
			found = said[i]
		}
		return i >= 0
	}) {
		t.Errorf("%s: the API did not say %s within %v; it said:\n%s", id, what, timeout, lines(h.said(id)))
	}
	return found
}

// waitProblem waits until the API has said, from a time on, that the camera is in
// a state, with an error or problem that matches text.
func (h *history) waitProblem(t *testing.T, id string, from time.Time, state schemas.State, text string) {
	t.Helper()
	re := regexp.MustCompile(text)
	h.waitSaid(t, id, from, fmt.Sprintf("%s, %q", state, text), func(s status) bool {
		return s.State == state && (re.MatchString(s.Error) || re.MatchString(s.Problem))
	})
}

// waitClean waits until the API says that the camera is live and has no problem.
// It reports whether that came.
func (h *history) waitClean(t *testing.T, id string) bool {
	t.Helper()
	const timeout = 2 * testenv.Patience
	ok := testenv.Poll(t, timeout, func() bool {
		said := h.said(id)
		return len(said) > 0 && said[len(said)-1].clean()
	})
	if !ok {
		t.Errorf("%s: the API still names a problem after %v; it said:\n%s", id, timeout, lines(h.said(id)))
	}
	return ok
}

func lines(all []status) string {
	var b strings.Builder
	for _, s := range all {
		fmt.Fprintf(&b, "\t%v\n", s)
	}
	return b.String()
}
