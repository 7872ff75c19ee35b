package rtsp

import (
	"testing"
	"time"

	"github.com/framelog/framelog/internal/rtspconn"
)

// Sound whose RTP time is that of the picture has the same time after offset.
func TestOffset(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	// The picture's clock stood at 90,000 and the sound's at 480,000 at one
	// instant; the first sound is of 100 ms later and came 150 ms later.
	video := clock{rate: 90000, start: rtspconn.Start{Time: 90000, Arrived: now}}
	audio := clock{rate: 48000, start: rtspconn.Start{Time: 484800, Arrived: now.Add(150 * time.Millisecond)}}
	const exact, arrival = 48000 - 480000, 48000 - 480000 + 2400
	info := func(c clock, base int64) clock {
		c.start.HasClockBase, c.start.ClockBase = true, base
		return c
	}
	report := func(c clock, at int64, ntp time.Time) clock {
		c.reported, c.report = true, rtspconn.Report{Time: at, NTP: ntp}
		return c
	}
	for name, c := range map[string]struct {
		m    mapping
		want int64
	}{
		"arrival":          {mapping{video, audio}, arrival},
		"RTP-Info":         {mapping{info(video, 90000), info(audio, 480000)}, exact},
		"of one only":      {mapping{info(video, 90000), audio}, arrival},
		"rtptime=0":        {mapping{info(video, 0), info(audio, -48000*60)}, arrival},
		"reports":          {mapping{report(video, 180000, now.Add(time.Second)), report(audio, 480000, now)}, exact},
		"one report":       {mapping{report(video, 180000, now.Add(time.Second)), audio}, arrival},
		"two wall clocks":  {mapping{report(video, 90000, now), report(audio, 480000, now.Add(time.Hour))}, arrival},
		"RTP-Info goes on": {mapping{info(report(video, 90000, now), 90000), info(report(audio, 480000, now.Add(time.Second)), 480000)}, exact},
	} {
		if got := c.m.offset(48000); got != c.want {
			t.Errorf("%s: offset %d, want %d", name, got, c.want)
		}
	}
}
