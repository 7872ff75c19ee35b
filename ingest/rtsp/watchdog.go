package rtsp

import "time"

// standstill is how long after the last look at a connection the next one may come.
// One is due every pace, so later ones mean that this process did not run.
const standstill = time.Second

// watchdog holds the times from which a connection's limits count. Time in which
// this process stood still does not count: nothing could be received then.
type watchdog struct {
	began  time.Time // the attempt
	video  time.Time // when the last unit of video came, or PLAY was accepted
	looked time.Time // the last look at the connection
	stood  time.Time // when a standstill was noticed; zero: there was none
}

func newWatchdog(now time.Time) *watchdog { return &watchdog{began: now, video: now, looked: now} }

// look notes that the connection is looked at. It comes before what has come is
// taken.
func (w *watchdog) look(now time.Time) {
	if stood := now.Sub(w.looked); stood > standstill {
		w.began, w.video, w.stood = w.began.Add(stood), w.video.Add(stood), now
	}
	w.looked = now
}

// aftermath is how long after a standstill the end of a connection comes of it: the
// camera gave up, or what it sent meanwhile was too much.
const aftermath = 5 * time.Second

// blames reports whether a connection that has ended by now ended because this process
// stood still.
func (w *watchdog) blames(now time.Time) bool {
	return !w.stood.IsZero() && now.Sub(w.stood) < aftermath
}
