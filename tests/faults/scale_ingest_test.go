package faults

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/ingest/assemble"
	cam "github.com/framelog/framelog/ingest/camera" // camera is a type of this package
	"github.com/framelog/framelog/internal/codec/codectest"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
)

// ingestVariable is the environment variable that makes this test binary an ingest process
// whose cameras cost nothing: ingestConfig as JSON.
const ingestVariable = "FRAMELOG_TEST_INGEST"

type ingestConfig struct {
	Brokers  []string
	Instance string
}

// ingestClient is the id of the Kafka clients of such a process.
const ingestClient = "ingest"

// ingestMain records cameras, and ends the process, if ingestVariable is set.
func ingestMain() {
	v, ok := os.LookupEnv(ingestVariable)
	if !ok {
		return
	}
	var cfg ingestConfig
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	err := json.Unmarshal([]byte(v), &cfg)
	if err == nil {
		err = cfg.record(ctx)
	}
	if err != nil {
		slog.Error("ingest has ended", "err", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// record is what framelog ingest does, with pulses in place of RTSP.
func (c ingestConfig) record(ctx context.Context) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	k := kafka.Config{Brokers: c.Brokers, ClientID: ingestClient}
	cams, err := registry.Connect(k, log)
	if err != nil {
		return err
	}
	defer cams.Close()
	mlog, err := medialog.Connect(medialog.Config{Kafka: k, Partitions: 1}, log, nil)
	if err != nil {
		return err
	}
	defer mlog.Close()
	svc, err := cam.New(cam.Config{
		Kafka: k, Instance: c.Instance, Assembler: assemble.Config{ChunkDuration: time.Second},
	}, cam.Deps{
		Registry:  cams,
		NewSource: func(schemas.Camera) ingest.Source { return pulse{} },
		Open: func(ctx context.Context, t schemas.Topic, o medialog.OpenOptions) cam.Writer {
			return mlog.Open(ctx, t, o)
		},
		IndexEnd: mlog.IndexEnd, Life: mlog.Life, PurgeLate: mlog.PurgeLate, Forget: mlog.Forget,
	}, log, nil)
	if err != nil {
		return err
	}
	return svc.Run(ctx)
}

// pulse is a camera that sends five tiny pictures a second, of which the first is a
// keyframe.
type pulse struct{}

// Live implements ingest.Source.
func (pulse) Live() bool { return true }

// Run implements ingest.Source.
func (pulse) Run(ctx context.Context, s ingest.Sink) error {
	const frame, gop, size = time.Second / 5, 5, 64
	err := s.Tracks([]schemas.Track{{
		ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale, Config: codectest.H264{}.Config(), Width: 320, Height: 240,
	}})
	if err != nil {
		return err
	}
	tick := time.NewTicker(frame)
	defer tick.Stop()
	began, sent := time.Now(), uint64(0)
	for {
		now := time.Now()
		for ; time.Duration(sent)*frame <= now.Sub(began); sent++ { // several after a pause of this process
			err := s.Unit(ingest.Unit{
				Track: schemas.VideoTrack, PTS: int64(sent) * schemas.Ticks(frame), Data: codectest.Unit264(sent%gop == 0, sent, size), Captured: now,
			})
			if err != nil {
				return err
			}
		}
		if err := s.Tick(now); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
