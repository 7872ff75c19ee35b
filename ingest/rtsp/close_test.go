package rtsp_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/ingest/rtsp"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/testenv"
)

// A connection is released at once, at whatever moment it is closed.
func TestCloseAtAnyTime(t *testing.T) {
	testenv.SkipShort(t, "seconds of real time")
	engines(t, func(t *testing.T, engine string) {
		feed := clip(t, testenv.Clip{Seconds: 3, FPS: 60, Audio: "aac"}).With(true, 1)
		srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed}}})
		const connections, at = 8, 20 // at the same time, and one after the other
		var all sync.WaitGroup
		for range connections {
			all.Go(func() {
				for range at {
					s := &sink{}
					ctx, cancel := context.WithCancel(t.Context())
					done := make(chan error, 1)
					src := rtsp.New(rtsp.Config{Engine: engine, URL: fixed(t, srv.URL("c")), ConnectTimeout: testenv.Patience, NoDataTimeout: testenv.Patience})
					go func() { done <- src.Run(ctx, s) }()
					if !testenv.Poll(t, testenv.Patience, func() bool { return len(s.of(1)) > 0 }) {
						t.Error("nothing comes")
					}
					time.Sleep(time.Duration(rand.Int64N(int64(20 * time.Millisecond)))) // the moment that is tried
					cancel()
					<-done
					if slices.Contains(s.states(), ingest.EventUnreleased) {
						t.Errorf("not released: %v", s.states())
					}
				}
			})
		}
		all.Wait()
	})
}
