package rtsp

import "time"

// standstill is the longest time between two looks at a connection. One is due
// every pace, so after a longer time this process did not run.
const standstill = time.Second

// watchdog holds the times from which a connection's limits count. Time in which
// this process stood still does not count, since it could receive nothing.
type watchdog struct {
	began  time.Time // when the attempt began
	video  time.Time // when the last unit of video came, or PLAY was accepted
	looked time.Time // the last look at the connection
	stood  time.Time // when a standstill was noticed; zero: there was none
}

func newWatchdog(now time.Time) *watchdog { return &watchdog{began: now, video: now, looked: now} }

// look records a look at the connection. It is called before the units are
// taken.
func (w *watchdog) look(now time.Time) {
	if stood := now.Sub(w.looked); stood > standstill {
		w.began, w.video, w.stood = w.began.Add(stood), w.video.Add(stood), now
	}
	w.looked = now
}

// aftermath is how long after a standstill the end of a connection counts as its
// effect: the camera gave up, or it sent too much meanwhile.
const aftermath = 5 * time.Second

// blames reports whether a connection that ended just now ended because this process
// stood still.
func (w *watchdog) blames(now time.Time) bool {
	return !w.stood.IsZero() && now.Sub(w.stood) < aftermath
}
