package events

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// hub follows the topic of events once for all readers, while there are any. It keeps the
// newest events.
type hub struct {
	cfg    Config
	source Source
	log    *slog.Logger
	m      *metrics

	mu      sync.Mutex // guards what follows; nothing is called under it
	readers int        // streams that need the topic; some of them read older events first
	subs    map[*subscriber]struct{}
	begun   chan struct{} // gets a token when a reader comes
	idle    *time.Timer   // ends the session when nobody reads; nil: somebody does
	stop    context.CancelFunc
	known   chan struct{} // closed while next is known
	first   position      // where the session began; nil: not known
	next    position      // nil: not known
	oldest  position      // all events from here to next are in kept
	kept    []*item
	bytes   int
}

// subscriber gets the events as they come. Its queue is closed if it is full, and when the
// session ends that it got them from.
type subscriber struct{ queue chan *item }

// item is an event of the topic.
type item struct {
	Event
	partition int32
	offset    int64
	json      []byte
	id        string // position behind it
}

// message is the server-sent event of an item for a reader whose position is id.
func (i *item) message(id string) []byte {
	b := make([]byte, 0, len(i.json)+len(id)+16)
	b = append(append(b, "id: "...), id...)
	b = append(append(b, "\ndata: "...), i.json...)
	return append(b, "\n\n"...)
}

func newHub(cfg Config, source Source, log *slog.Logger, m *metrics) *hub {
	return &hub{
		cfg: cfg, source: source, log: log, m: m,
		subs: map[*subscriber]struct{}{}, begun: make(chan struct{}, 1), known: make(chan struct{}),
	}
}

// enter and leave stand around the life of a stream.
func (h *hub) enter() {
	h.m.subscribers.Inc()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readers++
	if h.idle != nil {
		h.idle.Stop()
		h.idle = nil
	}
	select {
	case h.begun <- struct{}{}:
	default:
	}
}

func (h *hub) leave() {
	h.m.subscribers.Dec()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.readers--; h.readers == 0 {
		h.idle = time.AfterFunc(h.cfg.Linger, h.stopIdle)
	}
}

func (h *hub) stopIdle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.readers == 0 && h.stop != nil {
		h.stop()
	}
}

// run follows the topic while there are readers, until ctx ends.
func (h *hub) run(ctx context.Context) {
	for {
		select {
		case <-h.begun:
		case <-ctx.Done():
			return
		}
		h.sessions(ctx)
	}
}

// sessions follows the topic until nobody reads, or ctx ends. It begins again when reading
// fails, and logs that once.
func (h *hub) sessions(ctx context.Context) {
	const first, longest = time.Second, 30 * time.Second
	for pause := first; ; pause = min(2*pause, longest) {
		began := time.Now()
		err := h.session(ctx)
		if err == nil {
			return
		}
		if time.Since(began) > 2*longest {
			pause = first
		}
		if pause == first {
			h.log.Warn("the topic of events cannot be read; trying again", "err", err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// session follows the topic until nobody reads, ctx ends, or reading fails.
func (h *hub) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h.mu.Lock()
	h.stop = cancel
	nobody := h.readers == 0
	h.mu.Unlock()
	if nobody {
		return nil
	}
	defer h.end()
	from, err := h.start(ctx)
	if err == nil {
		h.begin(from)
		for r, e := range h.source.Read(ctx, from) {
			if err = e; err != nil {
				break
			}
			h.publish(itemOf(r))
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	if err == nil {
		err = errors.New("reading has ended")
	}
	return err
}

// missingPause is how often the hub looks whether the topic exists by now. It is made with
// the first event.
const missingPause = 2 * time.Second

// start returns where to begin: at the end of the topic. If the topic is made meanwhile, at
// its start.
func (h *hub) start(ctx context.Context) (position, error) {
	for missing := false; ; missing = true {
		begin, end, err := h.source.Bounds(ctx)
		switch {
		case err != nil:
			return nil, err
		case len(end) > 0 && missing:
			return begin, nil
		case len(end) > 0:
			return end, nil
		}
		select {
		case <-time.After(missingPause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (h *hub) begin(from position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.first, h.next, h.oldest = from.clone(), from.clone(), from.clone()
	close(h.known)
}

// end forgets the position and ends all subscribers: what the next session reads may not
// follow what they have. If the session has not begun, they have got nothing, and wait.
func (h *hub) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stop = nil
	if h.next == nil {
		return
	}
	h.known = make(chan struct{})
	h.first, h.next, h.oldest, h.kept, h.bytes = nil, nil, nil, nil, 0
	for s := range h.subs {
		close(s.queue)
	}
	clear(h.subs)
}

func (h *hub) publish(it *item) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.next.pass(it.partition, it.offset) {
		return
	}
	it.id = h.next.String()
	if it.json == nil { // no event: only the position moves
		h.m.unreadable.Inc()
		return
	}
	h.kept = append(h.kept, it)
	h.bytes += len(it.json)
	for len(h.kept) > h.cfg.Keep || h.bytes > h.cfg.KeepBytes {
		first := h.kept[0]
		h.kept[0] = nil
		h.kept, h.bytes = h.kept[1:], h.bytes-len(first.json)
		h.oldest[first.partition] = first.offset + 1
	}
	for s := range h.subs {
		select {
		case s.queue <- it:
		default:
			h.m.slow.Inc()
			delete(h.subs, s)
			close(s.queue)
		}
	}
}

// subscribe gives all events from a position on, those in kept first. from nil: from now
// on. at is where that is, nil if it is not known. If kept begins behind from, it
// subscribes to nothing: sub is nil, and at is where kept begins.
func (h *hub) subscribe(from position) (sub *subscriber, kept []*item, at position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case from == nil:
		at = h.next.clone()
	case h.next == nil || !from.reaches(h.oldest):
		return nil, nil, h.oldest.clone()
	default:
		at = from.clone()
		for _, it := range h.kept {
			if it.offset >= from[it.partition] {
				kept = append(kept, it)
			}
		}
	}
	sub = &subscriber{queue: make(chan *item, h.cfg.Queue)}
	h.subs[sub] = struct{}{}
	return sub, kept, at
}

func (h *hub) unsubscribe(s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subs, s)
}

// whenKnown returns a channel that is closed while the position is known.
func (h *hub) whenKnown() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.known
}

// began returns where the session began.
func (h *hub) began() position {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.first.clone()
}

// partitions returns how many partitions the topic has, 0 if it is not known.
func (h *hub) partitions() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.next)
}
