package hls

import (
	"context"
	"time"

	"github.com/framelog/framelog/schemas"
)

// keepNewest is how long a newest entry that was read is used to tell how far a rendition is.
const keepNewest = 2 * time.Second

// Rendition is what a processor has made of a camera so far, or raw.
type Rendition struct {
	Name      string
	Role      schemas.Role // "" of raw
	Processor string       // "" of raw, and if it is not known
	Width     uint16       // of the picture, in pixels; 0 of raw, of what has none, and if it is not known
	Newest    schemas.Entry
	// Behind is how much footage raw has behind the newest entry. ok is false if that is
	// not known, and of what is not made of raw: dead letters, which have a few fragments
	// only, and the camera's second stream.
	Behind time.Duration
	OK     bool
}

// Renditions returns raw, and the renditions of a camera by name, as far as they have an
// entry. Of topics that are not followed, what it tells may be two seconds old.
func (s *Server) Renditions(ctx context.Context, camera string) ([]Rendition, error) {
	topics, err := s.renditions.of(ctx, camera)
	if err != nil {
		return nil, err
	}
	var all []Rendition
	var raw Rendition
	if s.renditions.recorded(camera) {
		if raw, err = s.rendition(ctx, schemas.Topic{Camera: camera}); err != nil {
			return nil, err
		}
	}
	if raw.Newest.Kind != "" {
		all = append(all, raw)
	}
	for _, t := range topics {
		r, err := s.rendition(ctx, t)
		if err != nil {
			return nil, err
		}
		if r.Newest.Kind == "" {
			continue
		}
		r.Role = r.Newest.Role
		r.OK = r.Role != schemas.RoleDeadLetter && !t.FromCamera() && raw.Newest.Kind != "" && raw.Newest.Life == r.Newest.Life
		if r.OK {
			r.Behind = schemas.FromTicks(max(0, raw.Newest.MediaEnd()-r.Newest.MediaEnd()))
		}
		all = append(all, r)
	}
	return all, nil
}

// rendition returns the newest entry of a topic and its processor.
func (s *Server) rendition(ctx context.Context, t schemas.Topic) (Rendition, error) {
	r := Rendition{Name: t.Name()}
	maxAge, st := keepNewest, s.lookup(t)
	if st != nil {
		st.mu.Lock()
		if n := st.model.newest(); n != nil && st.live {
			r.Newest, maxAge = *n, keepFound
		}
		st.mu.Unlock()
	}
	e, err := s.renditions.end(ctx, t, maxAge)
	if err != nil {
		return r, err
	}
	if r.Newest.Kind == "" {
		r.Newest = e.newest
	}
	if !t.FromCamera() { // what the camera sends is told by its status
		e = s.renditions.complete(ctx, t, e)
		r.Processor, r.Width = e.processor, e.width
	}
	return r, nil
}
