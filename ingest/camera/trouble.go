package camera

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Times that decide how often the same trouble of a camera is logged.
const (
	troublePause    = time.Minute      // from the first line to the second; each pause after it is twice as long
	troublePauseMax = time.Hour        // the longest pause
	troubleNewAfter = 30 * time.Minute // a trouble that was not seen for this time is new; longer than any pause between two attempts to connect
	// liveHolds is how long the line "camera is live" may be the last one of a
	// camera although a trouble that was logged before is there again.
	liveHolds = 10 * time.Minute
	// maxTroubles is how many texts of a camera are remembered.
	maxTroubles = 16
)

// troubleLog logs the troubles of one camera: a new trouble at once, and the same
// one again after a growing pause. Each text has its own pauses, so that two
// alternating texts do not count as new. Its methods may be called from any
// goroutine.
type troubleLog struct {
	log *slog.Logger

	mu       sync.Mutex
	troubles map[string]*trouble // by message and text, without their digits
	open     map[string]bool     // messages that were logged and are not over yet
	live     time.Time           // when it was logged that the camera is live
}

// trouble is the state of one text.
type trouble struct {
	first, seen, logged time.Time
	pause               time.Duration // until it is logged again
	times               int           // how often it was seen
}

func newTroubleLog(log *slog.Logger) *troubleLog {
	return &troubleLog{log: log, troubles: make(map[string]*trouble), open: make(map[string]bool)}
}

// tell logs msg with a trouble, or only counts it if it was logged a short while ago.
// A later line has how often it was seen, and within what time.
func (l *troubleLog) tell(level slog.Level, msg string, what slog.Attr, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	t := l.entry(msg+": "+what.Value.String(), now)
	t.seen = now
	t.times++
	due := t.logged.Add(t.pause)
	if holds := l.live.Add(liveHolds); !l.open[msg] && l.live.After(t.logged) && holds.Before(due) {
		due = holds
	}
	if t.times > 1 && now.Before(due) {
		return
	}
	if t.times > 1 {
		args = append(args, "times", t.times, "within", now.Sub(t.first).Round(time.Second))
	}
	t.logged = now
	t.pause = min(max(2*t.pause, troublePause), troublePauseMax)
	l.open[msg] = true
	l.log.Log(context.Background(), level, msg, append([]any{what}, args...)...)
}

// entry returns the state of a text, which may be new. Beyond maxTroubles it forgets the
// text that was not seen for the longest time.
func (l *troubleLog) entry(text string, now time.Time) *trouble {
	key := strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return -1
		}
		return r
	}, text)
	oldest := ""
	for k, t := range l.troubles {
		if now.Sub(t.seen) > troubleNewAfter {
			delete(l.troubles, k)
		} else if oldest == "" || t.seen.Before(l.troubles[oldest].seen) {
			oldest = k
		}
	}
	if t := l.troubles[key]; t != nil {
		return t
	}
	if len(l.troubles) >= maxTroubles {
		delete(l.troubles, oldest)
	}
	t := &trouble{first: now}
	l.troubles[key] = t
	return t
}

// over logs end (the trouble with message msg is over) if that trouble was
// logged. It reports whether it did.
func (l *troubleLog) over(msg, end string, args ...any) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.open[msg] {
		return false
	}
	delete(l.open, msg)
	l.log.Info(end, args...)
	return true
}

// isLive logs that the camera is live: the first time, and again if the log has
// reported a lost connection since.
func (l *troubleLog) isLive() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.live.IsZero() && !l.open[noConnection] {
		return
	}
	delete(l.open, noConnection)
	l.live = time.Now()
	l.log.Info("camera is live")
}

// Messages of a troubleLog.
const (
	noConnection    = "camera has no connection"
	cameraProblem   = "camera problem"
	notRecorded     = "footage is not recorded"
	noSoundRecorded = "camera's sound is not recorded"
	leftOut         = "footage of the source is left out"
	fallbackToUDP   = "camera gives nothing over TCP; UDP comes next"
)
