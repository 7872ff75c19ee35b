// Package native is the engine for RTSP that needs no GStreamer. gortsplib does RTSP and the
// transports, and takes the payloads out of RTP packets. This package makes of them what the
// log keeps: access units with their exact times, parameter sets, and what is missing.
//
// It records H.264, H.265, MJPEG, AAC (RFC 3640) and Opus. It converts no sound.
package native

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"

	"github.com/framelog/framelog/internal/rtspconn"
	"github.com/framelog/framelog/schemas"
)

// Conn is one connection to a camera. One goroutine makes the requests, and those of
// gortsplib put units into a bounded queue. The caller empties it with Take, at its own pace.
type Conn struct {
	opt     rtspconn.Options
	queue   *rtspconn.Queue
	login   login         // of the goroutine that makes the requests
	done    chan struct{} // closed with err set
	stopped chan struct{} // closed when nothing of the connection runs any more
	cancel  context.CancelFunc

	mu           sync.Mutex // guards what follows
	selected     []rtspconn.Track
	tracks       map[uint8]*track // those of selected
	playing      bool
	played       time.Time // when PLAY was accepted
	tcp          *paced    // that media come in
	noSound      string    // encoding of sound that was announced and is not recorded
	soundArrived time.Time
	err          error
}

// Open begins to connect and returns at once. Take returns the units, and Done reports the
// end. The caller must Close it.
func Open(opt rtspconn.Options) *Conn {
	opt = opt.WithDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	c := &Conn{
		opt: opt, queue: rtspconn.NewQueue(opt.QueueUnits, opt.QueueBytes),
		login: login{user: opt.User, password: opt.Password},
		done:  make(chan struct{}), stopped: make(chan struct{}), cancel: cancel,
		tracks: map[uint8]*track{},
	}
	go func() {
		defer close(c.stopped)
		c.fail(c.run(ctx))
	}()
	return c
}

// run makes the connection and returns why it ended.
func (c *Conn) run(ctx context.Context) error {
	u, err := base.ParseURL(c.opt.Location)
	if err != nil {
		return &rtspconn.Error{Failure: rtspconn.NotFound, Detail: "URL"}
	}
	err = failure(c.session(ctx, u), c.opt.Strict)
	if c.opt.Reopen && broken(err) && !c.Playing() && ctx.Err() == nil {
		err = failure(c.session(ctx, u), c.opt.Strict) // with the answer to the challenge of the first one
	}
	return err
}

// never is a time limit that is not reached: the caller has limits for everything.
const never = 100 * 365 * 24 * time.Hour

// writeTimeout is how long a camera may take no request.
const writeTimeout = 3 * time.Second

// session makes one RTSP connection, and returns why it ended.
func (c *Conn) session(ctx context.Context, u *base.URL) error {
	s := &session{conn: c, sockets: map[int]*socket{}}
	protocol := gortsplib.ProtocolTCP
	if c.opt.UDP {
		protocol = gortsplib.ProtocolUDP
	}
	client := &gortsplib.Client{
		Scheme: u.Scheme, Host: u.Host, Protocol: &protocol, UserAgent: "Framelog",
		ReadTimeout: never, InitialUDPReadTimeout: never, WriteTimeout: writeTimeout,
		AnyPortEnable: true, // many cameras send from other ports than they say
		DialContext:   s.dial, DialTLSContext: s.dialTLS, ListenPacket: s.listen,
		OnRequest: s.request, OnResponse: s.response,
		OnTransportSwitch: func(error) {}, OnPacketsLost: func(uint64) {}, OnDecodeError: func(error) {},
	}
	if err := client.Start(); err != nil {
		return err
	}
	defer client.Close()
	defer context.AfterFunc(ctx, client.Close)()
	if err := s.play(client, u); err != nil {
		return err
	}
	return client.Wait()
}

// session is one RTSP connection. Its callbacks run on the goroutines of the client.
type session struct {
	conn    *Conn
	tcp     *paced
	method  base.Method     // of the last request
	sdp     []byte          // body of the answer to DESCRIBE
	sockets map[int]*socket // over UDP, by port
	port    int             // for RTP, that the last SETUP named
}

// play asks the camera for its streams.
func (s *session) play(client *gortsplib.Client, u *base.URL) error {
	c := s.conn
	var desc *description.Session
	err := c.login.do(func() (err error) {
		desc, _, err = client.Describe(u)
		return err
	})
	if len(s.sdp) == 0 {
		if err == nil {
			err = &rtspconn.Error{Failure: rtspconn.NoStreams}
		}
		return err
	}
	// The library refuses SDP for flaws in parts that do not matter here.
	streams, err := c.choose(s.sdp)
	if err != nil {
		return err
	}
	from := u
	if desc != nil {
		from = desc.BaseURL
	}
	for _, st := range streams {
		if err := s.setup(client, from, st); err != nil {
			return err
		}
	}
	var answer *base.Response
	if err := c.login.do(func() (err error) {
		answer, err = client.Play(nil)
		return err
	}); err != nil {
		return err
	}
	c.plays(answer, streams, s.tcp)
	return nil
}

// setup asks for one stream. Sound that is not sent over this transport is left out.
func (s *session) setup(client *gortsplib.Client, from *base.URL, st *stream) error {
	c := s.conn
	var answer *base.Response
	err := c.login.do(func() (err error) {
		answer, err = client.Setup(from, st.media, 0, 0)
		return err
	})
	if status(err) == int(base.StatusUnsupportedTransport) && st.ID == schemas.AudioTrack {
		c.leaveOut(st.Track)
		return nil
	}
	if err != nil {
		return err
	}
	if u, err := st.media.URL(from); err == nil {
		st.url = u.String()
	}
	t := c.track(st.ID)
	client.OnPacketRTCP(st.media, func(p packetRTCP) { c.control(t, p) })
	if !c.opt.UDP {
		client.OnPacketRTP(st.media, st.format, func(p *packet) { c.receive(t, p) })
		return nil
	}
	if sock := s.sockets[s.port]; sock != nil {
		from := sources(s.tcp, answer)
		sock.take(func(b []byte, addr *net.UDPAddr) { c.datagram(t, from, b, addr) })
	}
	return nil
}

// request prepares what is sent.
func (s *session) request(r *base.Request) {
	s.conn.login.authorize(r)
	s.method = r.Method
	if r.Method == base.Setup {
		s.port = clientPort(r)
	}
}

// response looks at an answer.
func (s *session) response(r *base.Response) {
	s.conn.login.answered(r)
	if s.method == base.Describe && r.StatusCode == base.StatusOK {
		s.sdp = r.Body
	}
}

// dial is called for the camera's address, and for each one that the camera redirects to.
func (s *session) dial(ctx context.Context, network, address string) (net.Conn, error) {
	s.conn.login.dials(address)
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, &rtspconn.Error{Failure: rtspconn.Unreachable, Detail: "dial"}
	}
	if s.tcp, err = newPaced(conn.(*net.TCPConn)); err != nil {
		conn.Close()
		return nil, err
	}
	return s.tcp, nil
}

// dialTLS does the handshake itself, because the client would do it without a limit.
func (s *session) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := s.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	host, _, _ := net.SplitHostPort(address)
	secure := tls.Client(conn, &tls.Config{
		ServerName: host, InsecureSkipVerify: s.conn.opt.InsecureTLS, //nolint:gosec // as the camera's record says
		MinVersion: tls.VersionTLS10, // cameras are old; GStreamer's engine accepts it too
	})
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// plays records that PLAY is accepted. Until then Take returns nothing, so that units are
// delivered with what the answer says of their times.
func (c *Conn) plays(answer *base.Response, streams []*stream, tcp *paced) {
	times := rtpInfo(answer, streams)
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, v := range times {
		if t := c.tracks[id]; t != nil {
			t.clockBase, t.hasClockBase = v, true
		}
	}
	c.playing, c.played = true, time.Now()
	if !c.opt.UDP {
		c.tcp = tcp
	}
}

func (c *Conn) track(id uint8) *track {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tracks[id]
}

// leaveOut takes a track off those that are received.
func (c *Conn) leaveOut(t rtspconn.Track) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.selected = slices.DeleteFunc(c.selected, func(s rtspconn.Track) bool { return s.ID == t.ID })
	delete(c.tracks, t.ID)
	c.noSound = t.Encoding
}

// Take empties the queue. The result is valid until the next Take; the Data of
// units stays valid. Call it about every 40 ms: it costs little if the queue is
// empty, and over UDP it ends the wait for missing packets.
func (c *Conn) Take() []rtspconn.Item {
	now := time.Now()
	c.read(now)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.playing {
		return nil
	}
	for _, t := range c.tracks {
		for _, p := range t.order.expire(now) {
			c.packet(t, p, now)
		}
	}
	return c.queue.Take()
}

// exact is for how long after PLAY packets are read as soon as they come: the arrival of the
// first ones may decide how sound and pictures belong together.
const exact = 3 * time.Second

// readLimit is how long Take waits for what the camera has sent to be read.
const readLimit = 20 * time.Millisecond

// read has what came over TCP read.
func (c *Conn) read(now time.Time) {
	c.mu.Lock()
	tcp, starts := c.tcp, c.tcp != nil && !c.tcp.on.Load() && now.Sub(c.played) > exact
	c.mu.Unlock()
	if starts {
		tcp.start()
	} else if tcp != nil {
		tcp.read(readLimit)
	}
}

// Dropped returns how many units were dropped because the queue was full.
func (c *Conn) Dropped() uint64 { return c.queue.Dropped() }

// Done is closed when the connection has ended. Err then returns why. There may
// still be units to Take.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns why the connection ended: *rtspconn.Error, *rtspconn.UnsupportedError,
// *rtspconn.IncapableError, *rtspconn.CertificateError, rtspconn.ErrEnded,
// rtspconn.ErrRestarted, rtspconn.ErrClosed.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Playing reports whether the camera has accepted PLAY.
func (c *Conn) Playing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.playing
}

// Selected returns the tracks that the connection requested.
func (c *Conn) Selected() []rtspconn.Track {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.selected)
}

// Start returns the first packet of a track; ok is false before there is one.
func (c *Conn) Start(id uint8) (s rtspconn.Start, clockRate uint32, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tracks[id]
	if t == nil || !t.started {
		return rtspconn.Start{}, 0, false
	}
	s = t.start
	if t.hasClockBase {
		s.HasClockBase, s.ClockBase = true, rtspconn.Extend(s.Time, t.clockBase)
	}
	return s, t.ClockRate, true
}

// Report returns the last sender report of a track.
func (c *Conn) Report(id uint8) (rtspconn.Report, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tracks[id]
	if t == nil || !t.started || !t.reported() {
		return rtspconn.Report{}, false
	}
	return rtspconn.Report{Time: rtspconn.Extend(t.start.Time, t.report.time), NTP: t.report.ntp}, true
}

// SoundArrived returns when the first packet of the selected sound came; zero: none came.
func (c *Conn) SoundArrived() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.soundArrived
}

// NoSound returns the encoding of announced sound that is not recorded, as in SDP and in
// upper case ("PAYLOAD-TYPE-77" if SDP does not name it); "" if there is none. The error is
// an *rtspconn.UnsupportedError.
func (c *Conn) NoSound() (encoding string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.noSound == "" || c.tracks[schemas.AudioTrack] != nil {
		return "", nil
	}
	return c.noSound, &rtspconn.UnsupportedError{Encoding: c.noSound}
}

// fail ends the connection, if it has not ended yet.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failLocked(err)
}

func (c *Conn) failLocked(err error) {
	if c.err == nil {
		c.err = err
		close(c.done)
	}
}

// Close ends the connection and waits until nothing of it runs any more. After limit it
// returns rtspconn.ErrUnreleased. It may be called again.
func (c *Conn) Close(limit time.Duration) error {
	c.fail(rtspconn.ErrClosed)
	c.cancel()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-c.stopped:
		return nil
	case <-timer.C:
		return rtspconn.ErrUnreleased
	}
}
