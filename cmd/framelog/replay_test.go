package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// TestReplayBehindDamage: Kafka has a damaged record of the footage. Neither ingest nor the command waits
// for it: the replay ends, and what is left out is told.
func TestReplayBehindDamage(t *testing.T) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	dir, yard := t.TempDir(), schemas.Topic{Camera: "yard"}
	file := filepath.Join(dir, "framelog.yaml")
	if err := os.WriteFile(file, []byte("brokers: [\""+fake.ListenAddrs()[0]+"\"]\ntopics: {partitions: 1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	of := settings{Config: file, Data: &dir}
	cfg, err := of.load(nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	log := &testenv.Log{}
	logger := slog.New(slog.NewTextHandler(log, nil))
	defer func() {
		if t.Failed() {
			t.Log(log)
		}
	}()

	// Fragments of one chunk, each of which has a batch of its own.
	source, err := medialog.Connect(logConfig(cfg, "test"), logger, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	w := source.Open(ctx, yard, medialog.OpenOptions{Writer: "camera"})
	w.NewSession("")
	start := time.Now().Add(-time.Minute)
	for i := range 3 {
		at := start.Add(time.Duration(i) * time.Second)
		if err := w.Write(&schemas.Chunk{
			Last: true, Start: at, Captured: at, Layout: schemas.Layout{Part: 19800, Video: schemas.H264},
			Tracks: []schemas.Track{{ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale, Config: []byte{1}, Width: 640, Height: 360}},
			Runs: []schemas.Run{{Track: schemas.VideoTrack, Samples: []schemas.Sample{
				{DTS: int64(i+1) * schemas.MediaTimescale, Duration: schemas.MediaTimescale, Sync: true, Data: []byte("picture")},
			}}},
		}); err != nil {
			t.Fatal(err)
		}
		if err := w.Written(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	var all []schemas.Entry
	for e, err := range source.Entries(ctx, yard, medialog.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	bad := all[1]
	testenv.DamageKafka(t, fake, new(net.Dialer).DialContext, schemas.Names{}.Media(yard), bad.Partition, bad.First)

	// The command, as with --rtsp.
	cmd := replayCmd{settings: of}
	store, closeStore, err := cmd.store()
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore()
	reads := 0
	for c, err := range store.Chunks(ctx, yard, bad) {
		if reads++; !errors.Is(err, medialog.ErrDamaged) {
			t.Errorf("the command reads %+v, %v", c, err)
		}
	}
	if reads != 1 {
		t.Errorf("the command reads %d chunks", reads)
	}

	reg, err := registry.Connect(kafkaConfig(cfg, "test"), logger)
	if err != nil {
		t.Fatal(err)
	}
	defer reg.Close()
	if err := reg.Ensure(ctx); err != nil {
		t.Fatal(err)
	}
	r := schemas.Replay{Of: yard, From: all[0].Start, To: all[2].End()}
	if err := reg.Put(ctx, schemas.Camera{ID: "test", URL: r.URL(), Source: schemas.SourceAPI, Updated: time.Now()}); err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- record(running, &process{cfg: cfg, log: logger, reg: prometheus.NewRegistry()}) }()
	testenv.Wait(t, testenv.Patience, "the replay has ended", func() bool {
		s, err := reg.LastStatus(ctx, "test")
		return err == nil && s.State == schemas.StateEnded
	})
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	var kinds []string
	for e, err := range store.Entries(ctx, schemas.Topic{Camera: "test"}, medialog.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, string(e.Kind))
	}
	if got := strings.Join(kinds, " "); got != "whole gap whole" {
		t.Errorf("the copy has %s", got)
	}
	if n := strings.Count(log.String(), "footage of the source is left out"); n != 1 {
		t.Errorf("what is left out is told %d times", n)
	}
}
