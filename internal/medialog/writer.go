package medialog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/schemas"
)

// OpenOptions tells who opens a topic for writing, and why.
type OpenOptions struct {
	Writer string        // this process, in the `open` entry
	Host   string        // its host
	Reason string        // "start", "takeover", …
	Admit  func() string // called at each fragment; returns a reason to refuse it (schemas.ReasonStorage), or ""
}

// Writer records one topic. It implements assemble.Recorder. Write, Truncate, Gap,
// Lost and NewSession are called from one goroutine and never block.
//
// The writer has a goroutine of its own. It opens the topic, settles what earlier
// writers left, and then appends entries one at a time. Write sends chunks to Kafka
// itself; acknowledgements come on goroutines of the client.
type Writer struct {
	log    *Log
	topic  schemas.Topic
	media  string // Kafka topic names
	index  string
	opt    OpenOptions
	logger *slog.Logger

	cancel context.CancelFunc
	ready  chan struct{}
	fenced chan struct{}
	done   chan struct{}
	wakeup chan struct{} // capacity 1: an entry may be ready

	mu       sync.Mutex // guards all that follows, and core
	core     *core
	opened   bool // core has begun
	early    early
	closing  bool
	stopped  bool // fenced or closed: nothing that is written counts any more
	err      error
	gone     error     // why the media topic takes no chunk any more
	stamp    time.Time // timestamp of the newest record
	accepted time.Time // timestamp of the newest record that Kafka took
}

// Open makes a writer of t. The writer creates t's topics if they are missing,
// fences all earlier writers, settles what they left, and goes on. Open itself
// returns at once. Until the writer is ready (Ready) it takes chunks into its
// budget. Fencing begins at once: call Open when the first keyframe is there. When
// ctx ends, the writer stops as in a crash; Close ends it in order.
func (l *Log) Open(ctx context.Context, t schemas.Topic, o OpenOptions) *Writer {
	ctx, cancel := context.WithCancel(ctx)
	w := &Writer{
		log: l, topic: t, media: l.names.Media(t), index: l.names.Index(t), opt: o,
		logger: l.logger.With("camera", t.Camera),
		cancel: cancel,
		ready:  make(chan struct{}), fenced: make(chan struct{}), done: make(chan struct{}), wakeup: make(chan struct{}, 1),
		core: newCore(l.cfg.Budget, l.cfg.IndexPending),
	}
	l.wg.Go(func() {
		defer close(w.done)
		defer cancel()
		stop := context.AfterFunc(l.ctx, cancel)
		defer stop()
		err := w.run(ctx)
		w.stop(err)
	})
	return w
}

// Ready is closed when the writer has opened the topic and knows what it has to
// settle.
func (w *Writer) Ready() <-chan struct{} { return w.ready }

// Fenced is closed when nothing that is written any more counts: another writer has
// opened the topic, it was deleted, or the writer was closed. Err tells which.
func (w *Writer) Fenced() <-chan struct{} { return w.fenced }

// Err returns why Fenced was closed: ErrFenced, or the error that ended the writer;
// nil after Close, and while the writer runs.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *Writer) stop(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	w.stopped, w.err, w.early.ops = true, err, nil
	if errors.Is(err, ErrFenced) {
		w.log.metrics.fenced.WithLabelValues(w.topic.Camera).Inc()
	}
	w.log.metrics.buffered.DeleteLabelValues(w.topic.Camera)
	w.log.metrics.pending.DeleteLabelValues(w.topic.Camera)
	close(w.fenced)
}

// Close closes an unfinished fragment as truncated, waits until everything has its
// entry or ctx ends, and frees the writer. It is idempotent.
func (w *Writer) Close(ctx context.Context) error {
	w.mu.Lock()
	if !w.closing && !w.stopped {
		w.closing = true
		if w.opened { // else begin does it
			w.core.finish(schemas.ReasonSource)
		}
	}
	w.mu.Unlock()
	w.wake()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		w.cancel()
		<-w.done
		return fmt.Errorf("medialog: close writer of %s: entries are missing: %w", w.topic, ctx.Err())
	}
}

func (w *Writer) wake() {
	select {
	case w.wakeup <- struct{}{}:
	default:
	}
}

// do runs an operation on the core, now or when it has begun. The caller holds w.mu.
func (w *Writer) do(op func()) {
	switch {
	case w.stopped:
	case !w.opened:
		w.early.add(op)
	default:
		op()
		w.wake()
	}
}

// NewSession makes the next fragment or gap begin a new session.
func (w *Writer) NewSession() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.opened && w.early.isFull() {
		w.early.session = true
		return
	}
	w.do(func() { w.core.newSession = true })
}

// Truncate closes the unfinished fragment as truncated.
func (w *Writer) Truncate(reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.do(func() { w.core.truncate(reason) })
}

// Gap records footage that was received and could not be kept: media and
// duration in ticks of schemas.MediaTimescale.
func (w *Writer) Gap(start time.Time, media, duration int64, reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.countRefused(duration, reason)
	if !w.opened {
		w.earlyGap(start, media, duration, reason)
		return
	}
	w.do(func() { w.core.addGap(start, media, duration, reason) })
}

func (w *Writer) countRefused(ticks int64, reason string) {
	w.log.metrics.refused.WithLabelValues(w.topic.Camera, reason).Add(float64(ticks) / schemas.MediaTimescale)
}

// Lost adds to what is missing inside the unfinished fragment.
func (w *Writer) Lost(l schemas.Lost) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.opened:
		w.do(func() { w.core.lost(l) })
	case w.early.refused != "" || w.stopped: // the fragment is a gap already
	case w.early.lost != nil:
		w.early.lost.Packets += l.Packets
		w.early.lost.Units += l.Units
	default:
		sum := &l
		if w.early.add(func() { w.core.lost(*sum) }) {
			w.early.lost = sum
		}
	}
}

// Write takes the next chunk of a fragment. It keeps c and changes it. Errors:
// ErrFenced; ErrRefused if the chunk becomes a gap. Before the writer is ready,
// ErrRefused is the only one.
func (w *Writer) Write(c *schemas.Chunk) error {
	if len(c.Video()) == 0 {
		return fmt.Errorf("medialog: write %s: a chunk without video", w.topic)
	}
	admit := ""
	if c.Index == 0 && w.opt.Admit != nil {
		admit = w.opt.Admit()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.stopped:
		return ErrFenced
	case !w.opened:
		return w.writeEarly(c, admit)
	}
	return w.write(c, admit)
}

// write numbers a chunk and sends it. The caller holds w.mu.
func (w *Writer) write(c *schemas.Chunk, admit string) error {
	ticks := c.MediaEnd() - c.MediaStart()
	o, err := w.core.write(c, admit)
	if err != nil {
		w.countRefused(ticks, w.core.refusing)
		w.wake()
		return err
	}
	value, err := schemas.EncodeChunk(c)
	if err != nil {
		w.core.resolved(o, 0, schemas.ReasonProduce)
		w.wake()
		return fmt.Errorf("medialog: write %s: %w", w.topic, err)
	}
	rec := &kgo.Record{
		Topic: w.media, Partition: o.item.entry.Partition,
		Key: schemas.Key(w.topic.Camera, c.Seq), Value: value, Timestamp: w.timestamp(),
	}
	for _, h := range schemas.ChunkHeaders(c) {
		rec.Headers = append(rec.Headers, kgo.RecordHeader(h))
	}
	m := w.log.metrics
	m.buffered.WithLabelValues(w.topic.Camera).Set(float64(w.core.buffered))
	sent := time.Now()
	// TryProduce never blocks. Its limits are far above all budgets together.
	w.log.producer.TryProduce(context.Background(), rec, func(r *kgo.Record, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		failure := ""
		if err != nil {
			failure = failureOf(err)
			if isGone(err) {
				w.gone = err
			}
			if err := explain(err); !w.log.logMissingRight(err) {
				w.logger.Error("Kafka refused a chunk", "topic", w.media, "seq", c.Seq, "err", err)
			}
		} else {
			m.produceSeconds.Observe(time.Since(sent).Seconds())
			m.written.WithLabelValues(w.topic.Camera).Add(float64(len(r.Value)))
		}
		w.answered(r.Timestamp, err)
		w.core.resolved(o, r.Offset, failure)
		if !w.stopped {
			m.buffered.WithLabelValues(w.topic.Camera).Set(float64(w.core.buffered))
		}
		w.wake()
	})
	return nil
}
