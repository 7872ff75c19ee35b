package camsim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/framelog/framelog/internal/gstreamer"
	"github.com/framelog/framelog/schemas"
)

// LiveConfig is the settings of a live picture.
type LiveConfig struct {
	Look Look
	// Width and Height in pixels default to 640 and 360; both must be
	// multiples of 2 and the width at least 320.
	Width, Height int
	// FPS is pictures a second and defaults to 25.
	FPS int
	// BFrames is how many B-frames stand between two others; 0 for none.
	BFrames int
	// KeyInterval is the pictures of a GOP. It defaults to FPS.
	KeyInterval int
	// Bitrate in kbit/s; it defaults to 800.
	Bitrate int
	// Audio adds AAC at 48 kHz: a beep of 100 ms at each full second of the
	// clock, with a square that flashes in the picture.
	Audio bool
	// Zone is the clock's time zone. It defaults to the machine's.
	Zone *time.Location
	// Queue is how many units may wait to be sent; more are dropped and
	// counted. It defaults to 256.
	Queue int
	// MaxLate is how late a picture may be made. It defaults to 10 pictures. A camera that
	// is later leaves pictures out, with their numbers and times, but no sound.
	MaxLate time.Duration
	// Log is told of pictures that are left out. It defaults to none.
	Log *slog.Logger
}

// Live makes pictures with a running clock, a frame number and a [Strip], and
// encodes them. It runs from NewLive to Close.
type Live struct {
	cfg     LiveConfig
	tracks  []schemas.Track
	units   chan Unit
	dropped atomic.Int64
	cancel  context.CancelFunc
	done    chan struct{}
	start   time.Time
	step    atomic.Int64 // by how much the wall clock was set since the start, in ns

	mu    sync.Mutex
	ready chan struct{} // closed when the configurations of all tracks are known
	err   error
}

const (
	liveRate  = 48000
	beepRange = 100 * time.Millisecond
)

// NewLive starts a picture and waits until its decoder configuration is known,
// or ctx ends. The caller must Close it.
func NewLive(ctx context.Context, cfg LiveConfig) (*Live, error) {
	if cfg.Width == 0 {
		cfg.Width, cfg.Height = 640, 360
	}
	if cfg.FPS == 0 {
		cfg.FPS = 25
	}
	if cfg.Zone == nil {
		cfg.Zone = time.Local
	}
	if cfg.Queue == 0 {
		cfg.Queue = 256
	}
	if cfg.MaxLate == 0 {
		cfg.MaxLate = 10 * time.Second / time.Duration(cfg.FPS)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Width < 320 || cfg.Width%2 != 0 || cfg.Height%2 != 0 || cfg.Height < 160 {
		return nil, fmt.Errorf("camsim: live picture of %dx%d", cfg.Width, cfg.Height)
	}
	l := &Live{cfg: cfg, units: make(chan Unit, cfg.Queue), done: make(chan struct{}), ready: make(chan struct{})}
	l.tracks = []schemas.Track{{
		ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale,
		Width: uint16(cfg.Width), Height: uint16(cfg.Height),
	}}
	if cfg.Audio {
		l.tracks = append(l.tracks, schemas.Track{
			ID: schemas.AudioTrack, Codec: schemas.AAC, Timescale: liveRate, SampleRate: liveRate, Channels: 1,
		})
	}
	video, err := gstreamer.NewH264Encoder(gstreamer.H264Config{
		Width: cfg.Width, Height: cfg.Height, FPS: cfg.FPS, BFrames: cfg.BFrames, KeyInterval: cfg.KeyInterval, Bitrate: cfg.Bitrate,
	}, func(config []byte, u gstreamer.EncodedUnit) { l.take(0, config, u) })
	if err != nil {
		return nil, fmt.Errorf("camsim: live picture: %w", err)
	}
	var audio *gstreamer.Encoder
	if cfg.Audio {
		audio, err = gstreamer.NewAACEncoder(gstreamer.AACConfig{SampleRate: liveRate, Channels: 1},
			func(config []byte, u gstreamer.EncodedUnit) { l.take(1, config, u) })
		if err != nil {
			_ = video.Close()
			return nil, fmt.Errorf("camsim: live sound: %w", err)
		}
	}
	runCtx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	// The start at a full frame time of the clock makes the shown milliseconds
	// even; it costs at most one frame. (Truncate removes the monotonic clock,
	// which run needs.)
	now, frame := time.Now(), time.Second/time.Duration(cfg.FPS)
	l.start = now.Add(frame - now.Sub(now.Truncate(frame)))
	go l.run(runCtx, video, audio)
	select {
	case <-l.ready:
		return l, nil
	case <-l.done:
		err := l.failure()
		l.Close()
		return nil, err
	case <-ctx.Done():
		l.Close()
		return nil, fmt.Errorf("camsim: live picture: %w", ctx.Err())
	}
}

// Close ends the picture and waits for its goroutine. It may be called more
// than once.
func (l *Live) Close() {
	l.cancel()
	<-l.done
}

// Tracks returns the track of the picture, and that of the sound.
func (l *Live) Tracks() []schemas.Track { return l.tracks }

// Dropped returns how many units had no room in the queue. The queue is full
// while no camera sends them.
func (l *Live) Dropped() int64 { return l.dropped.Load() }

func (l *Live) live() bool { return true }

func (l *Live) play(ctx context.Context, emit func(Unit)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.done:
			return l.failure()
		case u := <-l.units:
			emit(u)
		}
	}
}

func (l *Live) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		return errors.New("camsim: live picture ended")
	}
	return l.err
}

// run is the goroutine that draws pictures, each with its share of sound, and
// owns the encoders.
func (l *Live) run(ctx context.Context, video, audio *gstreamer.Encoder) {
	defer close(l.done)
	defer func() {
		_ = video.Close()
		if audio != nil {
			_ = audio.Close()
		}
	}()
	p := newPainter(l.cfg.Width, l.cfg.Height, l.cfg.Look)
	frame := make([]byte, len(p.background))
	at := func(n int64) time.Duration { return time.Duration(n) * time.Second / time.Duration(l.cfg.FPS) }
	var samples int64
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for n := int64(0); ; n++ {
		late := time.Since(l.start) - at(n)
		if late > l.cfg.MaxLate {
			left := int64(late / at(1))
			n += left
			l.cfg.Log.Warn("The machine is too busy. The camera leaves out pictures.", "late", late.Round(time.Millisecond), "pictures", left)
		} else if late < 0 {
			timer.Reset(-late)
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
		}
		if ctx.Err() != nil {
			return
		}
		// The monotonic clock paces the pictures; it stands still while the machine
		// sleeps. The pictures show the wall clock.
		now, nominal := time.Now(), l.start.Add(at(n))
		t := now.Add(nominal.Sub(now)).Round(0)
		l.step.Store(int64(t.Sub(nominal.Round(0)).Round(time.Millisecond)))
		lit := l.cfg.Audio && time.Duration(nominal.Nanosecond()) < beepRange
		p.paint(frame, uint32(n), t.Round(time.Millisecond).In(l.cfg.Zone), lit)
		err := video.Push(frame, at(n), at(1))
		if audio != nil && err == nil {
			end := (n + 1) * liveRate / int64(l.cfg.FPS)
			err = audio.Push(l.beep(samples, end), time.Duration(samples)*time.Second/liveRate, time.Duration(end-samples)*time.Second/liveRate)
			samples = end
		}
		if err != nil {
			l.mu.Lock()
			l.err = fmt.Errorf("camsim: live picture: %w", err)
			l.mu.Unlock()
			return
		}
	}
}

// beep returns the samples from first to end: silence, and 1 kHz at the
// beginning of each second of the clock.
func (l *Live) beep(first, end int64) []byte {
	b := make([]byte, 0, 2*(end-first))
	origin := int64(time.Duration(l.start.Nanosecond())) * liveRate / int64(time.Second)
	for i := first; i < end; i++ {
		in := (origin + i) % liveRate
		v := 0.0
		if in < liveRate*int64(beepRange)/int64(time.Second) {
			v = 0.25 * math.Sin(2*math.Pi*1000*float64(in)/liveRate)
		}
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(v*32767)))
	}
	return b
}

// take runs on the encoders' threads.
func (l *Live) take(track int, config []byte, e gstreamer.EncodedUnit) {
	l.mu.Lock()
	t := &l.tracks[track]
	if t.Config == nil {
		t.Config = config
		known := true
		for i := range l.tracks {
			known = known && l.tracks[i].Config != nil
		}
		if known {
			close(l.ready)
		}
	}
	l.mu.Unlock()
	u := Unit{
		Track: t.ID, PTS: schemas.Rescale(int64(e.PTS), 1e9, t.Timescale), DTS: schemas.Rescale(int64(e.DTS), 1e9, t.Timescale),
		Duration: 1024, Sync: e.Sync, Data: e.Data,
		wall: l.start.Round(0).Add(e.PTS + time.Duration(l.step.Load())),
	}
	if track == 0 {
		u.Duration = schemas.MediaTimescale / uint32(l.cfg.FPS)
	} else {
		// The first frame holds only the encoder's delay: a decoder's output begins
		// one frame later than the samples that went in.
		u.PTS -= 1024
		u.DTS = u.PTS
		u.wall = u.wall.Add(-1024 * time.Second / liveRate)
	}
	select {
	case l.units <- u:
	default:
		l.dropped.Add(1)
	}
}
