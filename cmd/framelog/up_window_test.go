package main

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
)

// The log says how much the broker keeps: once after a start, when the bit rates are
// known, and again after a lasting change.
func TestWindowIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		snapshots, done := make(chan registry.Snapshot), make(chan struct{})
		began := time.Now()
		var got []string
		go func() {
			defer close(done)
			tellWindows(ctx, snapshots, 1<<30, func(w window) {
				got = append(got, fmt.Sprintf("%v: %d cameras, %d assumed, %v", time.Since(began), w.cameras, w.assumed, w.length.Round(time.Minute)))
			})
		}()
		s := registry.Snapshot{Cameras: map[string]schemas.Camera{}, Status: map[string]schemas.Status{}}
		for second := range 600 {
			switch second { // a start: cameras come, then their first and low bit rates, then those that stay
			case 0, 1:
				id := fmt.Sprint("c", second)
				s.Cameras[id] = schemas.Camera{ID: id}
			case 2:
				s.Cameras["away"] = schemas.Camera{ID: "away"}
			case 3:
				s.Status["c0"] = schemas.Status{Bitrate: 100_000}
			case 13:
				s.Status["c0"] = schemas.Status{Bitrate: 2_000_000}
				s.Status["c1"] = schemas.Status{Bitrate: 2_000_000}
			case 300: // for a moment
				s.Status["c1"] = schemas.Status{Bitrate: 20_000_000}
			case 310:
				s.Status["c1"] = schemas.Status{Bitrate: 2_000_000}
			case 400: // about what was assumed
				s.Status["away"] = schemas.Status{Bitrate: 3_000_000}
			case 500:
				s.Cameras["new"] = schemas.Camera{ID: "new"}
			}
			snapshots <- s
			synctest.Wait()
			time.Sleep(time.Second)
		}
		cancel()
		<-done
		want := "[20s: 3 cameras, 1 assumed, 17m0s 8m40s: 4 cameras, 1 assumed, 12m0s]"
		if fmt.Sprint(got) != want {
			t.Errorf("got  %v\nwant %s", got, want)
		}
	})
}
