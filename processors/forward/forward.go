// Package forward is a processor that pushes cameras to another server, by RTSP or RTMP.
//
// It is unlike other processors: it has a connection for each camera, and what it sends
// depends on how that server does. The connections are its only state; it keeps no footage.
// Its output is one note a fragment, which tells what was sent (see [Note]). So the log
// shows what the other server has, and a process that takes over a camera goes on with the
// next fragment.
package forward

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/schemas"
)

// Settings of the processor. A zero value means the default.
type Settings struct {
	URL         string        `yaml:"url" doc:"Where cameras are pushed to: rtsp://, rtsps://, rtmp:// or rtmps://. {camera} stands for the id of the camera. A secret is a reference ${FRAMELOG_SECRET_X} to an environment variable of this process; user and password, and values in path and query, may be references. Needed."`
	Transport   string        `yaml:"transport" default:"tcp" oneof:"tcp,udp" doc:"How RTSP sends media: tcp or udp. RTMP knows only tcp."`
	InsecureTLS bool          `yaml:"insecure_tls" default:"false" doc:"Accept any certificate of the server."`
	MaxDelay    time.Duration `yaml:"max_delay" default:"3s" min:"500ms" max:"60s" doc:"How late footage may be sent because the server is slow. What is later is dropped up to the next keyframe."`

	// Log gets what happens to connections. Default: slog.Default().
	Log *slog.Logger `yaml:"-"`
	// Registerer gets the metrics, with the label processor. May be nil.
	Registerer prometheus.Registerer `yaml:"-"`
}

// Note is the JSON value of the note of an entry: what was sent of a fragment.
type Note struct {
	// Sent is how many pictures were handed over to the connection to the server.
	Sent int `json:"sent"`
	// Dropped is how many pictures were not sent, because of Reason.
	Dropped int    `json:"dropped"`
	Reason  string `json:"reason,omitempty"`
}

// Defaults and limits.
const (
	defaultMaxDelay = 3 * time.Second
	connectTimeout  = 10 * time.Second // to connect, with all that the protocol needs before media
	writeTimeout    = 10 * time.Second // for a packet or message that the server does not take
	closeTimeout    = 2 * time.Second  // for the server to read the rest of a stream that ends
	idleTimeout     = 10 * time.Second // until a connection without footage is closed
	backoffFirst    = time.Second      // until the first attempt to connect again
	backoffMax      = 30 * time.Second
	sendBuffer      = 512 << 10 // bytes that the operating system keeps for a server over TCP
)

// New makes the processor. Its output is a rendition of data with its name. Errors name
// the key that is wrong.
func New(name string, s Settings) (processors.Processor, error) {
	f, err := newForwarder(name, s)
	if err != nil {
		return processors.Processor{}, err
	}
	return processors.Processor{
		Name: name, Version: "1", Process: f.process, Close: f.close,
		Outputs: []processors.Rendition{processors.Data(name)},
		Policy:  processors.Latest, MaxLag: f.maxDelay,
	}, nil
}

func newForwarder(name string, s Settings) (*forwarder, error) {
	s.MaxDelay = cmp.Or(s.MaxDelay, defaultMaxDelay)
	if s.MaxDelay < 500*time.Millisecond || s.MaxDelay > time.Minute {
		return nil, fmt.Errorf("max_delay: %v; give 500ms to 60s", s.MaxDelay)
	}
	t, err := newTarget(s)
	if err != nil {
		return nil, err
	}
	pictures := promauto.With(prometheus.WrapRegistererWith(prometheus.Labels{"processor": name}, s.Registerer)).NewCounterVec(prometheus.CounterOpts{
		Name: "framelog_processor_forward_pictures_total",
		Help: "Pictures of cameras that are pushed to other servers: sent, or dropped because the server is away or too slow.",
	}, []string{"result"})
	return &forwarder{
		name: name, takes: t.takes, dial: t.dial, hide: t.hide, maxDelay: s.MaxDelay, backoff: backoffFirst, log: cmp.Or(s.Log, slog.Default()),
		sent: pictures.WithLabelValues("sent"), dropped: pictures.WithLabelValues("dropped"),
		pushers: map[string]*pusher{},
	}, nil
}

type forwarder struct {
	name string
	// takes reports whether the server can be sent a track.
	takes func(schemas.Track) bool
	// dial connects for a camera. start is the media time of its first picture.
	dial func(ctx context.Context, camera string, tracks []schemas.Track, start int64) (connection, error)
	// hide removes secrets from an error of dial or of a connection.
	hide     func(error) error
	maxDelay time.Duration
	backoff  time.Duration // as backoffFirst
	log      *slog.Logger

	sent, dropped prometheus.Counter

	mu      sync.Mutex
	pushers map[string]*pusher // by camera
}

func (f *forwarder) process(ctx context.Context, in *processors.Fragment, out *processors.Output) error {
	p := f.of(in.Camera)
	if err := p.acquire(ctx); err != nil {
		return err
	}
	defer p.release()
	note, err := p.push(ctx, in)
	if err != nil {
		return err
	}
	f.sent.Add(float64(note.Sent))
	f.dropped.Add(float64(note.Dropped))
	return out.Note(f.name, note)
}

// close ends all connections. Nothing is processed any more.
func (f *forwarder) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all sync.WaitGroup
	for _, p := range f.pushers {
		all.Go(p.close)
	}
	all.Wait()
	return nil
}

// of returns the pusher of a camera.
func (f *forwarder) of(camera string) *pusher {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.pushers[camera]
	if p == nil {
		p = newPusher(f, camera, f.log.With("processor", f.name, "camera", camera))
		f.pushers[camera] = p
	}
	return p
}
