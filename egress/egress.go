// Package egress serves the log over HTTP: the page, the API of cameras, and
// HLS. Each protocol has its own package, and package access decides who may do
// what.
package egress

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/egress/api"
	"github.com/framelog/framelog/egress/hls"
	"github.com/framelog/framelog/egress/page"
)

// Config is the settings of the HTTP surface.
type Config struct {
	API   api.Config
	Guard Guard
}

// Deps is what a Server works with.
type Deps struct {
	Registry api.Registry // needed
	// HLS answers everything under /hls/ (see package hls). nil: 404.
	HLS http.Handler
	// Delay is the end-to-end delay of a camera, from capture to playlist;
	// false if it is not known. nil: never known.
	Delay      func(camera string) (time.Duration, bool)
	Log        *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: no metrics
}

// Server is the handler of everything that egress serves.
type Server struct {
	http.Handler
	api    *api.API
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
	s := &Server{api: api.New(cfg.API, api.Deps{
		Registry: deps.Registry, Delay: deps.Delay, Log: deps.Log, Registerer: deps.Registerer,
	})}
	files := deps.HLS
	if files == nil {
		files = http.NotFoundHandler()
	}
	s.routes = append(s.api.Routes(),
		access.Route{Pattern: "/", Label: "page", Action: access.Public, Handler: p.ServeHTTP},
		access.Route{Pattern: "/hls/", Label: "hls", Action: access.Watch, Subject: hls.Subject, Denied: hls.Denied, Handler: files.ServeHTTP},
	)
	mux, err := access.NewMux(cfg.Guard.Authorize, s.routes, newMetrics(deps.Registerer).wrap)
	if err != nil {
		return nil, fmt.Errorf("egress: new server: %w", err)
	}
	s.Handler = cfg.Guard.Wrap(mux)
	return s, nil
}

// Run follows the registry until ctx ends. It ends the open event streams, so
// that http.Server.Shutdown does not wait for them.
func (s *Server) Run(ctx context.Context) error { return s.api.Run(ctx) }

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
