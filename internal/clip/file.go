package clip

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"sort"
	"time"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/schemas"
)

// File is a clip as an MP4 file: a header, and the segments of the footage as they are in HLS.
// Its bytes depend on the log and the range only.
type File struct {
	Topic    schemas.Topic
	From, To time.Time // what it shows, in public time: whole pictures
	log      Log
	header   []byte
	entries  []schemas.Entry
	ends     []int64 // of the entries' segments, counted from the end of the header
}

// Files is a Log that has segments in files of its own.
type Files interface {
	// Segment opens the segment of a fragment, with the bytes that [cmaf.Segment] makes of its
	// chunks. The caller closes it. nil: the log does not have it in a file.
	Segment(ctx context.Context, t schemas.Topic, e schemas.Entry) (*Stored, error)
}

// Stored is a segment that stands in a file. Nobody has compared its bytes with their sum.
type Stored struct {
	File     *os.File
	At, Size int64
	Tracks   []schemas.Track // of its chunk 0
}

// Close closes the file.
func (s *Stored) Close() error { return s.File.Close() }

// WriteTo implements io.WriterTo. The system copies the bytes if w can be given a file, as a
// connection or another file can.
func (s *Stored) WriteTo(w io.Writer) (int64, error) {
	if _, err := s.File.Seek(s.At, io.SeekStart); err != nil {
		return 0, err
	}
	n, err := io.CopyN(w, s.File, s.Size)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// errChanged is returned if the footage is not what it was when the header was made.
var errChanged = errors.New("the log gives other footage than before")

// Segment is a segment in a file.
type Segment struct {
	Entry    schemas.Entry
	At, Size int64 // in bytes
}

// Segments returns the segments of the file, which stand one after another up to its end.
func (f *File) Segments() []Segment {
	all := make([]Segment, 0, len(f.entries))
	at := int64(len(f.header))
	for i, e := range f.entries {
		end := int64(len(f.header)) + f.ends[i]
		all = append(all, Segment{e, at, end - at})
		at = end
	}
	return all
}

// Size is the length of the file in bytes.
func (f *File) Size() int64 { return int64(len(f.header)) + f.ends[len(f.ends)-1] }

// Name is a file name for the clip.
func (f *File) Name() string {
	name := f.Topic.Camera
	if !f.Topic.IsRaw() {
		name += "-" + f.Topic.Rendition
	}
	return name + "-" + f.From.UTC().Format("20060102T150405Z") + ".mp4"
}

// Tag names the bytes of the file: two files with the same tag are equal. It is for the
// header ETag.
func (f *File) Tag() string {
	h := sha256.New()
	h.Write([]byte(cmaf.Version))
	h.Write(f.header)
	for i := range f.entries {
		writeEntry(h, &f.entries[i])
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// writeEntry writes what names the bytes of a fragment.
func writeEntry(w io.Writer, e *schemas.Entry) {
	fmt.Fprintf(w, "%d %d %d %d %d\n", e.Seq, e.Epoch, e.Partition, e.First, e.Last)
}

// Memory is about how many bytes of memory the file takes.
func (f *File) Memory() int64 {
	const entry = 512 // and the end of its segment
	return int64(cap(f.header)) + entry*int64(len(f.entries))
}

// Reader returns a reader of the file. It holds one chunk of the log, or one fragment of an archive, at a time. Close must be
// called. Errors of Read: those of the log; a MuxError; ErrExpired of package medialog if the log removes
// the footage meanwhile.
func (f *File) Reader(ctx context.Context) *Reader { return &Reader{ctx: ctx, file: f} }

// Reader reads a File. It is not for several goroutines at once.
type Reader struct {
	ctx  context.Context //nolint:containedctx // of the reads, whose interface has none
	file *File
	at   int64 // position in the file
	rest piece // what comes next; empty: it must be read
	next func() (piece, error, bool)
	stop func() // nil: nothing is being read
}

// piece is bytes of a file: in memory, or in another file.
type piece struct {
	bytes  []byte
	stored *Stored // nil: they are in memory
}

func (p *piece) empty() bool { return len(p.bytes) == 0 && (p.stored == nil || p.stored.Size == 0) }

// passed takes the first n bytes out.
func (p *piece) passed(n int) {
	if p.stored == nil {
		p.bytes = p.bytes[n:]
		return
	}
	p.stored.At, p.stored.Size = p.stored.At+int64(n), p.stored.Size-int64(n)
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := r.fill(); err != nil {
		return 0, err
	}
	n := copy(p, r.rest.bytes)
	if s := r.rest.stored; s != nil {
		var err error
		if n, err = s.File.ReadAt(p[:min(int64(len(p)), s.Size)], s.At); n == 0 {
			return 0, fmt.Errorf("clip: read footage: %w", cmp.Or(ended(err), io.ErrNoProgress))
		}
	}
	r.rest.passed(n)
	r.at += int64(n)
	return n, nil
}

// ended makes the end of a file an error: it is shorter than it was.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errChanged
	}
	return err
}

// WriteTo implements io.WriterTo.
func (r *Reader) WriteTo(w io.Writer) (written int64, err error) {
	for {
		n, err := r.Next(w)
		written += n
		if errors.Is(err, io.EOF) {
			return written, nil
		}
		if err != nil {
			return written, err
		}
	}
}

// Next writes what comes next, a segment at most. What is in files on this machine is copied by
// the system, if w can be given a file. Errors: io.EOF; those of Read, and of w.
func (r *Reader) Next(w io.Writer) (n int64, err error) {
	if err := r.fill(); err != nil {
		return 0, err
	}
	if r.rest.stored != nil {
		n, err = r.rest.stored.WriteTo(w)
		err = ended(err)
	} else {
		var one int
		one, err = w.Write(r.rest.bytes)
		n = int64(one)
	}
	r.rest.passed(int(n))
	r.at += n
	return n, err
}

// fill finds what comes next. Errors: io.EOF; those of the log.
func (r *Reader) fill() error {
	for r.rest.empty() {
		if r.at >= r.file.Size() {
			return io.EOF
		}
		behind := r.at - int64(len(r.file.header))
		if behind < 0 {
			r.rest = piece{bytes: r.file.header[r.at:]}
			return nil
		}
		if r.stop == nil {
			r.next, r.stop = iter.Pull2(r.file.pieces(r.ctx, behind))
		}
		p, err, ok := r.next()
		if err == nil && !ok {
			err = errChanged
		}
		if err != nil {
			return fmt.Errorf("clip: read footage: %w", ended(err))
		}
		r.rest = p
	}
	return nil
}

// Seek implements io.Seeker.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.file.Size()
	}
	if offset < 0 {
		return 0, errors.New("clip: seek: negative position")
	}
	if offset != r.at {
		_ = r.Close() // it never fails
		r.at = offset
	}
	return offset, nil
}

// Close ends the reads of the log.
func (r *Reader) Close() error {
	if r.stop != nil {
		r.stop()
	}
	r.rest, r.next, r.stop = piece{}, nil, nil
	return nil
}

// pieces yields the bytes behind the header from a position on. What is in a file is not compared
// with its sum.
func (f *File) pieces(ctx context.Context, from int64) iter.Seq2[piece, error] {
	return func(yield func(piece, error) bool) {
		i := sort.Search(len(f.ends), func(i int) bool { return f.ends[i] > from })
		at := int64(0)
		if i > 0 {
			at = f.ends[i-1]
		}
		for ; i < len(f.entries); i++ {
			s, err := f.stored(ctx, i, f.ends[i]-at)
			if err != nil {
				yield(piece{}, err)
				return
			}
			if s != nil {
				rest := piece{stored: s}
				rest.passed(int(max(0, from-at)))
				goesOn := yield(rest, nil)
				_ = s.Close() // it was only read
				if !goesOn {
					return
				}
				at = f.ends[i]
				continue
			}
			for b, err := range segment(ctx, f.log, f.Topic, f.entries[i]) {
				if at += int64(len(b)); err == nil && at > f.ends[i] {
					err = errChanged
				}
				if err != nil {
					yield(piece{}, err)
					return
				}
				if skip := int64(len(b)) - (at - from); skip < int64(len(b)) && !yield(piece{bytes: b[max(0, skip):]}, nil) {
					return
				}
			}
			if at != f.ends[i] {
				yield(piece{}, errChanged)
				return
			}
		}
	}
}

// stored opens the segment of entry i, which has size bytes, if it is in a file; else nil.
func (f *File) stored(ctx context.Context, i int, size int64) (*Stored, error) {
	files, ok := f.log.(Files)
	if !ok {
		return nil, nil
	}
	s, err := files.Segment(ctx, f.Topic, f.entries[i])
	if err == nil && s != nil && s.Size != size {
		_ = s.Close() // it was only opened
		return nil, errChanged
	}
	return s, err
}

// segment yields the CMAF chunks of a fragment.
func segment(ctx context.Context, log Log, t schemas.Topic, e schemas.Entry) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		var tracks []schemas.Track
		for chunk, err := range log.Chunks(ctx, t, e) {
			var b []byte
			if err == nil {
				if chunk.Index == 0 {
					tracks = chunk.Tracks
				}
				if b, err = cmaf.Chunk(tracks, chunk); err != nil {
					err = &MuxError{err}
				}
			}
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}
