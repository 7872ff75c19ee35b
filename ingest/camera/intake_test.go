package camera

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

func TestRefusedFootageIsShown(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		_, end := runCamera(t, w, testCamera("a"))
		after(time.Second)
		log := w.logs.of("a")
		refuse := func(err error) {
			w.logs.mu.Lock()
			log.refuse = err
			w.logs.mu.Unlock()
			after(time.Second)
		}
		refuse(errors.New("budget"))
		if s := w.registry.of("a"); s.State != schemas.StateLive || !strings.Contains(s.Problem, "budget") {
			t.Errorf("status %+v", s)
		}
		refuse(nil)
		if s := w.registry.of("a"); s.Problem != "" {
			t.Errorf("status %+v", s)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// A camera that is refused from its first chunk on is live and says so.
func TestRefusedFromTheStart(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		s := w.service(t, Config{})
		c := newRecording(&s.cfg, &s.deps, s.metrics, s.reserve, s.log, testCamera("a"))
		c.intake.wrote(true, time.Second, medialog.ErrFenced)
		if got := c.status.current(); got != schemas.StateConnecting {
			t.Errorf("a writer that has ended: %s", got)
		}
		c.intake.wrote(true, time.Second, fmt.Errorf("%w: %s", medialog.ErrRefused, schemas.ReasonStorage))
		c.status.write()
		if s := w.registry.of("a"); s.State != schemas.StateLive || !strings.Contains(s.Problem, "storage") {
			t.Errorf("status %+v", s)
		}
	})
}

// If Kafka takes the first chunk of each fragment and refuses it later, only
// the second is an error: the problem stands until a fragment is whole.
func TestRefusedLaterIsShownAllTheTime(t *testing.T) {
	w := newWorld(t)
	s := w.service(t, Config{})
	c := newRecording(&s.cfg, &s.deps, s.metrics, s.reserve, s.log, testCamera("a"))
	later := fmt.Errorf("%w: %s", medialog.ErrRefused, schemas.ReasonProduce)
	for i, tt := range []struct {
		begins bool
		err    error
		want   string
	}{
		{true, nil, ""},
		{false, later, "Kafka refuses it"},
		{false, later, "Kafka refuses it"},
		{true, nil, "Kafka refuses it"},
		{false, later, "Kafka refuses it"},
		{true, nil, "Kafka refuses it"},
		{false, nil, "Kafka refuses it"},
		{true, nil, ""},
	} {
		c.intake.wrote(tt.begins, time.Second, tt.err)
		c.status.write()
		if got := w.registry.of("a").Problem; tt.want == "" && got != "" || !strings.Contains(got, tt.want) || strings.Contains(got, "medialog") {
			t.Errorf("after chunk %d: %q, want %q", i, got, tt.want)
		}
	}
}

// That footage is refused is logged once when it begins, with the reason and what
// helps, and once when it ends, with how much it was.
func TestRefusalIsLogged(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		began := time.Now()
		_, end := runCamera(t, w, testCamera("a"))
		after(time.Second)
		refuse := func(reason string, d time.Duration) {
			w.logs.mu.Lock()
			w.logs.writers["a"].refuse = nil
			if reason != "" {
				w.logs.writers["a"].refuse = fmt.Errorf("%w: %s", medialog.ErrRefused, reason)
			}
			w.logs.mu.Unlock()
			after(d)
		}
		want := func(times int, texts ...string) {
			t.Helper()
			if got := len(lines(w, began, texts[0])); got != times {
				t.Errorf("%d lines of %q, want %d", got, texts[0], times)
			}
			for _, text := range texts {
				if !strings.Contains(w.log.String(), text) {
					t.Errorf("no line has %q", text)
				}
			}
		}
		refuse(schemas.ReasonBudget, 11*time.Second)
		want(1, notRecorded, "look at the brokers and their disks (budget)")
		refuse("", 2*time.Second)
		want(1, "footage is recorded again", "not_recorded=11s")
		for range 60 { // five seconds of ten, for ten minutes
			refuse(schemas.ReasonBudget, 5*time.Second)
			refuse("", 5*time.Second)
		}
		// After a minute, then after pauses that grow: what was not logged stands in
		// the next line.
		want(4, notRecorded, "times=")
		want(4, "footage is recorded again", "not_recorded=30s", "not_recorded=1m0s", "not_recorded=2m0s")
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}
