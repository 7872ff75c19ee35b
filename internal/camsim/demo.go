package camsim

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// DemoCamera is one camera of the demo.
type DemoCamera struct {
	Path, Label string
	Live        LiveConfig
	// Sub is the camera's second stream, at Path + [DemoSub].
	Sub LiveConfig
}

// DemoSub stands behind the path of a demo camera in that of its second stream.
const DemoSub = "-small"

// Demo returns the two cameras of `framelog up --demo`: one with sound, one
// with B-frames, each with a second stream. Their paths are good camera ids.
func Demo() []DemoCamera {
	harbour := Look{Label: "Harbour", Top: [3]byte{150, 150, 100}, Bottom: [3]byte{50, 160, 100}, Ball: [3]byte{190, 50, 170}}
	garden := Look{Label: "Garden", Top: [3]byte{170, 110, 120}, Bottom: [3]byte{60, 100, 105}, Ball: [3]byte{120, 110, 210}}
	return []DemoCamera{
		{Path: "demo-harbour", Label: "Harbour (with sound)", Live: LiveConfig{
			Audio: true,
			Look:  harbour,
		}, Sub: LiveConfig{Width: 320, Height: 180, FPS: 10, Bitrate: 150, Look: harbour}},
		{Path: "demo-garden", Label: "Garden (with B-frames)", Live: LiveConfig{
			BFrames: 2,
			Look:    garden,
		}, Sub: LiveConfig{Width: 320, Height: 180, FPS: 10, Bitrate: 150, Look: garden}},
	}
}

// RunDemo serves the demo's cameras at listen until ctx ends. ready is called
// once, when clients can connect.
func RunDemo(ctx context.Context, listen string, log *slog.Logger, ready func()) error {
	cfg := Config{Listen: listen, Log: log}
	ended := make(chan error, 2*len(Demo()))
	for _, d := range Demo() {
		for path, live := range map[string]LiveConfig{d.Path: d.Live, d.Path + DemoSub: d.Sub} {
			// A busy machine makes it late rather than incomplete: a hole would look like a
			// fault of the recorder.
			live.MaxLate, live.Log = 2*time.Second, log.With("camera", path)
			l, err := NewLive(ctx, live)
			if err != nil {
				return fmt.Errorf("camsim: demo camera %s: %w", path, err)
			}
			defer l.Close()
			go func() { // ends at the latest with the deferred Close
				<-l.done
				ended <- fmt.Errorf("camsim: demo camera %s: %w", path, l.failure())
			}()
			cfg.Cameras = append(cfg.Cameras, CameraConfig{Path: path, Feed: l})
		}
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
