package archive

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/framelog/framelog/internal/clip"
	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

var _ clip.Files = (*Joined)(nil)

// Segment implements clip.Files: it opens the segment of the copy that e names, where the log does
// not have it any more. It does not compare the bytes with their sum. Errors: those of the log and
// of the file system; schemas.ErrNewer.
func (j *Joined) Segment(ctx context.Context, t schemas.Topic, e schemas.Entry) (*clip.Stored, error) {
	if !e.Playable() || !j.lacks(ctx, t, e.Life, j.log.Available(ctx, t, e)) {
		return nil, nil
	}
	return j.set.segment(ctx, t, e)
}

// segment is Segment of the archive alone. A file that another muxer has made has other bytes than
// those of the URL.
func (s *Set) segment(ctx context.Context, t schemas.Topic, e schemas.Entry) (*clip.Stored, error) {
	if !s.dir.onDisk() {
		return nil, nil
	}
	at, err := s.copy(ctx, t, e)
	switch {
	case errors.Is(err, medialog.ErrNotFound), err == nil && at.box.Muxer != cmaf.Version:
		return nil, nil
	case err != nil:
		return nil, err
	}
	object, err := s.dir.store.Open(ctx, at.path)
	switch {
	case missing(err):
		return nil, nil // Chunks tells it
	case err != nil:
		return nil, fmt.Errorf("archive: read %s: %w", at.path, err)
	}
	file, ok := object.(*os.File)
	if !ok {
		return nil, object.Close()
	}
	k := &at.box.Entries[at.at]
	first, err := schemas.DecodeChunk(k.First)
	if err != nil {
		_ = file.Close() // it was only opened
		if errors.Is(err, schemas.ErrNewer) {
			return nil, fmt.Errorf("archive: read %s: %w", at.path, err)
		}
		return nil, nil // Chunks tells it
	}
	return &clip.Stored{File: file, At: k.At, Size: k.Size, Tracks: first.Tracks}, nil
}
