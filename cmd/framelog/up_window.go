package main

import (
	"context"
	"fmt"
	"time"

	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/registry"
)

// windowSettles is the time from a change of the cameras to the log line about the
// window. Statuses come every 10 s and hold the average bit rate of 10 s.
const windowSettles = 20 * time.Second

// tellWindows calls tell with the amount of footage that the limit holds:
// windowSettles after the cameras are there, and again after each large change. It
// runs until ctx ends.
func tellWindows(ctx context.Context, snapshots <-chan registry.Snapshot, limit int64, tell func(window)) {
	var told, now window
	settles := time.NewTimer(windowSettles)
	settles.Stop()
	waits := false
	for {
		select {
		case s := <-snapshots:
			now = windowOf(s, limit)
			if now.cameras == 0 || !now.differs(told) {
				settles.Stop()
				waits = false
			} else if !waits {
				settles.Reset(windowSettles)
				waits = true
			}
		case <-settles.C:
			told, waits = now, false
			tell(now)
		case <-ctx.Done():
			return
		}
	}
}

// window is the amount of footage that a limit holds.
type window struct {
	cameras, assumed int
	length           time.Duration
}

// attrs are the attributes of the window's line in the log.
func (w window) attrs(limit config.Size) []any {
	attrs := []any{"minutes", int(w.length.Minutes()), "cameras", w.cameras, "limit", limit.String()}
	if w.assumed > 0 {
		attrs = append(attrs, "assumed", fmt.Sprintf("%d of them at 4 Mbit/s, until it is known", w.assumed))
	}
	return attrs
}

// assumedBitrate is the bit rate of a camera whose own is not known yet, in bit/s.
const assumedBitrate = 4_000_000

func windowOf(s registry.Snapshot, limit int64) (w window) {
	var rate uint64
	for id, cam := range s.Cameras {
		if cam.Disabled {
			continue
		}
		w.cameras++
		if b := s.Status[id].Bitrate; b > 0 {
			rate += b
		} else {
			rate += assumedBitrate
			w.assumed++
		}
		if sub := s.Status[id].Substream; sub != nil {
			rate += sub.Bitrate
		}
	}
	if rate > 0 {
		// The broker begins to delete at 15/16 of its limit.
		w.length = time.Duration(float64(limit) * 15 / 16 * 8 / float64(rate) * float64(time.Second))
	}
	return w
}

// differs reports whether w differs enough from told for a new log line.
func (w window) differs(told window) bool {
	if w.cameras != told.cameras {
		return true
	}
	ratio := float64(w.length) / float64(max(told.length, 1))
	return ratio > 1.5 || ratio < 0.67
}
