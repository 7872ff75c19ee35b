package exec

import (
	"sync"
	"time"
)

// The directions in which Framelog and a program wait for each other.
const (
	toProgram = iota
	fromProgram
)

// watch tells when a program hangs. That is when Framelog waits for it in both directions
// for too long: the program reads nothing (or has got everything), and answers nothing.
// While Framelog waits for the camera, for its decoder or for Kafka, it blames no program.
type watch struct {
	timeout time.Duration

	mu    sync.Mutex
	timer *time.Timer
	waits [2]bool
}

// newWatch returns a watch that calls hung.
func newWatch(timeout time.Duration, hung func()) *watch {
	t := time.AfterFunc(timeout, hung)
	t.Stop()
	return &watch{timeout: timeout, timer: t}
}

// set says whether Framelog waits for the program in a direction.
func (w *watch) set(direction int, waits bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waits[direction] = waits
	if w.waits[toProgram] && w.waits[fromProgram] {
		w.timer.Reset(w.timeout)
	} else {
		w.timer.Stop()
	}
}

// stop ends the watch.
func (w *watch) stop() { w.set(toProgram, false) }
