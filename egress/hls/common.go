package hls

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

var (
	errBusy    = errors.New("hls: too many requests wait")
	errTimeout = errors.New("hls: nothing new came in time")
	errClosed  = errors.New("hls: server is closing")
)

// Log is the part of the log that this package uses; *medialog.Log implements
// it.
type Log interface {
	chunkReader
	// Entries yields the visible entries of a range.
	Entries(ctx context.Context, t schemas.Topic, r medialog.Range) iter.Seq2[schemas.Entry, error]
	// Entry finds the entry of one seq whose media can be read now. With ErrBeyond
	// it returns the entry too.
	Entry(ctx context.Context, t schemas.Topic, seq uint64) (schemas.Entry, error)
	// Available reports whether the media that e names can be read now.
	Available(ctx context.Context, t schemas.Topic, e schemas.Entry) error
	// Tail follows t until ctx ends.
	Tail(ctx context.Context, t schemas.Topic, from medialog.Position) iter.Seq2[medialog.Event, error]
	// Topics lists the media topics that exist.
	Topics(ctx context.Context) ([]schemas.Topic, error)
}

// chunkReader reads the media that an entry names.
type chunkReader interface {
	Chunks(ctx context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error]
}

// common holds what a server, its streams and its loader share.
type common struct {
	cfg     Config
	log     Log
	slog    *slog.Logger
	metrics *metrics
	cache   *cache[*segment] // complete segments and inits
	files   *files
	waiters *semaphore.Weighted // a place for each request that waits for footage
	tasks   tasks
}

// wait takes a place for a request that waits; waited frees it.
func (c *common) wait() error {
	if !c.waiters.TryAcquire(1) {
		c.metrics.refused.WithLabelValues("waiters").Inc()
		return errBusy
	}
	c.metrics.waiters.Inc()
	return nil
}

func (c *common) waited() {
	c.waiters.Release(1)
	c.metrics.waiters.Dec()
}

// keepInit makes the init of tracks and keeps it in memory.
func (c *common) keepInit(t schemas.Topic, config string, tracks []schemas.Track) (*segment, error) {
	k := cacheKey{topic: t, config: config}
	if init := c.cache.get(k); init != nil {
		return init, nil
	}
	init, err := makeInit(config, tracks)
	if err == nil {
		c.cache.put(k, init, init.parts.Size())
	}
	return init, err
}

// tasks are the goroutines that work for a server. After close no task begins.
type tasks struct {
	ctx    context.Context //nolint:containedctx // of all tasks, ended by close
	cancel context.CancelFunc

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

// begin counts a task, which calls running.Done when it ends.
func (t *tasks) begin() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return errClosed
	}
	t.running.Add(1)
	return nil
}

// close ends all tasks and waits for them.
func (t *tasks) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	t.running.Wait()
}
