package main

import (
	"context"
	"net/http"
	"path/filepath"
	"time"

	"github.com/framelog/framelog/egress"
	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/egress/answer"
	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/app/service"
	"github.com/framelog/framelog/monitor"
	"github.com/framelog/framelog/monitor/lag"
)

func monitorRole() role {
	return role{
		name: "monitor", help: "Run the monitor alone: how far every camera and processor is behind.", command: new(monitorCmd),
		section: config.Section{Key: "monitor", Into: new(monitorConfig)},

		routes: []string{"/v1/lag"}, operators: true,
	}
}

// monitorConfig is the settings of the monitor.
type monitorConfig struct {
	Interval config.Duration `yaml:"interval" default:"5s" min:"1s" max:"1m" doc:"Time from one reading of the log to the next."`
}

type monitorCmd struct {
	roleFlags
	httpFlag
}

// Run watches the log.
func (c monitorCmd) Run(ctx context.Context) error {
	p, err := c.start("monitor", nil, c.HTTP)
	if err != nil {
		return err
	}
	defer p.close()
	settings, addr := monitorSettings(p.cfg), c.HTTP
	if p.flags.supervised() {
		addr = p.cfg.Listen // of up, which passes requests on
		settings.Shown = shownBy(service.Client(filepath.Join(filepath.Dir(p.flags.Socket), "egress.sock")))
	}
	m := monitor.New(settings, p.log, p.reg)
	handler, err := lagHandler(guard(p.cfg, addr, p.policy), m.Report)
	if err != nil {
		return err
	}
	return service.All(ctx,
		p.withBrokers(func(ctx context.Context) error {
			p.started(func() error { _, err := m.Report(); return err })
			return m.Run(ctx)
		}),
		func(ctx context.Context) error { return p.serve(ctx, "--http", c.HTTP, handler) })
}

// monitorSettings returns the settings of a Monitor.
func monitorSettings(cfg *config.Config) monitor.Config {
	return monitor.Config{
		Kafka: kafkaConfig(cfg, "framelog-monitor"), Retention: time.Duration(cfg.Topics.Retention),
		Interval: time.Duration(config.Get[monitorConfig](cfg).Interval),
	}
}

// shownBy returns a function that asks egress up to which public time its playlists show
// cameras.
func shownBy(client *http.Client) func(ctx context.Context) (map[string]time.Time, error) {
	return func(ctx context.Context) (map[string]time.Time, error) {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		all, err := service.Gauge(ctx, client, "framelog_egress_hls_shown_timestamp_seconds")
		if err != nil {
			return nil, err
		}
		shown := map[string]time.Time{}
		for camera, at := range all {
			shown[camera] = time.UnixMicro(int64(at * 1e6))
		}
		return shown, nil
	}
}

// lagHandler answers GET /v1/lag: the cameras that the sender may see, worst first.
func lagHandler(guard egress.Guard, report func() (lag.Report, error)) (http.Handler, error) {
	routes := answer.Plain([]access.Route{{Pattern: "GET /v1/lag", Label: "lag", Action: access.List, Handler: func(w http.ResponseWriter, r *http.Request) {
		all, err := report()
		if err != nil {
			answer.Fail(w, http.StatusServiceUnavailable, "the log has not been read yet", "try again in some seconds; if it goes on, look at the brokers")
			return
		}
		answer.JSON(w, http.StatusOK, all.For(func(camera string) bool { return access.May(r, camera) }))
	}}})
	mux, err := access.NewMux(guard.Policy, routes, func(_ access.Route, h http.Handler) http.Handler { return h })
	if err != nil {
		return nil, err
	}
	return guard.Wrap(mux), nil
}
