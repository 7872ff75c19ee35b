package processors

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync"

	"github.com/framelog/framelog/schemas"
)

// arriving is the source of one copy of a fragment. Its chunks come ahead of the entry,
// or from the store when the entry is known.
type arriving struct {
	epoch int64 // of the copy
	start int64 // media time of its first chunk
	// load reads the chunks of the copy from the store. It is called in a goroutine when
	// the function asks for a chunk that has not come ahead of the entry.
	load func(*arriving, schemas.Entry)

	mu      sync.Mutex
	chunks  []*schemas.Chunk
	bytes   int64
	entered *schemas.Entry // the entry; nil: it has not come yet
	err     error          // why no chunk and no entry comes any more
	used    uint32         // chunks that the function has got
	loading bool
	changed chan struct{} // closed at the next change
	gone    chan struct{} // closed when err is set
	whole   chan struct{} // closed when the entry has come
}

func newArriving(epoch, start int64, load func(*arriving, schemas.Entry)) *arriving {
	return &arriving{epoch: epoch, start: start, load: load, changed: make(chan struct{}), gone: make(chan struct{}), whole: make(chan struct{})}
}

// notify wakes those who wait for a change. s.mu is held.
func (s *arriving) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// add takes a chunk, if it is the next one.
func (s *arriving) add(c *schemas.Chunk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || int(c.Index) != len(s.chunks) {
		return
	}
	s.chunks = append(s.chunks, c)
	s.bytes += int64(c.Size())
	s.notify()
}

// enter takes the entry of the fragment. It returns false if the entry names another copy,
// or fewer chunks than the function has got: then the source fails.
func (s *arriving) enter(e schemas.Entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !e.Playable() || e.Epoch != s.epoch || s.used > e.Chunks {
		s.end(ErrSourceChanged)
		return false
	}
	s.entered = &e
	close(s.whole)
	if len(s.chunks) > int(e.Chunks) {
		s.chunks = s.chunks[:e.Chunks]
	}
	s.notify()
	return true
}

// fail ends the source.
func (s *arriving) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(err)
}

func (s *arriving) end(err error) {
	if s.err == nil {
		s.err = err
		close(s.gone)
		s.notify()
	}
}

// release frees the chunks: the fragment is done.
func (s *arriving) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(errReturned)
	s.chunks, s.bytes = nil, 0
}

// errReturned is for a function that has returned and reads on in a goroutine.
var errReturned = errors.New("processors: the function has returned")

// failed returns why the source has failed, nil if it has not.
func (s *arriving) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// known returns the entry, nil if it has not come yet.
func (s *arriving) known() *schemas.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entered
}

// size returns the bytes of the chunks that it holds.
func (s *arriving) size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// usedOf returns how many chunks of the copy the function has used, if it has succeeded:
// at least those that the entry names.
func (s *arriving) usedOf(e schemas.Entry) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.used, e.Chunks)
}

func (s *arriving) chunk(ctx context.Context, i int) (*schemas.Chunk, error) {
	var c *schemas.Chunk
	err := s.wait(ctx, func() (bool, error) {
		switch {
		case i < len(s.chunks):
			c = s.chunks[i]
			s.used = max(s.used, uint32(i)+1)
			return true, nil
		case s.entered == nil:
			return false, nil
		case i >= int(s.entered.Chunks):
			return true, io.EOF
		case !s.loading:
			s.loading = true
			s.load(s, *s.entered)
		}
		return false, nil
	})
	return c, err
}

func (s *arriving) entry(ctx context.Context) (schemas.Entry, error) {
	var e schemas.Entry
	err := s.wait(ctx, func() (bool, error) {
		if s.entered == nil {
			return false, nil
		}
		e = *s.entered
		return true, nil
	})
	return e, err
}

// wait calls cond until it returns true, now and after each change, with s.mu held.
func (s *arriving) wait(ctx context.Context, cond func() (bool, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	resume := func() {}
	defer func() { resume() }()
	for paused := false; ; {
		s.mu.Lock()
		ok, err := false, s.err
		if err == nil {
			ok, err = cond()
		}
		changed := s.changed
		s.mu.Unlock()
		if ok || err != nil {
			return err
		}
		if !paused {
			resume, paused = pauseClock(ctx), true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// chunkSeq yields the chunks of a copy.
type chunkSeq = iter.Seq2[*schemas.Chunk, error]

// loadFrom reads the chunks of a copy.
func (s *arriving) loadFrom(chunks chunkSeq) {
	for c, err := range chunks {
		if err != nil {
			s.fail(err)
			return
		}
		s.add(c)
	}
}

// source returns the source of the whole fragment.
func (s *arriving) source() source { return source{s.chunk, s.entry} }

// keyframe returns the source of a fragment of which only the first picture is read. It
// lasts as long as the fragment: duration, in ticks.
func (s *arriving) keyframe(duration int64) source {
	return source{func(ctx context.Context, i int) (*schemas.Chunk, error) {
		if i > 0 {
			return nil, io.EOF
		}
		first, err := s.chunk(ctx, 0)
		if err != nil {
			return nil, err
		}
		c := *first
		c.Last, c.Runs, c.Tracks = true, nil, nil
		for _, t := range first.Tracks {
			if t.ID == schemas.VideoTrack {
				c.Tracks = []schemas.Track{t}
			}
		}
		if v := first.Video(); len(v) > 0 {
			one := v[0]
			one.Duration = uint32(duration)
			c.Runs = []schemas.Run{{Track: schemas.VideoTrack, Samples: []schemas.Sample{one}}}
		}
		return &c, nil
	}, s.entry}
}
