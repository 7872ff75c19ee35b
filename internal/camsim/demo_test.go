package camsim_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/testenv"
)

// TestRunDemo reads both cameras of the demo.
func TestRunDemo(t *testing.T) {
	needGStreamer(t)
	addr := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))
	ctx, cancel := context.WithTimeout(t.Context(), 5*testenv.Patience)
	defer cancel()
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- camsim.RunDemo(ctx, addr, slog.New(slog.DiscardHandler), func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatalf("the demo ended: %v", err)
	}
	for _, d := range camsim.Demo() {
		c := mustConnect(t, "rtsp://"+addr+"/"+d.Path)
		eventually(t, "a keyframe of "+d.Path, func() bool {
			for _, u := range c.seen() {
				if isKey(u) {
					return true
				}
			}
			return false
		})
		var aac *format.MPEG4Audio
		if has := c.desc.FindFormat(&aac) != nil; has != d.Live.Audio {
			t.Errorf("%s: sound is %v", d.Path, has)
		}
		if d.Live.Audio {
			c.more(t, 1, 10)
		}
		c.Close()
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
