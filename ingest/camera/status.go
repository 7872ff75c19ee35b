package camera

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/framelog/framelog/internal/secrets"
	"github.com/framelog/framelog/schemas"
)

// maxErrorText is the bytes of the longest error in a status.
const maxErrorText = 300

// Where a problem of a live camera comes from; the first that is there is
// shown, and that of the sound beside it.
const (
	problemLog    = iota // the log takes nothing
	problemRecord        // the log refuses
	problemSource        // what the camera sends is odd
	problemSound         // its sound cannot be recorded
	problemKinds
)

// board is a camera's status as it changes. Its methods may be called from
// any goroutine.
type board struct {
	put   func(schemas.Status)
	every time.Duration
	wake  chan struct{} // 1: something has changed

	mu       sync.Mutex
	s        schemas.Status
	problems [problemKinds]string
	meter    meter
	quiet    bool // another owner tells
}

func newBoard(s schemas.Status, every time.Duration, put func(schemas.Status)) *board {
	s.Since = time.Now()
	return &board{put: put, every: every, wake: make(chan struct{}, 1), s: s}
}

// run writes the status: now, on each change, and every so often.
func (b *board) run(ctx context.Context) {
	tick := time.NewTicker(b.every)
	defer tick.Stop()
	for {
		b.write()
		select {
		case <-b.wake:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (b *board) write() {
	b.mu.Lock()
	s, quiet := b.s, b.quiet
	s.Updated = time.Now()
	s.FPS, s.Bitrate = b.meter.rates(s.Updated)
	if s.State == schemas.StateLive {
		s.Problem = shownProblem(b.problems)
	}
	b.mu.Unlock()
	if !quiet {
		b.put(s)
	}
}

// shownProblem is what a status tells of all problems. That of the sound lasts as
// long as the camera is set so, and neither hides another nor is hidden.
func shownProblem(problems [problemKinds]string) string {
	shown := ""
	for _, p := range problems[:problemSound] {
		if p != "" {
			shown = p
			break
		}
	}
	switch sound := problems[problemSound]; {
	case shown == "":
		return sound
	case sound != "":
		return shown + "; " + sound
	}
	return shown
}

// change applies f, and has the status written where that made a difference.
func (b *board) change(f func()) {
	b.mu.Lock()
	before, problems, quiet := b.s, b.problems, b.quiet
	f()
	if b.s.State != before.State {
		b.s.Since = time.Now()
	}
	changed := b.s != before || b.problems != problems || b.quiet != quiet
	b.mu.Unlock()
	if !changed {
		return
	}
	select {
	case b.wake <- struct{}{}:
	default: // it will be written anyway
	}
}

// state sets what the camera does. A nil err clears the error.
func (b *board) state(state schemas.State, err error) {
	text := ""
	if err != nil {
		text = cleanText(short(err))
	}
	b.change(func() {
		b.s.State, b.s.Error = state, text
		if state != schemas.StateLive {
			b.meter = meter{}
		}
	})
}

func (b *board) current() schemas.State {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.s.State
}

func (b *board) problem(kind int, text string) {
	b.change(func() { b.problems[kind] = text })
}

// mute stops the status from being written, or lets it go on.
func (b *board) mute(quiet bool) {
	b.change(func() { b.quiet = quiet })
}

// tracks sets what the camera sends.
func (b *board) tracks(tracks []schemas.Track) {
	b.change(func() {
		b.s.Video, b.s.Audio, b.s.Width, b.s.Height = "", "", 0, 0
		for _, t := range tracks {
			if t.Codec.Video() {
				b.s.Video, b.s.Width, b.s.Height = t.Codec, t.Width, t.Height
			} else {
				b.s.Audio = t.Codec
			}
		}
	})
}

// size sets the size of the pictures, which may stand in them alone.
func (b *board) size(width, height uint16) {
	b.change(func() { b.s.Width, b.s.Height = width, height })
}

// unit counts what has arrived.
func (b *board) unit(now time.Time, video bool, size int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.meter.add(now, video, size)
}

// clean is an error's text as people may see it: without credentials, on one
// line, and not too long.
func clean(err error) string { return cleanText(err.Error()) }

func cleanText(text string) string {
	text = strings.Join(strings.Fields(secrets.Redact(text)), " ")
	if len(text) > maxErrorText {
		text = text[:maxErrorText] + "…"
	}
	return strings.ToValidUTF8(text, "")
}

// meterSeconds is how far back a meter looks.
const meterSeconds = 10

// meter measures what arrives, over the last ten seconds.
type meter struct {
	first time.Time
	slots [meterSeconds + 1]struct {
		second        int64 // since first
		frames, bytes int
	}
}

func (m *meter) add(now time.Time, video bool, size int) {
	if m.first.IsZero() {
		m.first = now
	}
	second := int64(max(now.Sub(m.first), 0) / time.Second)
	s := &m.slots[second%int64(len(m.slots))]
	if s.second != second {
		s.second, s.frames, s.bytes = second, 0, 0
	}
	if video {
		s.frames++
	}
	s.bytes += size
}

// rates gives frames and bits a second over the whole seconds that have
// passed; 0 before the first has.
func (m *meter) rates(now time.Time) (fps float64, bitrate uint64) {
	if m.first.IsZero() {
		return 0, 0
	}
	second := int64(max(now.Sub(m.first), 0) / time.Second)
	n := min(second, meterSeconds)
	if n == 0 {
		return 0, 0
	}
	frames, bytes := 0, 0
	for _, s := range m.slots {
		if s.second >= second-n && s.second < second {
			frames += s.frames
			bytes += s.bytes
		}
	}
	return float64(frames) / float64(n), uint64(bytes) * 8 / uint64(n)
}
