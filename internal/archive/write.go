package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"regexp"
	"slices"

	"github.com/framelog/framelog/internal/clip"
	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/schemas"
)

// ErrDiffers is returned if a file of the same name holds something else.
var ErrDiffers = errors.New("archive: a file of this name holds something else")

// isName accepts the names of lives. They come from the log, and become names of directories.
var isName = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)

// Path is the path of a file below the directory of an archive:
// <life>/<camera>/<rendition>/<first seq>-<last seq>.mp4. entries is what [Cut] yields.
func Path(t schemas.Topic, entries []schemas.Entry) string {
	s := Series{Life: entries[0].Life, Topic: t}
	return Kept{Series: s, First: entries[0].Seq, Last: entries[len(entries)-1].LastSeq()}.Path()
}

// Write writes the file of entries, which [Cut] yields. It reads the footage once, and holds one
// chunk of it at a time: the segments wait in a file on this machine until the header is known,
// which stands before them. The file is there only as a whole, and durable when Write returns. It
// replaces none: if the file is there already, Write returns nil. Errors: those of the log and of
// the store; ErrDiffers.
func Write(ctx context.Context, d Dir, log clip.Log, t schemas.Topic, entries []schemas.Entry) error {
	switch first := &entries[0]; {
	case !first.Playable():
		return fmt.Errorf("archive: write: a file begins with fragment %d, which is a %s", first.Seq, first.Kind)
	case !isName.MatchString(first.Life):
		return fmt.Errorf("archive: write: fragment %d: the life %q is no name for a directory", first.Seq, first.Life)
	}
	path := Path(t, entries)
	if err := d.write(ctx, path, log, t, entries); err != nil {
		return fmt.Errorf("archive: write %s: %w", path, err)
	}
	return nil
}

func (d Dir) write(ctx context.Context, at string, log clip.Log, t schemas.Topic, entries []schemas.Entry) error {
	spool, err := d.newSpool(path.Dir(at))
	if err != nil {
		return err
	}
	defer spool.Close() // it has no name any more
	source := &heads{Log: log, of: map[uint64]segment{}, spool: spool}
	playable := slices.DeleteFunc(slices.Clone(entries), func(e schemas.Entry) bool { return !e.Playable() })
	f, err := clip.Whole(t, playable).Prepare(ctx, source, func(int64) {})
	if err != nil {
		return err
	}
	// A store may refuse the name of a file that another process is making, before the file is
	// there. It is not there either if it has been deleted since.
	for range 3 {
		var last []byte
		err = d.store.Create(ctx, at, func(to io.Writer) (err error) {
			if err := d.addInit(ctx, path.Dir(at), source.of[entries[0].Seq].First); err != nil {
				return err
			}
			last, err = fill(ctx, to, f, t, entries, source)
			return err
		})
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err = d.same(ctx, at, last); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

// newSpool makes a file without a name: on the disk of the archive, else where the store keeps what
// it sends.
func (d Dir) newSpool(dir string) (*os.File, error) {
	switch s := d.store.(type) {
	case disk:
		dir = s.path(dir)
	case interface{ Spool() string }:
		dir = s.Spool()
	default:
		dir = os.TempDir()
	}
	spool, err := createPart(dir)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(spool.Name()); err != nil {
		return nil, errors.Join(err, spool.Close())
	}
	return spool, nil
}

// heads is a log that keeps of each fragment that is read what its segment does not tell. It writes
// the segment into a file, one behind another, with its sum and size.
type heads struct {
	clip.Log
	of    map[uint64]segment // by seq
	spool *os.File
}

func (h *heads) Chunks(ctx context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	return func(yield func(*schemas.Chunk, error) bool) {
		var k segment
		var tracks []schemas.Track
		sum, video := sha256.New(), true
		for c, err := range h.Log.Chunks(ctx, t, e) {
			if err == nil && c.Index == 0 {
				first := *c
				first.Runs = nil
				tracks = c.Tracks
				k.First, err = schemas.EncodeChunk(&first)
			}
			if err == nil {
				err = h.keep(tracks, c, &k, sum)
			}
			if !yield(c, err) || err != nil {
				return
			}
			video = video && len(c.Video()) > 0
			k.Spans = append(k.Spans, c.Media, c.Duration)
		}
		if video {
			k.Spans = nil
		}
		k.Sum = sum.Sum(nil)
		h.of[e.Seq] = k
	}
}

// keep writes a chunk of a segment.
func (h *heads) keep(tracks []schemas.Track, c *schemas.Chunk, k *segment, sum io.Writer) error {
	b, err := cmaf.Chunk(tracks, c)
	if err != nil {
		return err
	}
	_, _ = sum.Write(b) // it never fails
	n, err := h.spool.Write(b)
	k.Size += int64(n)
	return err
}

// fill writes everything into an empty file, and returns the last box.
func fill(ctx context.Context, to io.Writer, f *clip.File, t schemas.Topic, entries []schemas.Entry, read *heads) ([]byte, error) {
	r := f.Reader(ctx)
	defer r.Close()
	segments, sum := f.Segments(), sha256.New()
	if _, err := io.CopyN(io.MultiWriter(to, sum), r, segments[0].At); err != nil {
		return nil, err
	}
	stored := clip.Stored{File: read.spool, Size: f.Size() - segments[0].At}
	if _, err := stored.WriteTo(to); err != nil {
		return nil, err
	}
	box := trailer{Version: version, Muxer: cmaf.Version, Camera: t.Camera, Rendition: t.Rendition, Header: sum.Sum(nil)}
	for _, e := range entries {
		var err error
		k := read.of[e.Seq]
		k.Offset = e.Offset
		if k.Entry, err = schemas.EncodeEntry(&e); err != nil {
			return nil, err
		}
		if e.Playable() {
			s := segments[0]
			if s.Entry.Seq != e.Seq || s.Size != k.Size {
				return nil, fmt.Errorf("segment %d with %d bytes in the place of %d with %d", s.Entry.Seq, s.Size, e.Seq, k.Size)
			}
			k.At, segments = s.At, segments[1:]
		}
		box.Entries = append(box.Entries, k)
	}
	last, err := box.encode()
	if err != nil {
		return nil, err
	}
	_, err = to.Write(last)
	return last, err
}

// same returns nil if a file ends with this last box, and so is the same file.
func (d Dir) same(ctx context.Context, path string, last []byte) error {
	f, err := d.store.Open(ctx, path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	b := make([]byte, len(last))
	if info.Size() < int64(len(last)) {
		return ErrDiffers
	}
	if _, err := f.ReadAt(b, info.Size()-int64(len(last))); err != nil {
		return err
	}
	if !bytes.Equal(b, last) {
		return ErrDiffers
	}
	return nil
}
