package camsim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/pion/rtp"

	"github.com/framelog/framelog/schemas"
)

// CameraConfig is one camera.
type CameraConfig struct {
	// Path of the URL, without a leading slash.
	Path string
	// Feed is what it sends. A clip begins with the first client's PLAY. After
	// that it runs also without clients, as with real cameras.
	Feed Feed
	// User and Password; empty: no client needs them.
	User, Password string
	// OneClient refuses a second client with 503.
	OneClient bool
	// SenderReports is when RTCP tells the camera's clock.
	SenderReports SenderReports
	// NoRTPInfo leaves RTP-Info out of the answer to PLAY.
	NoRTPInfo bool
	// Range is the Range header in the answer to PLAY, such as "npt=0-10". It need
	// not be true. Default: none.
	Range string
	// RTPTime and RTPSeq are where RTP timestamps (of the presentation's
	// zero, all tracks alike) and sequence numbers begin. nil means random.
	RTPTime *uint32
	RTPSeq  *uint16
	// NoParameterSets sends parameter sets only in the SDP. By default they are
	// also sent before every sync unit.
	NoParameterSets bool
	// AudioAfter sends no sound for this time after the first client's PLAY.
	AudioAfter time.Duration
	// HangUp ends the clients' connections half a second after the feed's end,
	// when the clients have all of it. By default the connections stay open.
	HangUp bool
	// Rewrite may change the packets of a unit before they are sent.
	Rewrite func(u Unit, packets []*rtp.Packet)
	// SentLimit is how many units Sent remembers; the oldest go first. It
	// defaults to 100,000 for a clip and to 1,000 for live media.
	SentLimit int
}

// SenderReports configures RTCP sender reports (RFC 3550 section 6.4.1).
type SenderReports struct {
	Off bool
	// After is the time from the first client's PLAY to the first report.
	After time.Duration
	// Every is the time between reports of a track. It defaults to 5 s.
	Every time.Duration
}

// Sent is one unit that a camera sent.
type Sent struct {
	Unit             // its times include jumps and what came before a switch or a loop
	Hash   [32]byte  // SHA-256 of Data
	At     time.Time // when it was sent
	Clock  time.Time // capture time by the camera's clock
	Feed   int       // 0 for the first feed, +1 for each switch
	RTP    uint32
	Seq    uint16 // of its first packet
	Count  int    // RTP packets
	Lost   int    // of these, how many were left out on purpose
	Broken int    // of these, how many were corrupted on purpose
	Peers  int    // clients that were playing
}

// Camera is one camera of a running server. Its methods may be called from
// any goroutine.
type Camera struct {
	cfg      CameraConfig
	log      *slog.Logger
	srv      *Server
	overflow atomic.Int64

	first chan struct{} // closed at the first PLAY
	ended chan struct{} // closed when the last feed is over
	swap  chan Feed

	mu      sync.Mutex
	stream  *gortsplib.ServerStream
	lanes   []*sendLane // in the order of the SDP
	clients map[*gortsplib.ServerSession]*gortsplib.ServerConn
	members map[*gortsplib.ServerSession]bool // set up, playing or not
	began   time.Time                         // the first PLAY
	instant time.Duration                     // of the next unit, without base and jump
	feed    int
	rebase  bool
	sent    []Sent
	dropped int // records that Sent has forgotten
	faults  faults
	rand    *rand.Rand
	jump    time.Duration
	speed   float64 // of a clip; 0 means 1
	over    bool    // the feed has ended
}

func newCamera(s *Server, cfg CameraConfig) (*Camera, error) {
	cfg.Path = strings.Trim(cfg.Path, "/")
	if cfg.Feed == nil || cfg.Path == "" {
		return nil, errors.New("camsim: a camera needs a path and a feed")
	}
	if cfg.SenderReports.Every == 0 {
		cfg.SenderReports.Every = 5 * time.Second
	}
	if cfg.SentLimit == 0 {
		cfg.SentLimit = 100000
		if cfg.Feed.live() {
			cfg.SentLimit = 1000
		}
	}
	c := &Camera{
		cfg: cfg, srv: s, log: s.log.With("path", cfg.Path),
		first: make(chan struct{}), ended: make(chan struct{}), swap: make(chan Feed),
		clients: map[*gortsplib.ServerSession]*gortsplib.ServerConn{},
		members: map[*gortsplib.ServerSession]bool{},
		rand:    rand.New(rand.NewPCG(1, 2)),
	}
	if clip, ok := cfg.Feed.(*Clip); ok {
		c.speed = clip.Speed
		for i, u := range clip.Units {
			for _, t := range clip.Media {
				if d := span(u.PTS, t.Timescale); t.ID == u.Track && (i == 0 || d < c.instant) {
					c.instant = d
				}
			}
		}
	}
	return c, c.describe(cfg.Feed.Tracks())
}

// describe makes a stream of the tracks. Lanes are kept if the codec and the
// timescale of their track stay the same.
func (c *Camera) describe(tracks []schemas.Track) error {
	old := map[uint8]*sendLane{}
	for _, l := range c.lanes {
		old[l.track.ID] = l
	}
	var lanes []*sendLane
	desc := &description.Session{Title: c.cfg.Path}
	for i, t := range tracks {
		p, err := newPacketizer(t, uint8(96+i))
		if err != nil {
			return err
		}
		l := &sendLane{track: t, pack: p, media: p.media(t.Codec), initial: rand.Uint32(), seq: uint16(rand.Uint32())}
		if c.cfg.RTPTime != nil {
			l.initial = *c.cfg.RTPTime
		}
		if c.cfg.RTPSeq != nil {
			l.seq = *c.cfg.RTPSeq
		}
		if o := old[t.ID]; o != nil && o.track.Timescale == t.Timescale {
			l.initial, l.seq, l.base, l.end = o.initial, o.seq, o.base, o.end
		}
		lanes = append(lanes, l)
		desc.Medias = append(desc.Medias, l.media)
	}
	stream := &gortsplib.ServerStream{Server: c.srv.rtsp, Desc: desc}
	if err := stream.Initialize(); err != nil {
		return fmt.Errorf("camsim: camera %s: %w", c.cfg.Path, err)
	}
	c.stream, c.lanes = stream, lanes
	return nil
}

// run is the camera's goroutine: it waits for the first client, unless the
// feed is live, and sends feed after feed.
func (c *Camera) run(ctx context.Context) {
	defer close(c.ended)
	feed := c.cfg.Feed
	for waits := !feed.live(); waits; {
		select {
		case <-ctx.Done():
			return
		case <-c.first:
			waits = false
		case next := <-c.swap:
			feed = c.change(next, feed)
			waits = !feed.live()
		}
	}
	for {
		feedCtx, cancel := context.WithCancel(ctx)
		over := make(chan error, 1)
		go func() { over <- feed.play(feedCtx, c.emit) }()
		select {
		case next := <-c.swap:
			cancel()
			<-over
			feed = c.change(next, feed)
			continue
		case err := <-over:
			cancel()
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				c.log.Error("feed ended", "error", err)
			}
		}
		c.set(func() { c.over = true })
		if c.cfg.HangUp {
			// First the clients' queues are sent. The half second is for UDP, whose
			// queues are not visible.
			select {
			case <-ctx.Done():
				return
			case <-time.After(500 * time.Millisecond):
			}
			if !c.flush(ctx) {
				return
			}
			c.Drop()
		}
		select {
		case <-ctx.Done():
		case next := <-c.swap:
			feed = c.change(next, feed)
			continue
		}
		return
	}
}

// change prepares for another feed. Clients stay if its tracks have the same codecs:
// then only their parameter sets may differ.
func (c *Camera) change(next, prev Feed) Feed {
	c.mu.Lock()
	defer c.mu.Unlock()
	tracks := next.Tracks()
	same := len(tracks) == len(c.lanes)
	for i := 0; same && i < len(tracks); i++ {
		l := c.lanes[i]
		same = l.track.ID == tracks[i].ID && l.track.Codec == tracks[i].Codec && l.track.Timescale == tracks[i].Timescale &&
			(l.track.Codec.Video() || string(l.track.Config) == string(tracks[i].Config))
	}
	var err error
	if same {
		for i, t := range tracks {
			c.lanes[i].track = t
			var sets [][]byte
			if sets, err = ParameterSets(t); err != nil {
				break
			}
			c.lanes[i].pack.sets = sets
			switch f := c.lanes[i].pack.format.(type) {
			case *format.H264:
				f.SPS, f.PPS = sets[0], sets[1]
			case *format.H265:
				f.VPS, f.SPS, f.PPS = sets[0], sets[1], sets[2]
			}
		}
		c.stream.ReloadDesc()
	} else {
		old := c.stream
		if err = c.describe(tracks); err == nil {
			old.Close()
		}
	}
	if err != nil {
		c.log.Error("switch to another feed", "error", err)
		return prev
	}
	c.feed++
	c.rebase, c.over, c.speed = true, false, 0
	if clip, ok := next.(*Clip); ok {
		c.speed = clip.Speed
	}
	return next
}

// admit reports whether a client may get the stream; session is nil at DESCRIBE.
func (c *Camera) admit(session *gortsplib.ServerSession) (*gortsplib.ServerStream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.faults.refuse {
		return nil, errRefused
	}
	if c.cfg.OneClient && len(c.members) > 0 && !c.members[session] {
		return nil, errRefused
	}
	if session != nil {
		c.members[session] = true
	}
	return c.stream, nil
}

// joined counts a client that plays from now on. The camera is locked.
func (c *Camera) joined(session *gortsplib.ServerSession, sc *gortsplib.ServerConn) {
	c.clients[session] = sc
	if c.began.IsZero() {
		c.began = time.Now()
		close(c.first)
	}
	for _, l := range c.lanes {
		l.report = c.began.Add(c.cfg.SenderReports.After) // a new client needs one soon
	}
}

func (c *Camera) left(session *gortsplib.ServerSession) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.clients, session)
	delete(c.members, session)
}

func (c *Camera) shut() {
	c.mu.Lock()
	stream := c.stream
	c.mu.Unlock()
	stream.Close()
}

// Sent returns what the camera has sent so far, in order.
func (c *Camera) Sent() []Sent {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Sent(nil), c.sent...)
}

// Forgotten returns how many units Sent has dropped.
func (c *Camera) Forgotten() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dropped
}

// Overflows returns how many packets clients lost because their queues were
// full.
func (c *Camera) Overflows() int64 { return c.overflow.Load() }

// Clients returns how many clients play now.
func (c *Camera) Clients() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.clients)
}

// Over reports whether the feed, a clip without a loop, has sent everything.
func (c *Camera) Over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over
}

// Ended is closed when the camera will send nothing more, since the server has
// closed. A clip that has ended may still be switched to another feed.
func (c *Camera) Ended() <-chan struct{} { return c.ended }
