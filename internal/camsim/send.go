package camsim

import (
	"context"
	"crypto/sha256"
	"maps"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/pion/rtcp"

	"github.com/framelog/framelog/schemas"
)

// sendLane is the sending side of one track.
type sendLane struct {
	track   schemas.Track
	pack    *packetizer
	media   *description.Media
	initial uint32
	seq     uint16
	base    int64  // added to the feed's times, in ticks
	end     int64  // of the last unit sent, without jump
	ssrc    uint32 // of the last packet that was sent
	last    uint16 // its number
	packets uint32
	octets  uint32
	report  time.Time // when the next sender report is due
}

func (l *sendLane) ticks(d time.Duration) int64 {
	return schemas.Rescale(int64(d), uint32(time.Second), l.track.Timescale)
}

// emit sends one unit of the feed; it is called from the feed's goroutine.
func (c *Camera) emit(u Unit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var l *sendLane
	for _, o := range c.lanes {
		if o.track.ID == u.Track {
			l = o
		}
	}
	if l == nil {
		return
	}
	scale := l.track.Timescale
	if c.rebase {
		// The first unit of a new feed begins where the video ended.
		c.rebase = false
		v := c.lanes[0]
		base := v.end - schemas.Rescale(u.DTS, scale, v.track.Timescale)
		for _, o := range c.lanes {
			o.base = schemas.Rescale(base, v.track.Timescale, o.track.Timescale)
		}
	}
	c.instant = span(u.DTS, scale)
	l.end = max(l.end, u.DTS+int64(u.Duration)+l.base)
	if c.held(l, u) {
		return
	}
	shift := l.base + l.ticks(c.jump)
	u.PTS += shift
	u.DTS += shift
	var sets [][]byte
	if u.Sync && !c.cfg.NoParameterSets {
		sets = l.pack.sets
	}
	pkts, err := l.pack.encode(u, sets)
	if err != nil {
		c.log.Error("packetize", "error", err)
		return
	}
	if c.cfg.Rewrite != nil {
		c.cfg.Rewrite(u, pkts)
	}
	rec := Sent{
		Unit: u, Hash: sha256.Sum256(u.Data), At: time.Now(), Clock: u.wall, Feed: c.feed, Peers: len(c.clients),
		RTP: uint32(int64(l.initial) + u.PTS), Seq: l.seq, Count: len(pkts),
	}
	for _, p := range pkts {
		p.Timestamp += rec.RTP
		p.SequenceNumber = l.seq
		l.seq++
		if c.chance(c.faults.lose) {
			rec.Lost++
			continue
		}
		if c.chance(c.faults.corrupt) && c.corrupt(p) {
			rec.Broken++
		}
		l.octets += uint32(len(p.Payload))
		l.packets++
		_ = c.stream.WritePacketRTP(l.media, p) // a client's full queue is counted in overflow
		l.ssrc, l.last = p.SSRC, p.SequenceNumber
	}
	c.report(l, rec)
	if len(c.sent) >= c.cfg.SentLimit {
		c.sent = append(c.sent[:0], c.sent[len(c.sent)/4+1:]...)
		c.dropped += c.cfg.SentLimit - len(c.sent)
	}
	c.sent = append(c.sent, rec)
	if done := c.faults.behindKey; done != nil && u.Sync && l.track.Codec.Video() {
		c.faults.stall, c.faults.behindKey = true, nil
		close(done)
	}
}

// Flushed reports whether everything that was sent so far has left the queues
// of all clients that play over TCP, and is in their connections. (Drop empties
// the queues.) It is false if a client came after the end of a track, since
// that client has nothing of it.
func (c *Camera) Flushed() bool {
	type packet struct {
		ssrc uint32
		seq  uint16
	}
	var last []packet
	conns := map[*gortsplib.ServerSession]*gortsplib.ServerConn{}
	c.set(func() {
		for _, l := range c.lanes {
			if l.ssrc != 0 {
				last = append(last, packet{l.ssrc, l.last})
			}
		}
		maps.Copy(conns, c.clients)
	})
	for session, sc := range conns {
		nc, ok := sc.NetConn().(*conn)
		if tr := session.Transport(); !ok || tr == nil || tr.Protocol != gortsplib.ProtocolTCP {
			continue
		}
		for _, p := range last {
			if !nc.wrote(p.ssrc, p.seq) {
				return false
			}
		}
	}
	return true
}

// flush waits until Flushed is true, for ten seconds at most: a client may not
// read, or may have lost the last packet. It returns false if ctx ended.
func (c *Camera) flush(ctx context.Context) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); !c.Flushed() && time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return ctx.Err() == nil
}

// report sends a sender report if one is due.
func (c *Camera) report(l *sendLane, rec Sent) {
	now := rec.At
	if c.cfg.SenderReports.Off || c.faults.noReports || c.began.IsZero() || now.Before(l.report) || l.ssrc == 0 {
		return
	}
	l.report = now.Add(c.cfg.SenderReports.Every)
	since := now.Sub(rec.wall)
	if c.speed > 0 {
		since = time.Duration(float64(since) * c.speed)
	}
	_ = c.stream.WritePacketRTCP(l.media, &rtcp.SenderReport{
		SSRC: l.ssrc, NTPTime: ntp(now), RTPTime: uint32(int64(rec.RTP) + l.ticks(since)),
		PacketCount: l.packets, OctetCount: l.octets,
	})
}

// ntp is t as RFC 3550 section 4 writes it: seconds since 1900 in 32.32 bits.
func ntp(t time.Time) uint64 {
	s := uint64(t.Unix()) + 2208988800
	return s<<32 | uint64(t.Nanosecond())<<32/1e9
}
