// Package egress serves the log over HTTP: the page, the API of cameras and events,
// snapshots, clips, HLS, and live footage over a socket. Each protocol has its own package, and
// package access decides who may do what.
package egress

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/egress/api"
	"github.com/framelog/framelog/egress/clip"
	"github.com/framelog/framelog/egress/events"
	"github.com/framelog/framelog/egress/hls"
	"github.com/framelog/framelog/egress/live"
	"github.com/framelog/framelog/egress/page"
	"github.com/framelog/framelog/egress/people"
	"github.com/framelog/framelog/egress/snapshot"
	"github.com/framelog/framelog/egress/timeline"
	"github.com/framelog/framelog/schemas"
)

// Config is the settings of the HTTP surface.
type Config struct {
	API       api.Config
	Clips     clip.Config
	Events    events.Config
	Snapshots snapshot.Config
	Timelines timeline.Config
	Live      live.Config
	Guard     Guard
}

// Deps is what a Server works with.
type Deps struct {
	Registry api.Registry // needed
	// People signs people in. nil: nobody has to sign in.
	People *people.Server
	// HLS answers everything under /hls/ (see package hls). nil: 404.
	HLS http.Handler
	// Live is what /live sends (see package hls). nil: it is not served.
	Live live.Source
	// Delay is the end-to-end delay of a camera, from capture to playlist;
	// false if it is not known. nil: never known.
	Delay func(camera string) (time.Duration, bool)
	// Footage is what events, snapshots, clips and timelines are read from. nil: they are not
	// served.
	Footage *Footage
	// Decoder makes exact snapshots. nil: none does.
	Decoder    snapshot.Decoder
	Log        *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: no metrics
}

// Footage is what stands in the log.
type Footage struct {
	Log interface {
		events.Log
		timeline.Log
	}
	Events events.Source // the topic of events
	// Renditions returns what there is of a camera (see package hls).
	Renditions func(ctx context.Context, camera string) ([]hls.Rendition, error)
	// Archived returns what the renditions are for of which footage of a camera is archived, without those of
	// but; the log may not have them any more. With an error it returns what it returned last. nil: there is
	// no archive.
	Archived func(ctx context.Context, camera string, but ...string) (map[string]schemas.Role, error)
}

// Server is the handler of everything that egress serves.
type Server struct {
	http.Handler
	api    *api.API
	events *events.Server // nil: none
	live   *live.Server   // nil: none
	routes []access.Route
}

// New makes the server. It starts nothing: see Run.
func New(cfg Config, deps Deps) (*Server, error) {
	if deps.Registry == nil {
		return nil, errors.New("egress: new server: a registry is needed")
	}
	p, err := page.New()
	if err != nil {
		return nil, fmt.Errorf("egress: new server: %w", err)
	}
	s := &Server{}
	cameras := api.Deps{Registry: deps.Registry, Delay: deps.Delay, Log: deps.Log, Registerer: deps.Registerer}
	if f := deps.Footage; f != nil {
		s.events = events.New(cfg.Events, events.Deps{
			Log: f.Log, Source: f.Events, Renditions: f.roles, Known: s.Known, Logger: deps.Log, Registerer: deps.Registerer,
		})
		snapshots := snapshot.New(cfg.Snapshots, snapshot.Deps{
			Log: f.Log, Newest: f.newest, Known: s.Known, Decoder: deps.Decoder, Logger: deps.Log, Registerer: deps.Registerer,
		})
		cameras.Events, cameras.Renditions = s.events.Follow, f.progress
		clips := clip.New(cfg.Clips, clip.Deps{Log: f.Log, Known: s.Known, Logger: deps.Log, Registerer: deps.Registerer})
		timelines := timeline.New(cfg.Timelines, timeline.Deps{Log: f.Log, Known: s.Known, Logger: deps.Log, Registerer: deps.Registerer})
		s.routes = slices.Concat(s.events.Routes(), snapshots.Routes(), clips.Routes(), timelines.Routes())
	}
	if deps.Live != nil {
		s.live = live.New(cfg.Live, live.Deps{Source: deps.Live, Known: s.Known, Log: deps.Log, Registerer: deps.Registerer})
		s.routes = append(s.routes, s.live.Routes()...)
	}
	s.api = api.New(cfg.API, cameras)
	files := deps.HLS
	if files == nil {
		files = http.NotFoundHandler()
	}
	folk := deps.People
	if folk == nil {
		folk = people.New(people.Config{}, people.Deps{})
	}
	s.routes = append(s.routes, s.api.Routes()...)
	s.routes = append(s.routes, folk.Routes()...)
	s.routes = append(s.routes,
		access.Route{Pattern: "/", Label: "page", Action: access.Public, Handler: p.ServeHTTP},
		access.Route{Pattern: "/hls/", Label: "hls", Action: access.Watch, Subject: hls.Subject, Denied: hls.Denied, Handler: files.ServeHTTP},
	)
	// What this process serves before it comes here can be asked about too.
	ask, err := access.NewAsk(cfg.Guard.Policy, append(slices.Clone(s.routes),
		access.Route{Pattern: "GET /metrics", Action: access.Operate, Handler: http.NotFound}))
	if err != nil {
		return nil, fmt.Errorf("egress: new server: %w", err)
	}
	s.routes = append(s.routes, access.Route{Pattern: "GET /v1/authorize", Label: "authorize", Action: access.Public, Handler: ask})
	mux, err := access.NewMux(cfg.Guard.Policy, s.routes, newMetrics(deps.Registerer).wrap)
	if err != nil {
		return nil, fmt.Errorf("egress: new server: %w", err)
	}
	s.Handler = cfg.Guard.Wrap(folk.Wrap(mux))
	return s, nil
}

// Run follows the registry, and the topic of events while somebody reads, until ctx ends.
// It ends the open event streams and sockets, so that http.Server.Shutdown does not wait for
// them.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var others sync.WaitGroup
	if s.events != nil {
		others.Go(func() { s.events.Run(ctx) })
	}
	if s.live != nil {
		others.Go(func() { s.live.Run(ctx) })
	}
	err := s.api.Run(ctx)
	cancel()
	others.Wait()
	return err
}

// Ready returns an error until the server has read the registry. After that it
// stays ready, also if the brokers go away.
func (s *Server) Ready() error {
	if !s.api.Ready() {
		return errors.New("egress: the cameras are not read yet")
	}
	return nil
}

// Known reports whether the registry has a camera. It returns true until the
// registry has been read.
func (s *Server) Known(camera string) bool { return s.api.Known(camera) }
