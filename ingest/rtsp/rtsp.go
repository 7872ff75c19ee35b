// Package rtsp is the source for RTSP cameras (RFC 2326): H.264, H.265 and MJPEG,
// with AAC or Opus as they come and other sound as AAC. Sound that cannot be
// decoded is left out and reported as a problem. One of two engines does the protocol:
// GStreamer (internal/gstreamer) or package native. This package chooses the transport,
// computes the offset between sound and pictures, and explains errors.
package rtsp

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/ingest/rtsp/native"
	"github.com/framelog/framelog/internal/gstreamer"
	"github.com/framelog/framelog/internal/rtspconn"
	"github.com/framelog/framelog/schemas"
)

// Transports of RTP.
const (
	TransportAuto = ""    // TCP; if the camera refuses it or sends nothing over it, UDP, except for rtsps
	TransportTCP  = "tcp" // interleaved in the RTSP connection
	TransportUDP  = "udp"
)

// Engines.
const (
	EngineGStreamer = "gstreamer"
	EngineNative    = "native" // in Go; it leaves cameras whose sound must be converted to GStreamer
)

// Config is one camera's settings. The zero value of each field but URL means
// its default.
type Config struct {
	// URL returns the camera's URL, with user and password as plain text. It is
	// called at every attempt to connect, and while Run waits for one, so that a
	// changed secret is used.
	URL func(ctx context.Context) (*url.URL, error)
	// Shown is the name of the camera in errors, host and path. Default: those of
	// URL, whose path must then hold no secret.
	Shown string

	// Engine is EngineGStreamer or EngineNative; default EngineGStreamer.
	Engine string

	// Connection.
	Transport      string        // TransportTCP or TransportUDP; default TransportAuto
	ConnectTimeout time.Duration // until the camera has accepted PLAY; default 5s
	NoDataTimeout  time.Duration // of TransportAuto: from PLAY to the first video over TCP, before UDP is tried; default 5s
	StallTimeout   time.Duration // without a unit of video; default 10s
	CloseTimeout   time.Duration // until the engine must have released a connection; default 5s
	Latency        time.Duration // how long a missing packet is waited for over UDP; default 200ms
	NoAudio        bool          // ask for no sound
	InsecureTLS    bool          // rtsps with any certificate, not only those that the system's authorities have signed

	// AudioWait is how long the first video waits for announced sound, so that one
	// session has both; default 2s. Sound that comes later is a change of tracks.
	// If no sound came in that time, the next connection does not wait.
	AudioWait time.Duration

	// Credentials that the camera refuses are not tried again before LoginWait
	// has passed, then twice as long each time up to LoginWaitMax, each with up
	// to a half more at random; default 1m and 15m. Meanwhile URL is asked
	// every SecretEvery (default 2s), and other credentials are tried at once.
	LoginWait, LoginWaitMax time.Duration
	SecretEvery             time.Duration

	// ProbeEvery is how long the result of a probe of the camera's address is kept
	// before new connections are made for one; default 1m.
	ProbeEvery time.Duration

	// Pace is the interval at which a connection takes its units; default 40ms. On average
	// it adds half of itself to the delay. All connections with the same one do so at the
	// same multiples of it: the process wakes once for all of them, and their chunks go to
	// Kafka in fewer requests.
	Pace time.Duration

	// Queue between the engine and Run's goroutine. Units beyond it are
	// dropped, video up to the next random access point, and counted.
	QueueUnits int   // default 1024
	QueueBytes int64 // default 16 MiB
}

// Check returns an error if RTSP cannot do what a camera's record asks for.
func Check(cam schemas.Camera) error {
	if scheme, _, _ := strings.Cut(cam.URL, ":"); strings.EqualFold(scheme, "rtsps") && cam.Transport == TransportUDP {
		// Over UDP the media of rtsps would not be encrypted.
		return fmt.Errorf("%w: rtsps carries media in its own connection (set the transport to tcp)", ErrRefused)
	}
	if cam.Engine == EngineGStreamer && !gstreamer.Built {
		return fmt.Errorf("%w: this ingest has no GStreamer (set the engine to native, or use an ingest with GStreamer)", ErrRefused)
	}
	return nil
}

// New makes a source of one camera.
func New(cfg Config) ingest.Source {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&cfg.ConnectTimeout, 5*time.Second)
	def(&cfg.NoDataTimeout, 5*time.Second)
	def(&cfg.StallTimeout, 10*time.Second)
	def(&cfg.CloseTimeout, 5*time.Second)
	def(&cfg.AudioWait, 2*time.Second)
	def(&cfg.LoginWait, time.Minute)
	def(&cfg.LoginWaitMax, 15*time.Minute)
	def(&cfg.SecretEvery, 2*time.Second)
	def(&cfg.ProbeEvery, time.Minute)
	def(&cfg.Pace, pace)
	if cfg.QueueUnits == 0 {
		cfg.QueueUnits = 1024
	}
	if cfg.QueueBytes == 0 {
		cfg.QueueBytes = 16 << 20
	}
	return &source{cfg: cfg, native: cfg.Engine == EngineNative}
}

// source is one camera. It remembers for all connections what works with the
// camera.
type source struct {
	cfg    Config
	native bool // connections are made by package native
	useUDP bool // TransportAuto found that TCP gives no video
	login  login
	silent bool // the announced sound did not come to the connection before
	reopen bool // the camera closed a connection before PLAY, perhaps after its challenge
	found  found
}

// Run makes one connection and delivers its units until it ends. If the camera has
// refused the credentials, Run first waits. It returns ctx's error, the sink's, or an
// *Error.
func (s *source) Run(ctx context.Context, sink ingest.Sink) error {
	u, err := s.await(ctx)
	if err != nil {
		return err
	}
	err = s.run(ctx, u, sink)
	var incapable *rtspconn.IncapableError
	if errors.As(err, &incapable) {
		s.native = false
		observe(sink, ingest.Event{Kind: ingest.EventEngine, Err: err})
		err = s.run(ctx, u, sink)
	}
	var failed *Error
	if errors.As(err, &failed) && failed.early && u.User != nil && !s.reopen {
		s.reopen = true
		err = s.run(ctx, u, sink)
	}
	if errors.As(err, &failed) && failed.login {
		s.reopen = false // if it is no such camera, the credentials were sent twice
		if failed.Status == 401 && u.User == nil {
			failed.Cause, failed.Remedy = "the camera asks for a user and a password", "put both into the camera's URL"
		}
		if s.login.refuse(u.String(), s.cfg.LoginWait, s.cfg.LoginWaitMax) > 0 {
			// The text is always the same, whatever the length of the pause is.
			failed.Remedy += fmt.Sprintf("; what was refused is tried again after %s at first, later after %s, because cameras lock out after several wrong attempts",
				formatDuration(s.cfg.LoginWait), formatDuration(s.cfg.LoginWaitMax))
		}
	}
	switch {
	case !errors.As(err, &failed) || !failed.probe:
		s.found = found{} // out of date, since the connection got further
	case ctx.Err() == nil:
		s.diagnose(ctx, failed, u)
	}
	return err
}

// Live reports true: units are captured by the wall clock when they arrive.
func (s *source) Live() bool { return true }

// run makes one connection, over TCP or UDP, as the settings say or as worked before.
func (s *source) run(ctx context.Context, u *url.URL, sink ingest.Sink) error {
	auto := s.cfg.Transport == TransportAuto && u.Scheme != "rtsps"
	udp := s.cfg.Transport == TransportUDP || auto && s.useUDP

	live, err := s.connect(ctx, u, udp, auto, sink)
	if !auto {
		return err
	}
	var failed *Error
	if !udp && errors.As(err, &failed) && failed.tryOther {
		observe(sink, ingest.Event{Kind: ingest.EventFallback, Transport: TransportTCP, Err: err})
		udp = true
		overTCP := failed
		live, err = s.connect(ctx, u, udp, auto, sink)
		if failed = nil; errors.As(err, &failed) {
			err = overTCP.ofBoth(failed)
		}
	}
	// UDP is remembered until it gives no video. If the camera was only away for a
	// while, UDP stays.
	switch failed = nil; {
	case udp && live:
		s.useUDP = true
	case errors.As(err, &failed) && failed.tryOther:
		s.useUDP = false
	}
	return err
}

// where returns the camera's name in errors.
func (s *source) where(u *url.URL) string {
	if s.cfg.Shown != "" {
		return s.cfg.Shown
	}
	return where(u)
}

// connect makes one attempt over one transport. live reports that units were
// delivered.
func (s *source) connect(ctx context.Context, u *url.URL, udp, auto bool, sink ingest.Sink) (live bool, err error) {
	transport := TransportTCP
	if udp {
		transport = TransportUDP
	}
	observe(sink, ingest.Event{Kind: ingest.EventConnecting, Transport: transport})
	location := *u
	location.User = nil
	if u.Scheme == "rtsps" && u.Port() == "" {
		location.Host += ":" + port(u) // GStreamer would use 554
	}
	opt := rtspconn.Options{
		Location:       location.String(),
		UDP:            udp,
		Latency:        s.cfg.Latency,
		ConnectTimeout: s.cfg.ConnectTimeout,
		Reopen:         s.reopen,
		InsecureTLS:    s.cfg.InsecureTLS,
		NoAudio:        s.cfg.NoAudio,
		Strict:         gstreamer.Built,
		QueueUnits:     s.cfg.QueueUnits,
		QueueBytes:     s.cfg.QueueBytes,
	}
	if u.User != nil {
		opt.User = u.User.Username()
		opt.Password, _ = u.User.Password()
	}
	conn, err := s.open(opt)
	if err != nil {
		return false, err
	}
	wait := s.cfg.AudioWait
	if s.silent {
		wait = 0
	}
	r := &run{source: s, conn: conn, url: u.String(), transport: transport, auto: auto && !udp, deliver: newDeliver(sink, conn, wait, s.cfg.QueueUnits, s.cfg.QueueBytes)}
	defer func() {
		live = r.deliver.live
		if live && time.Since(r.deliver.first) > s.cfg.AudioWait {
			s.silent = r.deliver.lacksSound()
		}
		closed := conn.Close(s.cfg.CloseTimeout)
		r.tellDropped()
		if errors.Is(closed, rtspconn.ErrUnreleased) {
			r.tell(ingest.EventUnreleased)
		}
		r.tell(ingest.EventEnded)
		if err != nil && r.ours {
			_, _, packets := conn.Start(schemas.VideoTrack)
			err = explain(err, s.where(u), course{transport: transport, video: r.hasVideo(), playing: r.playing, packets: packets, live: live, stood: r.dog.blames(time.Now())})
		}
	}()
	return false, r.loop(ctx)
}

// connection is one connection, of either engine.
type connection interface {
	described
	// Take returns the units that have come since the last call.
	Take() []rtspconn.Item
	// Dropped returns how many units were dropped because the queue was full.
	Dropped() uint64
	// Done is closed when the connection has ended. Err then returns why.
	Done() <-chan struct{}
	Err() error
	// Playing reports whether the camera has accepted PLAY.
	Playing() bool
	// SoundArrived returns when the first packet of the selected sound came; zero: none came.
	SoundArrived() time.Time
	// NoSound returns the encoding of announced sound that cannot be received, and why.
	NoSound() (encoding string, err error)
	// Close ends the connection. If that takes longer than limit, it returns
	// rtspconn.ErrUnreleased.
	Close(limit time.Duration) error
}

func (s *source) open(opt rtspconn.Options) (connection, error) {
	if s.native {
		return native.Open(opt), nil
	}
	conn, err := gstreamer.OpenRTSP(opt)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// run is one attempt over one transport.
type run struct {
	*source
	conn      connection
	url       string // with its secrets
	transport string
	deliver   *deliver
	auto      bool // another transport may be tried
	playing   bool
	described bool   // the sink has got the frame time
	dropped   uint64 // dropped units that were reported
	sound     string // the last reported problem of the sound
	soundTold bool   // sound was reported, even if it is ""
	dog       *watchdog
	ours      bool // loop's error comes from the connection, not from the sink or ctx
}

func (r *run) hasVideo() bool {
	return slices.ContainsFunc(r.conn.Selected(), func(t rtspconn.Track) bool { return t.ID == schemas.VideoTrack })
}

func observe(sink ingest.Sink, e ingest.Event) {
	if o, ok := sink.(ingest.Observer); ok {
		o.Observe(e)
	}
}

func (r *run) tell(kind ingest.EventKind) {
	observe(r.deliver.sink, ingest.Event{Kind: kind, Transport: r.transport})
}

// tellDropped reports units that were dropped since the last call.
func (r *run) tellDropped() {
	if n := r.conn.Dropped(); n > r.dropped {
		observe(r.deliver.sink, ingest.Event{Kind: ingest.EventDropped, Transport: r.transport, Units: n - r.dropped})
		r.dropped = n
	}
}

// Errors of loop itself.
var (
	errNoAnswer = errors.New("no answer in time")
	errNoVideo  = errors.New("no video in time")
	errNoTrack  = errors.New("no video announced")
)

// pace is the default of Config.Pace.
const pace = 40 * time.Millisecond

// tickEvery is the interval of Sink.Tick.
const tickEvery = time.Second

func (r *run) loop(ctx context.Context) error {
	var ticked time.Time
	r.dog = newWatchdog(time.Now())
	dog := r.dog
	look := func(now time.Time) error {
		dog.look(now)
		if now.Sub(ticked) < tickEvery {
			return nil
		}
		ticked = now
		return r.deliver.sink.Tick(now)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.conn.Done():
			// Units that came before the end are delivered.
			if err := look(time.Now()); err != nil {
				return err
			}
			if _, err := r.items(); err != nil {
				return err
			}
			if err := r.deliver.flush(); err != nil {
				return err
			}
			r.ours = true
			return r.conn.Err()
		case <-timer.C:
		}
		if err := look(time.Now()); err != nil {
			return err
		}
		saw, err := r.items()
		if err != nil {
			return err
		}
		now := time.Now()
		if saw {
			dog.video = now
		}
		if !r.playing && r.conn.Playing() {
			r.plays()
			dog.video = now
			if !r.hasVideo() {
				r.ours = true
				return errNoTrack
			}
		}
		limit := dog.video.Add(r.cfg.StallTimeout)
		switch {
		case !r.playing:
			limit = dog.began.Add(r.cfg.ConnectTimeout)
		case !r.deliver.sawVideo && r.auto:
			limit = dog.video.Add(min(r.cfg.StallTimeout, r.cfg.NoDataTimeout))
		}
		if !now.Before(limit) {
			r.ours = true
			if !r.playing {
				return errNoAnswer
			}
			return errNoVideo
		}
		timer.Reset(now.Truncate(r.cfg.Pace).Add(r.cfg.Pace).Sub(now))
	}
}

// describe reports the frame time in the SDP as soon as the video is selected,
// before its first unit.
func (r *run) describe() {
	if r.described {
		return
	}
	for _, t := range r.conn.Selected() {
		if t.ID != schemas.VideoTrack {
			continue
		}
		r.described = true
		// 0 is reported too: it replaces the value of the connection before.
		observe(r.deliver.sink, ingest.Event{Kind: ingest.EventFrameTime, Transport: r.transport, FrameTime: t.FrameTime})
	}
}

func (r *run) plays() {
	r.playing = true
	r.login.accept(r.url)
	r.tell(ingest.EventPlaying)
}

// items delivers the units in the queue. saw reports that video was among them.
func (r *run) items() (saw bool, err error) {
	wasLive := r.deliver.live
	r.describe()
	r.tellDropped()
	for _, it := range r.conn.Take() {
		saw = saw || it.Format == nil && it.Track == schemas.VideoTrack
		if err := r.deliver.item(it); err != nil {
			return saw, err
		}
	}
	if err := r.deliver.tick(time.Now()); err != nil {
		return saw, err
	}
	r.tellSound(time.Now())
	if r.deliver.live && !wasLive {
		if !r.playing {
			r.plays()
		}
		r.tell(ingest.EventDelivering)
	}
	return saw, nil
}
