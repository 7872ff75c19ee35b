package main

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/ingest/assemble"
	"github.com/framelog/framelog/ingest/camera"
	"github.com/framelog/framelog/ingest/replay"
	"github.com/framelog/framelog/ingest/rtsp"
	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/app/service"
	"github.com/framelog/framelog/internal/gstreamer"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/internal/secrets"
	"github.com/framelog/framelog/schemas"
)

func ingestRole() role {
	return role{
		name: "ingest", help: "Run ingest alone: it records cameras.", command: new(ingestCmd),
		section: config.Section{Key: "ingest", Into: new(ingestConfig)},
		env:     []string{"FRAMELOG_SECRET_"},

		prepare: func(_ context.Context, u *up) error {
			if own := config.Get[ingestConfig](u.cfg); own.Instance == "" {
				// All ingest processes that this up starts get the same name, which no other
				// process has.
				host, _ := os.Hostname()
				own.Instance = fmt.Sprintf("%s-%08x", cmp.Or(host, "up"), rand.Uint32())
			}
			return nil
		},
	}
}

// ingestConfig is the settings of ingest.
type ingestConfig struct {
	Instance       string          `yaml:"instance" default:"" doc:"Name of this ingest process: the owner in the statuses of its cameras, and its name in the log and in the consumer group. No other ingest process may have it, and it must stay the same when the process is started again: then it gets its cameras back at once. Empty: other processes take them over after session_timeout. framelog up makes a name."`
	MinFragment    config.Duration `yaml:"min_fragment" default:"1s" min:"1s" max:"30s" doc:"Shortest fragment, which is an HLS segment. A fragment ends at the first keyframe that comes after this time."`
	ChunkDuration  config.Duration `yaml:"chunk_duration" default:"200ms" min:"40ms" max:"2s" doc:"Length of a chunk, which is a record in Kafka and a part of low-latency HLS. Shorter means less delay and more work."`
	SessionTimeout config.Duration `yaml:"session_timeout" default:"8s" min:"6s" max:"10s" doc:"How long after the death of an ingest process the others take its cameras."`
	ReconnectMax   config.Duration `yaml:"reconnect_max" default:"15s" min:"1s" max:"10m" doc:"Longest wait before the next attempt to connect to a camera that is away."`
	ConnectTimeout config.Duration `yaml:"connect_timeout" default:"5s" min:"1s" max:"1m" doc:"How long a camera may take to accept a connection."`
	StallTimeout   config.Duration `yaml:"stall_timeout" default:"10s" min:"1s" max:"5m" doc:"How long a camera may send no picture before ingest connects again."`
	RTSP           rtspConfig      `yaml:"rtsp"`
	DiskReserve    config.Size     `yaml:"disk_reserve" default:"2GiB" doc:"With the embedded broker: recording stops, with gaps, while less disk space is free. 0: never."`
}

// rtspConfig is the settings of RTSP cameras.
type rtspConfig struct {
	Engine string `yaml:"engine" default:"gstreamer" oneof:"gstreamer,native" doc:"What speaks RTSP with cameras: gstreamer, or native, which needs no GStreamer and less CPU time, and leaves cameras whose sound must be converted to GStreamer (docs/operating.md#rtsp-engines)."`
}

type ingestCmd struct {
	roleFlags
	httpFlag
}

// Run records cameras.
func (c ingestCmd) Run(ctx context.Context) error {
	p, err := c.start("ingest", nil, c.HTTP)
	if err != nil {
		return err
	}
	// Ingest keeps little memory and allocates much, so the garbage collector would
	// run several times a second without need. The ballast lets the heap grow by
	// its size between two runs. It is never written, so it takes no physical
	// memory.
	ballast := make([]byte, 16<<20)
	defer runtime.KeepAlive(ballast)
	if engine := config.Get[ingestConfig](p.cfg).RTSP.Engine; engine == rtsp.EngineGStreamer {
		if err := gstreamer.Init(); err != nil {
			return &config.Error{What: strings.TrimPrefix(err.Error(), "gstreamer: "), Remedy: "or set ingest.rtsp.engine to native"}
		}
	}
	return service.All(ctx,
		p.withBrokers(func(ctx context.Context) error { return record(ctx, p) }),
		func(ctx context.Context) error { return p.serve(ctx, "--http", c.HTTP, nil) })
}

// record runs ingest until ctx ends.
func record(ctx context.Context, p *process) error {
	cfg, own := p.cfg, config.Get[ingestConfig](p.cfg)
	cams, err := registry.Connect(kafkaConfig(cfg, "framelog-ingest"), p.log)
	if err != nil {
		return err
	}
	defer cams.Close()
	mlog, err := medialog.Connect(logConfig(cfg, "framelog-ingest"), p.log, p.reg)
	if err != nil {
		return err
	}
	defer mlog.Close()
	ic := camera.Config{
		Kafka:          kafkaConfig(cfg, "framelog-ingest"),
		Instance:       own.Instance,
		SessionTimeout: time.Duration(own.SessionTimeout), ReconnectMax: time.Duration(own.ReconnectMax),
		Assembler: assemble.Config{MinFragment: time.Duration(own.MinFragment), ChunkDuration: time.Duration(own.ChunkDuration)},
	}
	if cfg.Embedded() {
		ic.ReservePath, ic.ReserveBytes = cfg.Data, int64(own.DiskReserve)
	}
	resolver := secrets.Resolver{Dir: cfg.SecretsDir, Cameras: cfg.Records()}
	past, err := withArchive(cfg, mlog.EndingAtDamage(), p.log, p.reg) // replays go on behind damage
	if err != nil {
		return err
	}
	svc, err := camera.New(ic, camera.Deps{
		Registry:  cams,
		NewSource: cameraKinds(own, resolver, past, kafkaConfig(cfg, "").Names()).Source,
		Open: func(ctx context.Context, t schemas.Topic, o medialog.OpenOptions) camera.Writer {
			o.Archived = func(ctx context.Context, life string, seq uint64) (schemas.Entry, error) {
				return past.Archived(ctx, t, life, seq)
			}
			return mlog.Open(ctx, t, o)
		},
		IndexEnd:  mlog.IndexEnd,
		Life:      mlog.Life,
		PurgeLate: mlog.PurgeLate,
		Forget:    mlog.Forget,
	}, p.log, p.reg)
	if err != nil {
		return err
	}
	p.started(svc.Ready)
	return svc.Run(ctx)
}

// pace is how often units of a camera with these chunks are taken: often enough that
// short chunks gain something. Half of 40 ms needs an eighth more CPU time.
func pace(chunk time.Duration) time.Duration {
	return min(max(chunk/4, 10*time.Millisecond), 40*time.Millisecond)
}

// cameraKinds are the kinds of cameras that are recorded, by the scheme of their URL. store
// has the footage for replays, and names names its topics.
func cameraKinds(own *ingestConfig, resolver secrets.Resolver, store medialog.Store, names schemas.Names) ingest.Kinds {
	overRTSP := ingest.Kind{Check: rtsp.Check, New: func(cam schemas.Camera) ingest.Source {
		return rtsp.New(rtsp.Config{
			URL:       func(ctx context.Context) (*url.URL, error) { return resolver.Resolve(ctx, cam) },
			Shown:     secrets.Shown(cam),
			Engine:    cmp.Or(cam.Engine, own.RTSP.Engine),
			Transport: cam.Transport, InsecureTLS: cam.InsecureTLS, NoAudio: cam.NoAudio,
			Pace:           pace(cmp.Or(cam.ChunkDuration(), time.Duration(own.ChunkDuration))),
			ConnectTimeout: time.Duration(own.ConnectTimeout), StallTimeout: time.Duration(own.StallTimeout),
		})
	}}
	fromLog := ingest.Kind{Check: replay.Check, New: func(cam schemas.Camera) ingest.Source {
		return replay.New(replay.Config{Camera: cam, Store: store, Names: names})
	}}
	return ingest.Kinds{"rtsp": overRTSP, "rtsps": overRTSP, schemas.ReplayScheme: fromLog}
}
