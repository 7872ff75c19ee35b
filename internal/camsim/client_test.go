package camsim_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph264"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testclip"
	"github.com/framelog/framelog/tests/testenv"
)

// client reads one camera and keeps what comes, by track: 0 is the video.
type client struct {
	*gortsplib.Client
	play *base.Response
	desc *description.Session
	gone chan struct{}

	mu      sync.Mutex
	packets map[int][]*rtp.Packet
	reports map[int][]*rtcp.SenderReport
	units   [][][]byte   // NAL units of the video's access units
	errors  int          // of the depacketizer and of the client's own
	raw     bytes.Buffer // all that was read from the connection
}

// tap keeps what a client reads from its connection.
type tap struct {
	net.Conn
	c *client
}

func (t tap) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	t.c.raw.Write(b[:n])
	return n, err
}

func connect(t *testing.T, address string, protocol gortsplib.Protocol) (*client, error) {
	t.Helper()
	u, err := base.ParseURL(address)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{packets: map[int][]*rtp.Packet{}, reports: map[int][]*rtcp.SenderReport{}, gone: make(chan struct{})}
	c.Client = &gortsplib.Client{
		Scheme: u.Scheme, Host: u.Host, Protocol: &protocol, TLSConfig: &tls.Config{InsecureSkipVerify: true},
		OnPacketsLost: func(uint64) {},
		ReadTimeout:   testenv.Patience, WriteTimeout: testenv.Patience,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			var d net.Dialer
			nc, err := d.DialContext(ctx, network, address)
			return tap{nc, c}, err
		},
		OnDecodeError: func(error) { c.mu.Lock(); c.errors++; c.mu.Unlock() },
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	fail := func(err error) (*client, error) { c.Close(); return nil, err }
	desc, _, err := c.Describe(u)
	if err != nil {
		return fail(err)
	}
	c.desc = desc
	if err := c.SetupAll(desc.BaseURL, desc.Medias); err != nil {
		return fail(err)
	}
	index := map[*description.Media]int{}
	for i, m := range desc.Medias {
		index[m] = i
	}
	var dec *rtph264.Decoder
	if f, ok := desc.Medias[0].Formats[0].(*format.H264); ok {
		if dec, err = f.CreateDecoder(); err != nil {
			return fail(err)
		}
	}
	c.OnPacketRTPAny(func(m *description.Media, _ format.Format, p *rtp.Packet) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.packets[index[m]] = append(c.packets[index[m]], p)
		if index[m] != 0 || dec == nil {
			return
		}
		if au, err := dec.Decode(p); err == nil {
			c.units = append(c.units, au)
		} else if !errors.Is(err, rtph264.ErrMorePacketsNeeded) {
			c.errors++
		}
	})
	c.OnPacketRTCPAny(func(m *description.Media, p rtcp.Packet) {
		if sr, ok := p.(*rtcp.SenderReport); ok {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.reports[index[m]] = append(c.reports[index[m]], sr)
		}
	})
	if c.play, err = c.Play(nil); err != nil {
		return fail(err)
	}
	go func() { _ = c.Wait(); close(c.gone) }()
	t.Cleanup(c.Close)
	return c, nil
}

func mustConnect(t *testing.T, address string) *client {
	t.Helper()
	c, err := connect(t, address, gortsplib.ProtocolTCP)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// count is how many packets of a track came.
func (c *client) count(track int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.packets[track])
}

// seen is a copy of the video's access units.
func (c *client) seen() [][][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([][][]byte(nil), c.units...)
}

func isKey(unit [][]byte) bool {
	for _, n := range unit {
		if n[0]&0x1f == 5 {
			return true
		}
	}
	return false
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	testenv.Wait(t, testenv.Patience, what, ok)
}

// more waits until n more packets of a track came than now.
func (c *client) more(t *testing.T, track, n int) {
	t.Helper()
	now := c.count(track)
	eventually(t, "more packets", func() bool { return c.count(track) >= now+n })
}

// loop is a clip of 2 s with a keyframe every 400 ms, sent without end.
func loop(t *testing.T, s testclip.Spec) *camsim.Clip {
	t.Helper()
	s.Video, s.GOP, s.Duration = schemas.H264, 10, 2*time.Second
	return testclip.Make(t, s).With(true, 1)
}

func serve(t *testing.T, cfg camsim.Config, cameras ...camsim.CameraConfig) (*camsim.Server, *camsim.Camera) {
	t.Helper()
	cfg.Cameras = cameras
	ctx, cancel := context.WithCancel(t.Context())
	s, err := camsim.Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); cancel() })
	return s, s.Camera(cameras[0].Path)
}

// video is how many units of the picture a camera has sent.
func video(cam *camsim.Camera) (n int) {
	for _, u := range cam.Sent() {
		if u.Track == schemas.VideoTrack {
			n++
		}
	}
	return n
}

// lossless runs a test over UDP, where a busy machine may throw packets away
// by itself: then again. f collects, ending early where dropped says so, and
// what it returns judges.
func lossless(t *testing.T, udp bool, f func(dropped func() bool) (judge func())) {
	t.Helper()
	for try := 1; ; try++ {
		before := testenv.UDPDrops(t)
		dropped := func() bool { return udp && testenv.UDPDrops(t) > before }
		judge := f(dropped)
		if !dropped() || try == 5 {
			judge()
			return
		}
		t.Logf("try %d: the machine has thrown UDP packets away", try)
	}
}

// match looks for the client's video units among what was sent, which they
// must equal from some place on, without a hole.
func match(t *testing.T, got [][][]byte, sent []camsim.Sent, sets [][]byte) {
	t.Helper()
	var video []camsim.Sent
	for _, s := range sent {
		if s.Track == schemas.VideoTrack {
			video = append(video, s)
		}
	}
	if len(got) == 0 || len(video) == 0 {
		t.Fatalf("%d units received, %d sent", len(got), len(video))
	}
	join := func(n [][]byte) []byte { return bytes.Join(n, []byte{0, 0, 1}) }
	want := func(s camsim.Sent) []byte {
		n, err := camsim.NALUnits(s.Data)
		if err != nil {
			t.Fatal(err)
		}
		if s.Sync {
			n = append(append([][]byte{}, sets...), n...)
		}
		return join(n)
	}
	start := 0
	for start < len(video) && !bytes.Equal(join(got[0]), want(video[start])) {
		start++
	}
	if start+len(got) > len(video)+1 {
		t.Fatalf("%d units received from unit %d on, %d sent", len(got), start, len(video))
	}
	for i, g := range got {
		if start+i < len(video) && !bytes.Equal(join(g), want(video[start+i])) {
			t.Fatalf("unit %d (of %d, from %d on) is not what was sent", i, len(got), start)
		}
	}
}
