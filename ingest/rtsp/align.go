package rtsp

import (
	"time"

	"github.com/framelog/framelog/internal/rtspconn"
	"github.com/framelog/framelog/schemas"
)

// clock is what is known about one track's RTP time.
type clock struct {
	start    rtspconn.Start
	rate     uint32
	report   rtspconn.Report
	reported bool
}

// mapping holds the clocks of both tracks of a connection.
type mapping struct{ video, audio clock }

// believable is the largest accepted difference between a camera's statements about
// its clocks and the observed packets: between the start of a range and the first
// packet, and between the distance of the tracks by their reports and by their
// arrival. Some cameras send RTP-Info with rtptime=0, or reports from two clocks.
const believable = 10 * time.Second

// offset returns what to add to the sound's time, in ticks of its timescale, so
// that it has the origin of the video: the instant of RTP time 0 of the video's
// clock. It uses the first of these that is there: RTP-Info (RFC 2326, 12.33),
// which names the RTP times of one instant; sender reports (RFC 3550, 6.4.1),
// which name each track's at a wall clock's; the arrival of the first packets.
func (m mapping) offset(timescale uint32) int64 {
	v, a := m.video, m.audio
	at := func(videoTime, audioTime int64, apart time.Duration) int64 {
		return schemas.Rescale(videoTime, v.rate, timescale) - schemas.Rescale(audioTime, a.rate, timescale) +
			schemas.Rescale(int64(apart), uint32(time.Second), timescale)
	}
	arrival := at(v.start.Time, a.start.Time, a.start.Arrived.Sub(v.start.Arrived))
	if v.baseBelievable() && a.baseBelievable() {
		return at(v.start.ClockBase, a.start.ClockBase, 0)
	}
	if v.reported && a.reported {
		o := at(v.report.Time, a.report.Time, a.report.NTP.Sub(v.report.NTP))
		if d := o - arrival; d < ticks(believable, timescale) && -d < ticks(believable, timescale) {
			return o
		}
	}
	return arrival
}

func (c clock) baseBelievable() bool {
	d := c.start.Time - c.start.ClockBase
	return c.start.HasClockBase && d > -ticks(believable, c.rate) && d < ticks(believable, c.rate)
}

func ticks(d time.Duration, rate uint32) int64 {
	return schemas.Rescale(int64(d), uint32(time.Second), rate)
}
