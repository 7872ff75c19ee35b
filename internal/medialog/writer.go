package medialog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/schemas"
)

// OpenOptions says who opens a topic for writing, and why.
type OpenOptions struct {
	Writer string        // this process, in the `open` entry
	Host   string        // its host
	Reason string        // "start", "takeover", …
	Admit  func() string // asked at each fragment; a reason to refuse it (schemas.ReasonStorage), or ""
}

// Writer records one topic; it implements assemble.Recorder. Write, Truncate,
// Gap, Lost and NewSession are called from one goroutine and never block.
//
// A goroutine of its own opens the topic, settles what earlier writers left,
// and from then on appends entries one at a time. Chunks go to Kafka directly
// from Write; their acknowledgements come from the client's goroutines.
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
	kick   chan struct{} // capacity 1: something may be ready to append

	mu      sync.Mutex // guards what follows, and core
	core    *core
	opened  bool
	early   []func()      // what came before opened, in order; at most earlyLimit, and one gap
	waiting int64         // bytes of chunks in early
	gapNote *earlyGap     // the newest gap among early
	lost    *schemas.Lost // the newest Lost among early, while nothing follows it
	session bool          // a session began after early was full
	refused string        // why the fragment that began before opened is not taken; "": it is
	full    string        // why none is taken any more before opened; "": they are
	closing bool
	stopped bool // fenced or closed: nothing counts any more
	err     error
	gone    error     // why the media topic takes nothing any more
	stamp   time.Time // of the newest record
	taken   time.Time // of the newest record that Kafka took
}

// Open makes a writer of t: it fences all earlier ones, settles what they left
// behind, and goes on. Open itself returns at once; until all that is done
// (see Ready) the writer takes chunks into its budget. It makes the topic
// where it is missing. Fencing begins now: call it with the first keyframe in
// hand. When ctx ends the writer stops as in a crash; Close ends it in order.
func (l *Log) Open(ctx context.Context, t schemas.Topic, o OpenOptions) *Writer {
	ctx, cancel := context.WithCancel(ctx)
	w := &Writer{
		log: l, topic: t, media: l.names.Media(t), index: l.names.Index(t), opt: o,
		logger: l.logger.With("camera", t.Camera),
		cancel: cancel,
		ready:  make(chan struct{}), fenced: make(chan struct{}), done: make(chan struct{}), kick: make(chan struct{}, 1),
		core: newCore(t.Camera, l.cfg.Budget, l.cfg.IndexPending),
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

// Ready is closed once the writer has the topic and everything earlier is
// settled.
func (w *Writer) Ready() <-chan struct{} { return w.ready }

// Fenced is closed once nothing that is written any more will count: another
// writer has taken the topic, it was deleted, or Close was called. Err tells.
func (w *Writer) Fenced() <-chan struct{} { return w.fenced }

// Err is why Fenced was closed: ErrFenced, or what else ended the writer; nil
// after Close and while it runs.
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
	w.stopped, w.err, w.early = true, err, nil
	if errors.Is(err, ErrFenced) {
		w.log.metrics.fenced.WithLabelValues(w.topic.Camera).Inc()
	}
	w.log.metrics.buffered.DeleteLabelValues(w.topic.Camera)
	w.log.metrics.pending.DeleteLabelValues(w.topic.Camera)
	close(w.fenced)
}

// Close closes an open fragment as truncated, waits until everything has its
// entry or ctx ends, and frees the writer. It is idempotent.
func (w *Writer) Close(ctx context.Context) error {
	w.mu.Lock()
	if !w.closing && !w.stopped {
		w.closing = true
		if w.opened { // else open does
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
	case w.kick <- struct{}{}:
	default:
	}
}

// do runs an operation on the core, now or once it is opened. With w.mu held.
func (w *Writer) do(op func()) {
	if w.stopped {
		return
	}
	if !w.opened {
		w.addEarly(op)
		return
	}
	op()
	w.wake()
}

// NewSession makes the next fragment or gap begin a new session.
func (w *Writer) NewSession() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.opened && len(w.early) >= earlyLimit {
		w.session = true
		return
	}
	w.do(func() { w.core.newSession = true })
}

// Truncate closes the open fragment as truncated.
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
	w.lostFootage(duration, reason)
	if !w.opened {
		w.earlyGap(start, media, duration, reason)
		return
	}
	w.do(func() { w.core.addGap(start, media, duration, reason) })
}

func (w *Writer) lostFootage(ticks int64, reason string) {
	w.log.metrics.refused.WithLabelValues(w.topic.Camera, reason).Add(float64(ticks) / schemas.MediaTimescale)
}

// Lost adds to what is missing inside the open fragment.
func (w *Writer) Lost(l schemas.Lost) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.opened:
		w.do(func() { w.core.lost(l) })
	case w.refused != "" || w.stopped: // of a fragment that is a gap already
	case w.lost != nil:
		w.lost.Packets += l.Packets
		w.lost.Units += l.Units
	default:
		note := &l
		if w.addEarly(func() { w.core.lost(*note) }) {
			w.lost = note
		}
	}
}

// Write takes the next chunk of a fragment; it keeps c and changes it. Errors:
// ErrFenced; ErrRefused, where the chunk will be part of a gap. Before the
// writer is ready an error can only be of the budget.
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

// write numbers a chunk and sends it. With w.mu held.
func (w *Writer) write(c *schemas.Chunk, admit string) error {
	ticks := c.MediaEnd() - c.MediaStart()
	o, err := w.core.write(c, admit)
	if err != nil {
		w.lostFootage(ticks, w.core.refusing)
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
	// TryProduce never blocks; its limits lie far above all budgets together.
	w.log.producer.TryProduce(context.Background(), rec, func(r *kgo.Record, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		failure := ""
		if err != nil {
			failure = failureOf(err)
			if isGone(err) {
				w.gone = err
			}
			w.logger.Error("Kafka refused a chunk", "topic", w.media, "seq", c.Seq, "err", explain(err))
		} else {
			m.produceSeconds.Observe(time.Since(sent).Seconds())
			m.written.WithLabelValues(w.topic.Camera).Add(float64(len(r.Value)))
		}
		w.stamped(r.Timestamp, err)
		w.core.resolved(o, r.Offset, failure)
		if !w.stopped {
			m.buffered.WithLabelValues(w.topic.Camera).Set(float64(w.core.buffered))
		}
		w.wake()
	})
	return nil
}

// failureOf is the reason of the gap or truncation that an error makes.
func failureOf(err error) string {
	if errors.Is(err, kerr.MessageTooLarge) {
		return schemas.ReasonTooLarge
	}
	return schemas.ReasonProduce
}

// explain adds the remedy to errors of Kafka that people can do something
// about.
func explain(err error) error {
	switch {
	case errors.Is(err, kerr.InvalidTimestamp):
		return fmt.Errorf("%w: this host's clock is ahead of the broker's by more than it takes; set both clocks (NTP)", err)
	case errors.Is(err, kerr.MessageTooLarge):
		return fmt.Errorf("%w: raise max.message.bytes of the topic and message.max.bytes of the brokers, or lower chunk_duration", err)
	}
	return err
}

// timestamp is now, but never before the record before: retention and seeks by
// time hang on it. With w.mu held.
func (w *Writer) timestamp() time.Time {
	if now := time.Now().Truncate(time.Millisecond); now.After(w.stamp) {
		w.stamp = now
	}
	return w.stamp
}

// stamped tells what became of a record's timestamp. One that the broker does
// not take binds no later record, else a clock that was ahead for a moment
// would stop the writer until that time has come. With w.mu held.
func (w *Writer) stamped(at time.Time, err error) {
	switch {
	case err == nil && at.After(w.taken):
		w.taken = at
	case errors.Is(err, kerr.InvalidTimestamp):
		w.stamp = w.taken
	}
}

// run is the writer's goroutine: open, settle, then entry after entry.
func (w *Writer) run(ctx context.Context) error {
	if err := w.open(ctx); err != nil {
		return err
	}
	close(w.ready)
	for {
		w.mu.Lock()
		e, ok := w.core.append()
		idle := w.closing && len(w.core.pending) == 0
		gone := w.gone
		w.log.metrics.pending.WithLabelValues(w.topic.Camera).Set(float64(len(w.core.pending)))
		w.mu.Unlock()
		switch {
		case ok:
			if err := w.commit(ctx, &e); err != nil {
				return err
			}
		case idle:
			return nil
		case gone != nil: // and what was lost by it is told
			w.log.producer.PurgeTopicsFromProducing(w.media) // else the client knows the old one for ever
			return fmt.Errorf("medialog: write to %s: %w", w.media, gone)
		default:
			select {
			case <-w.kick:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// commit appends an entry and finds out whether it counts.
func (w *Writer) commit(ctx context.Context, e *schemas.Entry) error {
	began := time.Now()
	offset, err := w.append(ctx, e)
	if err != nil {
		return err
	}
	if offset <= e.Prev {
		// The index was cut back, and what of it was ours stands there no more.
		return fmt.Errorf("medialog: entry %d of %s is at offset %d, the one before was at %d: %w", e.Seq, w.index, offset, e.Prev, errLost)
	}
	if offset != e.Prev+1 {
		// Others have written in between. An `open` among them voids it.
		fenced, err := w.log.openBetween(ctx, w.index, e.Prev, offset)
		if err != nil {
			return err
		}
		if fenced {
			w.logger.Warn("another writer has taken the camera", "topic", w.index, "seq", e.Seq)
			return ErrFenced
		}
	}
	w.mu.Lock()
	w.core.committed(offset)
	w.mu.Unlock()
	m := w.log.metrics
	m.commitSeconds.Observe(time.Since(began).Seconds())
	m.entries.WithLabelValues(w.topic.Camera, string(e.Kind)).Inc()
	if e.Kind == schemas.KindGap {
		m.gaps.WithLabelValues(w.topic.Camera, e.Reason).Add(float64(e.Duration) / schemas.MediaTimescale)
	}
	return nil
}

// append writes an entry and gives its offset. It waits as long as Kafka is
// away, and goes on trying where Kafka refuses it: a clock that is wrong or a
// right that is missing can be mended, and an entry that stands twice counts
// once. Only a topic that was deleted ends it.
func (w *Writer) append(ctx context.Context, e *schemas.Entry) (offset int64, err error) {
	said := false
	retryErr := retry(ctx, func() error {
		offset, err = w.appendOnce(ctx, e)
		switch {
		case err == nil, ctx.Err() != nil, isGone(err):
			return nil
		case !said:
			w.logger.Error("Kafka refused an entry; trying on", "topic", w.index, "kind", e.Kind, "err", err)
			said = true
		}
		return err
	})
	if retryErr != nil {
		return 0, retryErr
	}
	return offset, err
}

// isGone says whether an error means that a topic is not there, or not the one
// that the client knew under its name.
func isGone(err error) bool {
	return errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID) || errors.Is(err, kerr.InconsistentTopicID)
}

func (w *Writer) appendOnce(ctx context.Context, e *schemas.Entry) (int64, error) {
	value, err := schemas.EncodeEntry(e)
	if err != nil {
		return 0, fmt.Errorf("medialog: append entry to %s: %w", w.index, err)
	}
	w.mu.Lock()
	rec := &kgo.Record{Topic: w.index, Value: value, Timestamp: w.timestamp()}
	w.mu.Unlock()
	if e.Footage() {
		rec.Key = schemas.Key(w.topic.Camera, e.Seq)
	} else {
		rec.Key = []byte(w.topic.Camera)
	}
	rec.Headers = []kgo.RecordHeader{
		{Key: schemas.HeaderVersion, Value: strconv.AppendInt(nil, schemas.Version, 10)},
		{Key: "kind", Value: []byte(e.Kind)},
	}
	life := context.Background()
	if e.Kind == schemas.KindOpen {
		// Taken back, as far as that can be, with the writer: what fences must
		// not come when somebody else has the camera. Footage may.
		life = ctx
	}
	res := make(chan error, 1)
	w.log.producer.TryProduce(life, rec, func(_ *kgo.Record, err error) { res <- err })
	select {
	case err := <-res:
		w.mu.Lock()
		w.stamped(rec.Timestamp, err)
		w.mu.Unlock()
		if err != nil {
			return 0, fmt.Errorf("medialog: append entry to %s: %w", w.index, explain(err))
		}
		return rec.Offset, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// fence appends the `open`, where the topics are missing after making them.
func (w *Writer) fence(ctx context.Context) (epoch int64, err error) {
	retryErr := retry(ctx, func() error {
		if err = w.log.ensureRetrying(ctx, w.topic); err != nil {
			return nil
		}
		epoch, err = w.append(ctx, &schemas.Entry{
			Kind: schemas.KindOpen, Prev: -1, Writer: w.opt.Writer, Host: w.opt.Host, Reason: w.opt.Reason,
		})
		if !isGone(err) {
			return nil
		}
		// Deleted and made again since this client wrote there: it holds on to
		// the topic that it knew until it is told to forget it.
		w.logger.Info("the camera's topics were deleted and made again", "topic", w.index)
		w.log.producer.PurgeTopicsFromProducing(w.index, w.media)
		return err
	})
	if retryErr != nil {
		return 0, retryErr
	}
	return epoch, err
}

// open fences, settles and opens the core.
func (w *Writer) open(ctx context.Context) error {
	epoch, err := w.fence(ctx)
	if err != nil {
		return err
	}
	last, err := w.log.newestBefore(ctx, w.index, epoch)
	if err != nil {
		return err
	}
	chunks, parts, err := w.log.unsettled(ctx, w.media, last)
	if err != nil {
		return err
	}
	w.log.grown(w.media, parts)
	settled := settle(epoch, last.entry, chunks)
	seed := uint64(time.Now().Unix())
	for _, c := range chunks {
		seed = max(seed, c.seq+1)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.core.opened(epoch, last.entry, settled, parts, seed)
	w.opened = true
	w.logger.Info("opened the camera's topic", "topic", w.media, "epoch", epoch, "seq", w.core.next, "settled", len(settled), "reason", w.opt.Reason)
	early := w.early
	w.early, w.gapNote, w.lost, w.waiting = nil, nil, nil, 0
	for _, op := range early {
		op()
	}
	w.core.full = cmp.Or(w.core.full, w.full)
	if w.session {
		w.core.newSession = true
	}
	if w.closing {
		w.core.finish(schemas.ReasonSource)
	}
	if w.refused != "" && w.core.open == nil {
		w.core.refusing = w.refused // its remaining chunks are still to come
	}
	w.wake()
	return nil
}
