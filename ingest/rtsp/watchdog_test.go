package rtsp

import (
	"testing"
	"time"
)

// Only time in which the connection was looked at counts.
func TestWatchdog(t *testing.T) {
	for name, c := range map[string]struct {
		looks []time.Duration // after the start
		want  time.Duration   // that began and video moved
	}{
		"all the time":      {[]time.Duration{pace, 2 * pace, 3 * pace}, 0},
		"late":              {[]time.Duration{pace, standstill, 2 * standstill}, 0},
		"stood still":       {[]time.Duration{pace, pace + time.Minute, 2*pace + time.Minute}, time.Minute},
		"stood still twice": {[]time.Duration{time.Minute, time.Minute + pace, 2*time.Minute + pace}, 2 * time.Minute},
	} {
		began := time.Now()
		dog := newWatchdog(began)
		for _, d := range c.looks {
			dog.look(began.Add(d))
		}
		last := began.Add(c.looks[len(c.looks)-1])
		if got, want := dog.blames(last), c.want > 0; got != want || dog.blames(last.Add(aftermath)) {
			t.Errorf("%s: blames the standstill: %v, want %v", name, got, want)
		}
		if got := dog.began.Sub(began); got != c.want || dog.video.Sub(began) != got {
			t.Errorf("%s: moved by %v and %v, want %v", name, got, dog.video.Sub(began), c.want)
		}
	}
}
