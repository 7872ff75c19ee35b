package testenv

import (
	"testing"
	"time"
)

// What is on its way in a slow network arrives when the network is fast again.
func TestSlowNetworkBecomesFast(t *testing.T) {
	n := &SlowNetwork{changed: make(chan struct{})}
	n.Set(1, time.Hour)
	p := &piece{data: make([]byte, 4096), at: time.Now()}
	n.send(p)
	if left := time.Until(p.due); left < 2*time.Hour {
		t.Fatalf("the piece arrives after %v", left)
	}
	arrived := make(chan struct{})
	go func() {
		defer close(arrived)
		n.arrive(p)
	}()
	n.Set(0, 0)
	select {
	case <-arrived:
	case <-time.After(Patience):
		t.Fatal("the piece does not arrive")
	}
}
