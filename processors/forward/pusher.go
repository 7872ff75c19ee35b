package forward

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/schemas"
)

// Reasons why footage is not sent, beside errors of the connection.
var (
	errLate  = errors.New("it comes later than max_delay allows")
	errStale = errors.New("later footage was sent already")
	errStuck = fmt.Errorf("the server has not taken a chunk within %v", writeTimeout)
	errEnded = errors.New("the server has ended the connection")
)

// connection is a connection to a server that takes one camera.
type connection interface {
	// write sends a sample of a track. It may return before the sample is on its way. at
	// is the public time at which it is shown. It blocks while the server takes nothing,
	// until ctx ends. After an error of ctx the connection is of no more use.
	write(ctx context.Context, t *schemas.Track, s schemas.Sample, at time.Time) error
	// flush waits until all that was written is on its way. As write.
	flush(ctx context.Context) error
	// gone is closed when the connection has ended; then err tells why.
	gone() <-chan struct{}
	err() error
	close()
}

// pusher pushes one camera. Who has acquired it uses it.
type pusher struct {
	f      *forwarder
	camera string
	log    *slog.Logger
	busy   chan struct{} // has an element while the pusher is acquired
	idle   *time.Timer   // closes the connection
	began  time.Time

	conn     connection // nil: there is none
	config   string     // of the tracks of conn
	sent     int64      // media time up to which the camera was sent
	late     lateness
	fresh    bool      // nothing was sent on conn yet
	from     int64     // pictures that are shown before are left out
	failures int       // since a fragment was sent as a whole
	retry    time.Time // when the next attempt to connect may come
	failure  error     // the last one
}

func newPusher(f *forwarder, camera string, log *slog.Logger) *pusher {
	p := &pusher{f: f, camera: camera, log: log, busy: make(chan struct{}, 1), began: time.Now()}
	p.idle = time.AfterFunc(idleTimeout, p.rest)
	p.idle.Stop()
	return p
}

func (p *pusher) acquire(ctx context.Context) error {
	select {
	case p.busy <- struct{}{}:
		p.idle.Stop()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pusher) release() {
	p.idle.Reset(idleTimeout)
	<-p.busy
}

// rest closes the connection of a camera that has sent nothing for some time: the camera
// may be away, or another process may push it.
func (p *pusher) rest() {
	select {
	case p.busy <- struct{}{}:
		p.hangUp()
		<-p.busy
	default: // it is in use
	}
}

// close ends the connection, and waits for rest, which may be ending it already.
func (p *pusher) close() {
	p.idle.Stop()
	p.busy <- struct{}{}
	p.hangUp()
	<-p.busy
}

func (p *pusher) hangUp() {
	if p.conn != nil {
		p.conn.close()
		p.conn = nil
	}
}

// push sends a fragment, or as much of it as the server takes in time. An error is one of
// the fragment or of ctx; the note tells all others.
func (p *pusher) push(ctx context.Context, in *processors.Fragment) (Note, error) {
	var note Note
	cause := p.ready(ctx, in)
	for c, err := range in.Chunks(ctx) {
		if err != nil {
			return Note{}, err
		}
		sent := 0
		if cause == nil {
			sent, cause = p.send(ctx, in, c)
		}
		if err := ctx.Err(); err != nil {
			return Note{}, err
		}
		note.Sent += sent
		note.Dropped += len(c.Video()) - sent
	}
	if cause == nil {
		p.failures = 0
		return note, nil
	}
	note.Reason = cause.Error()
	note.Reason = strings.ToValidUTF8(note.Reason[:min(len(note.Reason), 200)], "")
	return note, nil
}

// ready connects if there is no connection, and returns why the fragment cannot be sent.
func (p *pusher) ready(ctx context.Context, in *processors.Fragment) error {
	if in.Media < p.sent {
		return errStale
	}
	tracks := slices.DeleteFunc(slices.Clone(in.Tracks), func(t schemas.Track) bool { return !p.f.takes(t) })
	config := schemas.ConfigHash(tracks)
	if p.conn != nil {
		select {
		case <-p.conn.gone():
			_ = p.failed(p.conn.err()) // it is p.failure now
		default:
			if p.config == config {
				return nil
			}
			p.hangUp() // the server has to know other tracks
		}
	}
	if time.Now().Before(p.retry) {
		return p.failure
	}
	conn, err := p.f.dial(ctx, p.camera, tracks, in.Media)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		return p.failed(err)
	}
	p.log.Info("connected to the server")
	p.conn, p.config, p.fresh, p.late = conn, config, true, lateness{}
	return nil
}

// send sends a chunk, and returns how many of its pictures are on their way.
func (p *pusher) send(ctx context.Context, in *processors.Fragment, c *schemas.Chunk) (pictures int, err error) {
	if p.late.of(time.Since(p.began), in.Session, c.MediaEnd()) > p.f.maxDelay {
		return 0, errLate
	}
	if v := c.Video(); c.Index == 0 && len(v) > 0 {
		p.from = math.MinInt64
		if in.OpenGOP && (p.fresh || in.Media > p.sent) {
			p.from = v[0].DTS + int64(v[0].PTSOffset) // the server does not have what earlier pictures need
		}
		p.fresh = false
	}
	limited, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	pictures, err = p.write(limited, in, c)
	if err == nil {
		err = p.conn.flush(limited)
	}
	p.sent = max(p.sent, c.MediaEnd())
	switch {
	case err == nil:
		return pictures, nil
	case ctx.Err() != nil:
		p.hangUp()
	case limited.Err() != nil:
		err = p.failed(errStuck)
	default:
		err = p.failed(err)
	}
	return 0, err
}

// write sends the samples of a chunk in the order of their decode times.
func (p *pusher) write(ctx context.Context, in *processors.Fragment, c *schemas.Chunk) (pictures int, err error) {
	type unit struct {
		track *schemas.Track
		schemas.Sample
		at int64 // decode time in ticks of schemas.MediaTimescale
	}
	var units []unit
	for _, run := range c.Runs {
		i := slices.IndexFunc(in.Tracks, func(t schemas.Track) bool { return t.ID == run.Track })
		if i < 0 || !p.f.takes(in.Tracks[i]) {
			continue
		}
		t := &in.Tracks[i]
		for _, s := range run.Samples {
			if t.Codec.Video() && s.DTS+int64(s.PTSOffset) < p.from {
				continue
			}
			units = append(units, unit{t, s, schemas.Rescale(s.DTS, t.Timescale, schemas.MediaTimescale)})
		}
	}
	slices.SortStableFunc(units, func(a, b unit) int { return cmp.Compare(a.at, b.at) })
	for _, u := range units {
		shown := schemas.Rescale(u.DTS+int64(u.PTSOffset), u.track.Timescale, schemas.MediaTimescale)
		if err := p.conn.write(ctx, u.track, u.Sample, in.Time(shown)); err != nil {
			return 0, err
		}
		if u.track.Codec.Video() {
			pictures++
		}
	}
	return pictures, nil
}

// failed ends the connection, and says when the next attempt may come. It returns the
// error as people may see it.
func (p *pusher) failed(err error) error {
	p.hangUp()
	if errors.Is(err, io.EOF) {
		err = errEnded
	}
	err = p.f.hide(err)
	p.failures++
	wait := min(p.f.backoff<<min(p.failures-1, 10), backoffMax)
	p.retry = time.Now().Add(wait/2 + rand.N(wait/2))
	if p.failure == nil || p.failure.Error() != err.Error() || p.failures == 1 {
		p.log.Warn("cannot push to the server; footage is dropped", "error", err)
	}
	p.failure = err
	return err
}

// lateness measures how late footage is sent: in comparison with the footage of its session
// that was sent with the least delay. So clocks of hosts need not agree.
type lateness struct {
	session uint64
	least   time.Duration // of the clock minus media time
}

// of takes the media time of what is sent now.
func (l *lateness) of(now time.Duration, session uint64, media int64) time.Duration {
	d := now - schemas.FromTicks(media)
	if session != l.session || d < l.least {
		l.session, l.least = session, d
	}
	return d - l.least
}
