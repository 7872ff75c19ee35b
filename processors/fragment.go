package processors

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"time"

	"github.com/framelog/framelog/schemas"
)

// ErrSourceChanged is returned by the methods of [Fragment] if another copy of the
// fragment counts than the one that was read. Return it: the function is called again
// with that copy, and this is no failed attempt.
var ErrSourceChanged = errors.New("processors: another copy of the fragment counts")

// Fragment is a fragment of a camera. Its chunks and their samples are shared: a
// processor must not change them.
type Fragment struct {
	Camera string
	Input  string // the rendition: "raw"
	// Life is a random name of the camera's footage. A seq is unique within a life.
	Life    string
	Session uint64
	Seq     uint64
	Layout  schemas.Layout
	Start   time.Time       // public time of the first picture
	Media   int64           // media time of the first picture, in ticks of schemas.MediaTimescale
	Tracks  []schemas.Track // the video first
	// OpenGOP: the leading pictures need the fragment before. See schemas.Chunk.
	OpenGOP bool
	// KeyframeOnly: the processor is behind, and gets one chunk with one picture, which
	// lasts as long as the fragment. See Keyframes.
	KeyframeOnly bool
	// Attempt is 1 at the first attempt.
	Attempt int

	source source
}

// source gives a fragment as it arrives.
type source struct {
	// chunk returns the chunk with this index, from 0 on. It waits for it. Errors:
	// io.EOF behind the last one; ErrSourceChanged; ctx's.
	chunk func(ctx context.Context, index int) (*schemas.Chunk, error)
	// entry waits for the entry. Errors: ErrSourceChanged; ctx's.
	entry func(ctx context.Context) (schemas.Entry, error)
}

// Chunks yields the chunks in order, as they arrive. It may be called several times,
// and begins with the first chunk each time. Errors: ErrSourceChanged; ctx's.
func (f *Fragment) Chunks(ctx context.Context) iter.Seq2[*schemas.Chunk, error] {
	return func(yield func(*schemas.Chunk, error) bool) {
		for i := 0; ; i++ {
			c, err := f.source.chunk(ctx, i)
			if errors.Is(err, io.EOF) || !yield(c, err) || err != nil {
				return
			}
		}
	}
}

// Entry waits until the fragment is complete, and returns its entry in the log: it has
// the duration, the bytes, and what was lost. Errors: ErrSourceChanged; ctx's.
func (f *Fragment) Entry(ctx context.Context) (schemas.Entry, error) { return f.source.entry(ctx) }

// Time returns the public time of a media time, in ticks of schemas.MediaTimescale.
func (f *Fragment) Time(media int64) time.Time {
	return f.Start.Add(schemas.FromTicks(media - f.Media))
}

// Video returns the track of pictures, nil if there is none.
func (f *Fragment) Video() *schemas.Track {
	for i := range f.Tracks {
		if f.Tracks[i].ID == schemas.VideoTrack {
			return &f.Tracks[i]
		}
	}
	return nil
}

// NewFragment makes a fragment that is complete, for tests and for footage that does not
// come from the log. chunks are those of the entry.
func NewFragment(camera string, e schemas.Entry, chunks ...*schemas.Chunk) *Fragment {
	chunks = slices.Clone(chunks)
	chunk := func(ctx context.Context, i int) (*schemas.Chunk, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if i >= len(chunks) {
			return nil, io.EOF
		}
		return chunks[i], nil
	}
	return NewLiveFragment(camera, e.Life, chunks[0], chunk, func(ctx context.Context) (schemas.Entry, error) { return e, ctx.Err() })
}

// NewLiveFragment makes a fragment whose chunks and entry arrive while it is processed, for
// tests. chunk waits for the chunk with an index, from 0 on; its error behind the last one
// is io.EOF. entry waits for the entry. Both may be called from several goroutines. The
// fragment is described by first, its chunk 0.
func NewLiveFragment(camera, life string, first *schemas.Chunk,
	chunk func(ctx context.Context, index int) (*schemas.Chunk, error), entry func(context.Context) (schemas.Entry, error),
) *Fragment {
	return newFragment(camera, schemas.Raw, life, first, source{chunk, entry})
}

func newFragment(camera, input, life string, first *schemas.Chunk, s source) *Fragment {
	return &Fragment{
		Camera: camera, Input: input, Life: life, Session: first.Session, Seq: first.Seq, Layout: first.Layout,
		Start: first.Start, Media: first.MediaStart(), Tracks: first.Tracks, OpenGOP: first.OpenGOP, Attempt: 1, source: s,
	}
}
