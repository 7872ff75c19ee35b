package camsim_test

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/framelog/framelog/internal/camsim"
)

// TestRunDemo reads both cameras of the demo.
func TestRunDemo(t *testing.T) {
	needGStreamer(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
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
