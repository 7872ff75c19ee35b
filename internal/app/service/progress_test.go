package service

import (
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestProgress: a Write goes on while the client takes something now and then, and ends when the
// client takes nothing any more.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe() // whose writes wait for a reader
		defer far.Close()
		var taken atomic.Uint64
		w := &watch{limit: time.Minute, acked: func() (uint64, bool) { return taken.Load(), true }, end: func() { _ = near.Close() }}
		const takes = 60
		go func() {
			for range takes {
				time.Sleep(59 * time.Second)
				n, _ := far.Read(make([]byte, 1)) // it fails if the connection has ended: then the test fails
				taken.Add(uint64(n))
			}
		}()
		began := time.Now()
		n, err := w.during(func() (int, error) { return near.Write(make([]byte, takes+1)) })
		if silent := time.Since(began) - takes*59*time.Second; n != takes || !errors.Is(err, errUntaken) || silent < time.Minute || silent > 2*time.Minute {
			t.Errorf("%d bytes, %v, %s after the last of them", n, err, silent)
		}
	})
}

// TestProgressEnds: a Write that returns has nothing behind it that could end the connection later.
func TestProgressEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &watch{limit: time.Minute, acked: func() (uint64, bool) { return 0, true }, end: func() { t.Error("the connection was ended") }}
		n, err := w.during(func() (int, error) {
			time.Sleep(90 * time.Second) // longer than one look
			return 1, nil
		})
		time.Sleep(time.Hour)
		if n != 1 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
}
