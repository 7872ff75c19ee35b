package live

import (
	"testing"
	"testing/synctest"
	"time"
)

// There is room while few bytes are not acknowledged, and none of them for long.
func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(1000, 2*time.Second)
		room := func(want bool) {
			t.Helper()
			if got := w.full() == nil; got != want {
				t.Errorf("room %v, want %v", got, want)
			}
		}
		room(true)
		w.add(999)
		room(true)
		w.add(1)
		room(false)
		opened := w.full()
		w.ack(500)
		<-opened
		room(true) // though the rest was sent at the same time
		time.Sleep(1900 * time.Millisecond)
		w.add(10)
		room(true)
		time.Sleep(200 * time.Millisecond)
		room(false) // the first 1000 are too old
		if _, ok := w.ack(999); !ok {
			t.Error("refused")
		}
		room(false)
		w.ack(1000)
		room(true)
		time.Sleep(1900 * time.Millisecond)
		room(false)
		w.ack(1010)
		room(true)
		time.Sleep(time.Hour)
		room(true)
		for range 100 {
			time.Sleep(time.Millisecond)
			w.add(1)
		}
		if len(w.marks) > 2 || w.inFlight() != 100 {
			t.Errorf("%d marks, %d in flight", len(w.marks), w.inFlight())
		}
	})
}
