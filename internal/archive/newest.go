package archive

import (
	"context"
	"errors"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// before returns the newest entry before a seq; one that is no footage if there is none. Errors:
// schemas.ErrNewer; those of the file system.
func (s *Set) before(ctx context.Context, of Series, seq uint64) (schemas.Entry, error) {
	if e, _, err := s.find(ctx, of, seq-1); !errors.Is(err, medialog.ErrNotFound) {
		return e, err
	}
	l, err := s.lists.of(ctx, of)
	if err != nil {
		return schemas.Entry{}, err
	}
	return s.lastIn(ctx, of, l, l.from(seq))
}

// newest returns the newest entry. If it is before a seq it may be one that is no footage. Errors:
// schemas.ErrNewer; those of the store.
func (s *Set) newest(ctx context.Context, of Series, seq uint64) (schemas.Entry, error) {
	l, err := s.lists.near(ctx, of, seq)
	if err != nil {
		return schemas.Entry{}, err
	}
	return s.lastIn(ctx, of, l, len(l.files))
}

// lastIn returns the newest entry in the first n files of a list; one that is no footage if none of
// them can be read. Errors: schemas.ErrNewer; those of the store.
func (s *Set) lastIn(ctx context.Context, of Series, l list, n int) (schemas.Entry, error) {
	for i := n - 1; i >= 0; i-- {
		if l.files[i].last != l.reach[i] {
			continue // another one, before it, ends later
		}
		box, err := s.box(ctx, of.kept(l.files[i]))
		switch {
		case missing(err):
			continue
		case err != nil:
			return schemas.Entry{}, err
		}
		return lastOf(box), nil
	}
	return schemas.Entry{}, nil
}

// lastOf returns the last entry of a file.
func lastOf(box *trailer) (last schemas.Entry) {
	for e := range box.decoded[len(box.decoded)-1].Expand() {
		last = e
	}
	return last
}
