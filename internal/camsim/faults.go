package camsim

import (
	"math/rand/v2"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/pion/rtp"
)

// faults are the present faults of a camera.
type faults struct {
	refuse    bool
	stall     bool
	behindKey chan struct{} // stall after the next keyframe, and close this channel
	mute      bool
	noKeys    bool
	noReports bool
	lose      float64 // share of packets
	corrupt   float64 // share of packets
}

func (c *Camera) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// Refuse answers DESCRIBE and SETUP with 503 and closes the connection. Clients
// that play go on. See [Server.Down] for a port that refuses.
func (c *Camera) Refuse(on bool) { c.set(func() { c.faults.refuse = on }) }

// Drop ends the connections of all clients that play.
func (c *Camera) Drop() {
	c.mu.Lock()
	conns := make([]interface{ Close() }, 0, 2*len(c.clients))
	for session, sc := range c.clients {
		conns = append(conns, sc, session)
	}
	c.mu.Unlock()
	for _, o := range conns { // not under the lock: closing takes sessions off the camera
		o.Close()
	}
}

// Stall keeps all connections and sends nothing. Media time runs on.
func (c *Camera) Stall(on bool) { c.set(func() { c.faults.stall = on }) }

// StallBehindKey stalls right after the next keyframe, and then closes the
// channel: no unit follows that keyframe.
func (c *Camera) StallBehindKey() <-chan struct{} {
	done := make(chan struct{})
	c.set(func() { c.faults.behindKey = done })
	return done
}

// Mute stops and restarts the sound alone.
func (c *Camera) Mute(on bool) { c.set(func() { c.faults.mute = on }) }

// NoKeyframes drops all sync units of the video.
func (c *Camera) NoKeyframes(on bool) { c.set(func() { c.faults.noKeys = on }) }

// NoSenderReports stops and restarts sender reports.
func (c *Camera) NoSenderReports(on bool) { c.set(func() { c.faults.noReports = on }) }

// Jump moves the timestamps of all tracks by d from the next unit on. Jumps
// add up.
func (c *Camera) Jump(d time.Duration) { c.set(func() { c.jump += d }) }

// Lose drops a share (0 to 1) of the RTP packets; seed decides which.
func (c *Camera) Lose(share float64, seed uint64) {
	c.set(func() { c.faults.lose, c.rand = share, rand.New(rand.NewPCG(seed, 0)) })
}

// Corrupt overwrites bytes inside the payload of a share (0 to 1) of the RTP
// packets; seed decides which.
func (c *Camera) Corrupt(share float64, seed uint64) {
	c.set(func() { c.faults.corrupt, c.rand = share, rand.New(rand.NewPCG(seed, 0)) })
}

// GarbagePackets sends n RTP packets of random payload on the video track,
// with good headers.
func (c *Camera) GarbagePackets(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lanes[0]
	for range n {
		p := &rtp.Packet{
			Header: rtp.Header{
				Version: 2, PayloadType: l.pack.format.PayloadType(), SequenceNumber: l.seq,
				Timestamp: uint32(int64(l.initial) + l.end + l.ticks(c.jump)),
			},
			Payload: c.noise(1 + c.rand.IntN(1200)),
		}
		l.seq++
		_ = c.stream.WritePacketRTP(l.media, p)
		l.ssrc, l.last = p.SSRC, p.SequenceNumber
	}
}

// GarbageBytes writes n random bytes into the RTSP connection of each client
// that plays, between two messages, and returns them. Some clients then close
// the connection, some search for the next message.
func (c *Camera) GarbageBytes(n int) []byte {
	c.mu.Lock()
	b := c.noise(n)
	var conns []*conn
	for _, sc := range c.clients {
		if nc, ok := sc.NetConn().(*conn); ok {
			conns = append(conns, nc)
		}
	}
	c.mu.Unlock()
	for _, nc := range conns {
		_, _ = nc.Write(b) // a connection that ended needs no garbage
	}
	return b
}

// Switch goes on with another feed at once: another resolution, GOP length or
// other parameter sets. Timestamps go on without a break. Clients are
// disconnected if codecs or the configuration of the sound differ. It returns
// when the camera sends the new feed, or false if the server has closed.
func (c *Camera) Switch(f Feed) bool {
	select {
	case c.swap <- f:
		return true
	case <-c.ended:
		return false
	}
}

func (c *Camera) chance(share float64) bool { return share > 0 && c.rand.Float64() < share }

func (c *Camera) noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(c.rand.Uint32())
	}
	return b
}

// corrupt overwrites up to eight bytes beyond the payload's first four.
func (c *Camera) corrupt(p *rtp.Packet) bool {
	if len(p.Payload) <= 4 {
		return false
	}
	b := append([]byte(nil), p.Payload...) // a copy, so that the feed's data do not change
	for range 8 {
		b[4+c.rand.IntN(len(b)-4)] = byte(c.rand.Uint32())
	}
	p.Payload = b
	return true
}

// held reports whether a fault holds the unit back.
func (c *Camera) held(l *sendLane, u Unit) bool {
	video := l.track.Codec.Video()
	switch {
	case c.faults.stall:
		return true
	case video:
		return c.faults.noKeys && u.Sync && l.track.Codec != schemas.MJPEG
	}
	return c.faults.mute || c.cfg.AudioAfter > 0 && (c.began.IsZero() || time.Since(c.began) < c.cfg.AudioAfter)
}
