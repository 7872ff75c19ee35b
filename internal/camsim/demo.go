package camsim

import (
	"context"
	"fmt"
	"log/slog"
)

// DemoCamera is one camera of the demo.
type DemoCamera struct {
	Path, Label string
	Live        LiveConfig
}

// Demo returns the two cameras of `framelog up --demo`: one with sound, one
// with B-frames. Their paths are good camera ids.
func Demo() []DemoCamera {
	return []DemoCamera{
		{Path: "demo-harbour", Label: "Harbour (with sound)", Live: LiveConfig{
			Audio: true,
			Look:  Look{Label: "Harbour", Top: [3]byte{150, 150, 100}, Bottom: [3]byte{50, 160, 100}, Ball: [3]byte{190, 50, 170}},
		}},
		{Path: "demo-garden", Label: "Garden (with B-frames)", Live: LiveConfig{
			BFrames: 2,
			Look:    Look{Label: "Garden", Top: [3]byte{170, 110, 120}, Bottom: [3]byte{60, 100, 105}, Ball: [3]byte{120, 110, 210}},
		}},
	}
}

// RunDemo serves the demo's cameras at listen until ctx ends. ready is called
// once, when clients can connect.
func RunDemo(ctx context.Context, listen string, log *slog.Logger, ready func()) error {
	cfg := Config{Listen: listen, Log: log}
	ended := make(chan error, len(Demo()))
	for _, d := range Demo() {
		l, err := NewLive(ctx, d.Live)
		if err != nil {
			return fmt.Errorf("camsim: demo camera %s: %w", d.Path, err)
		}
		defer l.Close()
		go func() { // ends at the latest with the deferred Close
			<-l.done
			ended <- fmt.Errorf("camsim: demo camera %s: %w", d.Path, l.failure())
		}()
		cfg.Cameras = append(cfg.Cameras, CameraConfig{Path: d.Path, Feed: l})
	}
	s, err := Start(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	if ready != nil {
		ready()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		return err
	}
}
