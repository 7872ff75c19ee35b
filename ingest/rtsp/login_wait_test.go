package rtsp

import (
	"testing"
	"testing/synctest"
	"time"
)

// The wait grows to its bound, and begins anew with other credentials and
// after those that were taken.
func TestLoginWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l login
		refuse := func(url string, want time.Duration) {
			t.Helper()
			got := l.refuse(url, time.Minute, 5*time.Minute)
			if got < want || got > want*3/2 || got > 0 && time.Until(l.until) != got {
				t.Errorf("%s is waited with for %v, want %v to half more", url, got, want)
			}
		}
		for _, want := range []time.Duration{1, 2, 4, 5, 5} {
			refuse("a", want*time.Minute)
		}
		refuse("b", time.Minute)
		l.accept("b")
		if time.Until(l.until) > 0 {
			t.Error("there is a wait after credentials were taken")
		}
		refuse("b", 0)
		refuse("b", time.Minute)
	})
}
