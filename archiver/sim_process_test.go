package archiver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/internal/clip"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
)

// simProcess is an archiver. It stands still until the world lets it go on.
type simProcess struct {
	w         *world
	svc       *Service
	resume    chan bool     // false: crash
	paused    chan struct{} // closed when it has crashed
	committed share.Offset
	differs   int
	hung      bool // it stands still for longer
	calm      bool // its store does not fail any more
	wrote     bool // there may be another file
	rest      bool // it has nothing to do
	ended     bool
}

// errCrashed unwinds a process that has crashed.
var errCrashed = errors.New("crashed")

func (w *world) start() *simProcess {
	p := &simProcess{w: w, resume: make(chan bool), paused: make(chan struct{})}
	cfg := Config{Kafka: kafka.Config{Brokers: []string{"nowhere:1"}}, Archive: w.dir}
	svc, err := New(cfg, simReader{&w.log, p}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		panic(err)
	}
	svc.store.put, svc.store.sync = p.put, p.sync
	p.svc = svc
	go func() {
		defer close(p.paused)
		defer func() {
			if r := recover(); r != nil && r != errCrashed { //nolint:errorlint // the very value
				panic(r)
			}
		}()
		p.pause()
		r := newSeries(svc, raw)
		for {
			if r.waiting && p.w.chance(0.05) || p.calm {
				p.w.stats.Quiet++
				r.seen = time.Time{}
			}
			p.rest = !r.next(context.Background())
			p.pause()
		}
	}()
	<-p.paused
	return p
}

// pause stops until the world lets the process go on.
func (p *simProcess) pause() {
	p.paused <- struct{}{}
	p.stop()
}

func (p *simProcess) stop() {
	if !<-p.resume {
		panic(errCrashed)
	}
}

// crash ends the process, and leaves what one that is killed leaves.
func (p *simProcess) crash() {
	if p.ended {
		return
	}
	p.ended = true
	p.resume <- false
	<-p.paused
	if p.w.chance(0.2) {
		dir := filepath.Join(p.w.dir.String(), archive.Series{Life: p.w.log.life, Topic: raw}.Path())
		_ = os.WriteFile(filepath.Join(dir, fmt.Sprintf(".%d.part", p.w.rng.Int())), []byte("ftyp"), 0o600) // the directory need not be there
	}
}

// put is archive.Write of a store that fails now and then. Between the link and the sync of its
// directory a power cut may take the name.
func (p *simProcess) put(ctx context.Context, dir archive.Dir, l clip.Log, t schemas.Topic, entries []schemas.Entry) error {
	path := archive.Path(t, entries)
	if !p.calm && p.w.chance(0.05) {
		p.w.stats.Failed++
		return &fs.PathError{Op: "write", Path: dir.String(), Err: syscall.EIO}
	}
	before := p.w.stats.Files
	err := archive.Write(ctx, dir, l, t, entries)
	if errors.Is(err, archive.ErrDiffers) {
		p.differs++
	}
	if err != nil {
		return err
	}
	if p.w.files[path] != nil {
		p.w.stats.Again++
	}
	if p.w.stats.Files > before {
		p.w.stats.Stood++ // another one has written files meanwhile
	}
	p.wrote = true
	p.pause()
	if !p.calm && p.w.chance(0.05) {
		p.w.stats.Failed++
		return &fs.PathError{Op: "sync", Path: dir.String(), Err: syscall.EIO}
	}
	delete(p.w.linked, path)
	p.pause()
	return nil
}

// sync is archive.Dir.Sync.
func (p *simProcess) sync(of archive.Series) error {
	for path := range maps.Clone(p.w.linked) {
		if filepath.Dir(path) == of.Path() {
			delete(p.w.linked, path)
		}
	}
	return nil
}
