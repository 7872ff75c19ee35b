package forward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"

	"github.com/framelog/framelog/schemas"
)

// Packets that wait in the client for the connection. The client refuses more than
// queueSize, and over TCP there are at most window.
const (
	queueSize = 512
	window    = 256
)

// rtspConn publishes by RTSP (RFC 2326, methods ANNOUNCE and RECORD).
type rtspConn struct {
	client *gortsplib.Client
	tcp    *countedConn // nil: media goes over UDP
	tracks map[uint8]*rtspTrack
	start  int64  // media time of RTP time 0, in ticks of schemas.MediaTimescale
	pushed uint64 // packets
	pace   pace
	ended  chan struct{}
	cause  error
}

type rtspTrack struct {
	media *description.Media
	pack  packetizer
}

func (t target) dialRTSP(ctx context.Context, u *url.URL, tracks []schemas.Track, start int64) (connection, error) {
	c := &rtspConn{tracks: map[uint8]*rtspTrack{}, start: start, ended: make(chan struct{})}
	desc := &description.Session{}
	for _, track := range tracks {
		pack, err := newPacketizer(track, uint8(96+len(desc.Medias)))
		if err != nil {
			return nil, err
		}
		media := pack.media(track.Codec)
		desc.Medias = append(desc.Medias, media)
		c.tracks[track.ID] = &rtspTrack{media, pack}
	}
	at, err := base.ParseURL(u.String())
	if err != nil {
		return nil, errors.New("the URL is malformed")
	}
	protocol := gortsplib.ProtocolTCP
	if t.udp {
		protocol = gortsplib.ProtocolUDP
	}
	dial := func(ctx context.Context, _, address string) (net.Conn, error) {
		conn, err := t.dialTCP(ctx, address)
		if err != nil || t.udp {
			return conn, err
		}
		c.tcp = &countedConn{Conn: conn, progress: make(chan struct{}, 1)}
		return c.tcp, nil
	}
	c.client = &gortsplib.Client{
		Scheme: at.Scheme, Host: at.Host, Protocol: &protocol, ReadTimeout: connectTimeout, WriteTimeout: writeTimeout,
		WriteQueueSize: queueSize, UserAgent: "Framelog", DialContext: dial, DialTLSContext: dial,
	}
	if err := c.record(ctx, at, desc); err != nil {
		return nil, err
	}
	go func() {
		c.cause = c.client.Wait()
		close(c.ended)
	}()
	return c, nil
}

func (c *rtspConn) record(ctx context.Context, u *base.URL, desc *description.Session) error {
	if err := c.client.Start(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, c.client.Close)
	_, err := c.client.Announce(u, desc)
	if err == nil {
		err = c.client.SetupAll(u, desc.Medias)
	}
	if err == nil {
		_, err = c.client.Record()
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		c.client.Close()
	}
	return err
}

func (c *rtspConn) write(ctx context.Context, t *schemas.Track, s schemas.Sample, at time.Time) error {
	track := c.tracks[t.ID]
	packets, err := track.pack.packets(s)
	if err != nil {
		return fmt.Errorf("packetize %s: %w", t.Codec, err)
	}
	if c.tcp == nil {
		if err := c.pace.wait(ctx, schemas.Rescale(s.DTS, t.Timescale, schemas.MediaTimescale)); err != nil {
			return err
		}
	}
	stamp := uint32(s.DTS + int64(s.PTSOffset) - schemas.Rescale(c.start, schemas.MediaTimescale, t.Timescale))
	for _, p := range packets {
		if err := c.room(ctx, window-1); err != nil {
			return err
		}
		p.Timestamp += stamp
		if err := c.client.WritePacketRTPWithNTP(track.media, p, at); err != nil {
			return err
		}
		c.pushed++
	}
	return nil
}

func (c *rtspConn) flush(ctx context.Context) error { return c.room(ctx, 0) }

// room waits until at most n packets wait for the TCP connection.
func (c *rtspConn) room(ctx context.Context, n uint64) error {
	for c.tcp != nil && c.pushed-c.tcp.packets.Load() > n {
		select {
		case <-c.tcp.progress:
		case <-c.ended:
			return c.cause
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (c *rtspConn) gone() <-chan struct{} { return c.ended }
func (c *rtspConn) err() error            { return c.cause }

func (c *rtspConn) close() {
	if c.tcp != nil && c.pushed != c.tcp.packets.Load() {
		c.tcp.Close() // else the client would wait for the packet that it is writing
	}
	c.client.Close()
	<-c.ended
}

// countedConn is a connection for interleaved RTSP. It counts the RTP packets that the
// operating system has taken.
type countedConn struct {
	net.Conn
	packets  atomic.Uint64
	progress chan struct{} // has an element after each packet
}

// Write gets one RTSP message, or one frame: '$', channel, length and packet (RFC 2326
// section 10.12).
func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err == nil && len(b) > 5 && b[0] == '$' && !rtcp(b[5]) {
		c.packets.Add(1)
		select {
		case c.progress <- struct{}{}:
		default:
		}
	}
	return n, err
}

// rtcp reports whether the second byte of a packet is that of RTCP (RFC 5761 section 4).
func rtcp(b byte) bool { return b >= 192 && b <= 223 }

// pace sends packets over UDP as fast as they were recorded: a chunk comes at once, and
// would overrun buffers on the way.
type pace struct {
	began time.Time
	media int64
}

// maxPause is how long a packet waits at most. A longer wait means that media time and the
// clock have nothing to do with each other any more.
const maxPause = time.Second

func (p *pace) wait(ctx context.Context, media int64) error {
	now := time.Now()
	pause := p.began.Add(schemas.FromTicks(media - p.media)).Sub(now)
	if pause <= 0 || pause > maxPause {
		if pause < -maxPause/10 || pause > maxPause {
			p.began, p.media = now, media
		}
		return nil
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
