package native

import (
	"fmt"
	"net"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/framelog/framelog/internal/rtspconn"
	"github.com/framelog/framelog/schemas"
)

// Packets as the library hands them over.
type (
	packet     = rtp.Packet
	packetRTCP = rtcp.Packet
)

// track is what is known of one received track. Conn.mu guards it.
type track struct {
	rtspconn.Track
	depay depayloader
	order order // over UDP

	started      bool
	start        rtspconn.Start
	clockBase    uint32
	hasClockBase bool
	ssrc         uint32
	report       report
	ended        bool // RTCP BYE came

	seq     uint16 // of the last packet
	ext     int64  // extended RTP time of the last packet
	packets uint32 // since the last unit
	lost    uint32 // missing packets since the last unit
	codec   schemas.Codec
	scale   uint32 // timescale of codec

	stranger  uint32 // SSRC of packets that are not from ssrc
	strangers int    // how many of them came in a row
}

// report is the newest sender report (RFC 3550, 6.4.1).
type report struct {
	ssrc, time uint32
	ntp        time.Time
}

func (t *track) reported() bool { return !t.report.ntp.IsZero() && t.report.ssrc == t.ssrc }

func newTrack(s *stream, opt rtspconn.Options) *track {
	return &track{Track: s.Track, depay: newDepayloader(s), order: order{latency: opt.Latency}}
}

// receive takes a packet that came in the RTSP connection.
func (c *Conn) receive(t *track, p *packet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.packet(t, p, time.Now())
}

// datagram takes a packet that came over UDP.
func (c *Conn) datagram(t *track, from []net.IP, b []byte, addr *net.UDPAddr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !t.order.accepts(from, addr) {
		return
	}
	p := new(packet)
	if p.Unmarshal(append([]byte(nil), b...)) != nil {
		return
	}
	now := time.Now()
	for _, p := range t.order.push(p, now) {
		c.packet(t, p, now)
	}
}

// comfortNoise is the payload type of comfort noise (RFC 3551, 6).
const comfortNoise = 13

// packet takes the next packet of a track. c.mu is held. A panic of a depayloader ends this
// connection alone.
func (c *Conn) packet(t *track, p *packet, now time.Time) {
	defer func() {
		if v := recover(); v != nil {
			c.failLocked(&rtspconn.Error{Failure: rtspconn.BadStream, Detail: fmt.Sprintf("panic: %T", v)})
		}
	}()
	if t.ID == schemas.AudioTrack && c.soundArrived.IsZero() && p.PayloadType != comfortNoise {
		c.soundArrived = now
	}
	if !t.mine(p) {
		if t.strangers >= restarted {
			c.failLocked(rtspconn.ErrRestarted)
		}
		return
	}
	missing := t.count(p, now)
	t.depay.push(p, t.ext, missing, func(f *rtspconn.Format, u *frame) {
		if f != nil {
			t.codec, t.scale = f.Codec, schemas.MediaTimescale
			if t.ID == schemas.AudioTrack {
				t.scale = uint32(f.Rate)
			}
			c.queue.Put(rtspconn.Item{Track: t.ID, Format: f}, t.codec)
		}
		if u != nil {
			c.queue.Put(t.unit(u, now), t.codec)
		}
	})
}

// restarted is how many packets in a row of another source mean that the camera has begun
// its stream anew.
const restarted = 5

// mine reports whether a packet is of the track's source.
func (t *track) mine(p *packet) bool {
	switch {
	case !t.started || p.SSRC == t.ssrc:
		t.strangers = 0
		return true
	case p.SSRC == t.stranger:
		t.strangers++
	default:
		t.stranger, t.strangers = p.SSRC, 1
	}
	return false
}

// count follows sequence numbers and times, and returns how many packets are missing before p.
func (t *track) count(p *packet, now time.Time) (missing uint16) {
	if !t.started {
		t.started, t.ssrc = true, p.SSRC
		t.ext = int64(p.Timestamp)
		t.start = rtspconn.Start{Time: t.ext, Arrived: now}
	} else {
		t.ext = rtspconn.Extend(t.ext, p.Timestamp)
		missing = p.SequenceNumber - t.seq - 1
		if missing >= 0x8000 {
			missing = 0 // the sender began again: it is not known what is missing
		}
		t.lost += uint32(missing)
	}
	t.seq = p.SequenceNumber
	t.packets++
	return missing
}

// unit makes the item of a frame.
func (t *track) unit(f *frame, now time.Time) rtspconn.Item {
	it := rtspconn.Item{Track: t.ID, Packets: t.packets - f.skipped, Unit: rtspconn.Unit{
		PTS:     schemas.Rescale(f.ext, t.ClockRate, t.scale) + f.after,
		Data:    f.data,
		Arrived: now,
		Lost:    t.lost + f.skipped,
		Damaged: f.damaged,
	}}
	t.packets, t.lost = 0, 0
	if t.reported() {
		at := rtspconn.Extend(f.ext, t.report.time)
		it.Unit.NTP = t.report.ntp.Add(time.Duration(schemas.Rescale(f.ext-at, t.ClockRate, uint32(time.Second)) +
			schemas.Rescale(f.after, t.scale, uint32(time.Second))))
	}
	return it
}

// control takes an RTCP packet.
func (c *Conn) control(t *track, p packetRTCP) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch p := p.(type) {
	case *rtcp.SenderReport:
		if p.NTPTime != 0 { // RFC 3550, 6.4.1: the sender has no wall clock
			t.report = report{ssrc: p.SSRC, time: p.RTPTime, ntp: rtspconn.FromNTP(p.NTPTime)}
		}
	case *rtcp.Goodbye:
		c.goodbye(t)
	}
}

// goodbye ends the connection with the video, unless sound has come: then it ends when both
// have ended.
func (c *Conn) goodbye(t *track) {
	t.ended = true
	now := time.Now()
	for _, p := range t.order.flush() {
		c.packet(t, p, now)
	}
	sound := c.tracks[schemas.AudioTrack]
	if c.tracks[schemas.VideoTrack].ended && (sound == nil || sound.ended || sound.codec == "") {
		c.failLocked(rtspconn.ErrEnded)
	}
}
