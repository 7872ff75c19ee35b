package schemas

import (
	"testing"
	"time"
)

func TestStale(t *testing.T) {
	now := time.Now()
	for age, want := range map[time.Duration]bool{0: false, 30 * time.Second: false, 31 * time.Second: true} {
		if s := (Status{Updated: now.Add(-age)}); s.Stale(now) != want {
			t.Errorf("status of age %v: stale %v", age, !want)
		}
	}
}
