package replay

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// faultyStore cannot read a fragment of the source from a chunk on, some times.
type faultyStore struct {
	medialog.Store
	seq    uint64
	chunks int
	times  int
	err    error
}

func (s *faultyStore) Chunks(ctx context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	return func(yield func(*schemas.Chunk, error) bool) {
		for c, err := range s.Store.Chunks(ctx, t, e) {
			if t.Camera == yard.Camera && e.Seq == s.seq && s.times > 0 && err == nil && int(c.Index) == s.chunks {
				s.times--
				c, err = nil, s.err
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}

// TestReadFails: a fragment that has begun is complete although a read of its source fails for a
// moment. If it fails for longer, or before the fragment has begun, the replay tells that, and goes on
// later. What stays beyond the end of its partition has expired.
func TestReadFails(t *testing.T) {
	errStore := errors.New("the object store is away")
	for _, c := range []struct {
		name   string
		chunks int // before the failure
		times  int
		err    error
		ended  error         // the replay ends with it; nil: at its end
		takes  time.Duration // until then
		copied string        // kinds of the fragment and a gap behind it
	}{
		{"for a moment", 2, readTries, errStore, nil, 15 * time.Second, "whole"},
		{"for longer", 2, readTries + 1, errStore, errStore, 15 * time.Second, "truncated gap source"},
		{"before the first chunk", 0, 1, errStore, errStore, 0, "whole"},
		{"a newer version", 2, 1, schemas.ErrNewer, schemas.ErrNewer, 0, "truncated gap source"},
		{"behind for a moment", 0, readTries, medialog.ErrBeyond, nil, 15 * time.Second, "whole"},
		{"lost", 0, readTries + 1, medialog.ErrBeyond, nil, 15 * time.Second, "gap expired"},
		{"lost in the middle", 2, readTries + 1, medialog.ErrBeyond, nil, 15 * time.Second, "truncated gap expired"},
	} {
		t.Run(c.name, func(t *testing.T) {
			virtual(t, func(t *testing.T, e *env) {
				r := e.short()
				source, want := e.told(yard, r.From, true)
				e.store = &faultyStore{e.log, source[1].Seq, c.chunks, c.times, c.err}
				began := time.Now()
				err := e.run(t.Context(), r, nil)
				if took := time.Since(began); !errors.Is(err, cmp.Or(c.ended, ingest.ErrEnded)) || took.Truncate(time.Second) != c.takes {
					t.Errorf("it ended after %v with %v, want %v and %v", took, err, c.takes, c.ended)
				}
				e.must(r, nil)
				copies, got := e.told(copied, time.Time{}, true)
				var kinds []string
				for _, x := range copies[1 : len(copies)-1] {
					switch {
					case x.Kind != schemas.KindGap:
						kinds = append(kinds, string(x.Kind))
					case x.Reason != schemas.ReasonAbsent:
						kinds = append(kinds, string(x.Kind), x.Reason)
					}
				}
				if k := strings.Join(kinds, " "); k != c.copied {
					t.Errorf("of the fragment there is %s, want %s", k, c.copied)
				}
				if c.copied == "whole" {
					same(t, got[:2], want[:2])
				}
			})
		})
	}
}
