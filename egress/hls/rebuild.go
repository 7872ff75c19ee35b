package hls

import (
	"context"
	"fmt"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// call is one making of a segment or init that all who want it share.
type call struct {
	done chan struct{}
	seg  *segment
	err  error
}

// once gives what k names: from the cache, or made by one for all.
func (s *Server) once(ctx context.Context, k cacheKey, fill func(ctx context.Context) (*segment, error)) (*segment, error) {
	if seg := s.cache.get(k); seg != nil {
		return seg, nil
	}
	s.mu.Lock()
	c, ok := s.calls[k]
	if !ok {
		if s.closed {
			s.mu.Unlock()
			return nil, errClosed
		}
		if len(s.calls) >= s.cfg.MaxWaiters {
			s.mu.Unlock()
			s.metrics.refused.WithLabelValues("rebuilds").Inc()
			return nil, errBusy
		}
		c = &call{done: make(chan struct{})}
		s.calls[k] = c
		// It outlives the request that asked first: others wait for it too.
		s.running.Go(func() { s.fill(k, c, fill) })
	}
	s.mu.Unlock()
	select {
	case <-c.done:
		return c.seg, c.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *Server) fill(k cacheKey, c *call, fill func(ctx context.Context) (*segment, error)) {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.LoadTimeout)
	defer cancel()
	select {
	case s.rebuild <- struct{}{}:
		if c.seg, c.err = fill(ctx); c.err == nil {
			s.cache.put(k, c.seg)
			s.metrics.rebuilt.Inc()
		}
		<-s.rebuild
	case <-ctx.Done():
		c.err = ctx.Err()
	}
	s.mu.Lock()
	delete(s.calls, k)
	s.mu.Unlock()
	close(c.done)
}

// segment gives the segment of a seq, made from the log where it is not at
// hand.
func (s *Server) segment(ctx context.Context, t schemas.Topic, seq uint64) (*segment, error) {
	return s.once(ctx, cacheKey{topic: t, seq: seq}, func(ctx context.Context) (*segment, error) {
		e, err := s.entry(ctx, t, seq)
		if err != nil {
			return nil, err
		}
		if !e.Playable() {
			b, err := cmaf.Gap(e)
			if err != nil {
				return nil, err
			}
			return &segment{parts: b}, nil
		}
		return load(ctx, s.log, t, e)
	})
}

// entry finds the entry of a seq: in the window of a followed camera, else in
// the log.
func (s *Server) entry(ctx context.Context, t schemas.Topic, seq uint64) (schemas.Entry, error) {
	if st := s.lookup(t); st != nil {
		st.mu.Lock()
		e := st.model.find(seq)
		st.mu.Unlock()
		if e != nil {
			s.metrics.liveMisses.Inc()
			return *e, nil
		}
	}
	return s.log.Entry(ctx, t, seq)
}

// init gives an init segment: of the tracks that a tail knows, else of the
// newest fragment in the log that has this configuration.
func (s *Server) init(ctx context.Context, t schemas.Topic, config string) (*segment, error) {
	if st := s.followed(t); st != nil {
		st.mu.Lock()
		tracks, ok := st.model.tracks[config]
		st.mu.Unlock()
		st.leave()
		if ok {
			return s.putInit(t, config, tracks)
		}
	}
	return s.once(ctx, cacheKey{topic: t, config: config}, func(ctx context.Context) (*segment, error) {
		var found *schemas.Entry
		for e, err := range s.log.Entries(ctx, t, medialog.Range{}) {
			if err != nil {
				return nil, err
			}
			if e.Playable() && e.Config == config {
				found = &e
			}
		}
		if found == nil {
			return nil, medialog.ErrNotFound
		}
		for c, err := range s.log.Chunks(ctx, t, *found) {
			if err != nil {
				return nil, err
			}
			return makeInit(config, c.Tracks)
		}
		return nil, medialog.ErrNotFound
	})
}

// putInit makes an init of tracks and keeps it at hand.
func (s *Server) putInit(t schemas.Topic, config string, tracks []schemas.Track) (*segment, error) {
	k := cacheKey{topic: t, config: config}
	if seg := s.cache.get(k); seg != nil {
		return seg, nil
	}
	seg, err := makeInit(config, tracks)
	if err == nil {
		s.cache.put(k, seg)
	}
	return seg, err
}

func makeInit(config string, tracks []schemas.Track) (*segment, error) {
	if have := schemas.ConfigHash(tracks); have != config {
		return nil, fmt.Errorf("hls: make init %s: the fragment's chunks have configuration %s", config, have)
	}
	b, err := cmaf.Init(tracks)
	if err != nil {
		return nil, err
	}
	return &segment{parts: cmaf.Blocks{b}, tracks: tracks}, nil
}
