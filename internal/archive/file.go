package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/framelog/framelog/schemas"
)

// ErrNotHere is returned for a seq that a file does not have.
var ErrNotHere = errors.New("archive: the file does not have this fragment")

// File is an open file of an archive. Several goroutines may use it.
type File struct {
	Topic schemas.Topic
	// Muxer is the version of the muxer that made the segments (cmaf.Version), as it stands
	// in their URLs.
	Muxer string
	// Entries are the index entries, dense and in order, gaps too.
	Entries []schemas.Entry

	file Object
	box  *trailer
}

// Open opens a file. It reads the last box, and checks that it is whole. Close must be called.
// Errors: those of the file system; schemas.ErrNewer; that it is no archive file, or is cut off.
func Open(path string) (*File, error) {
	return Local(filepath.Dir(path)).open(context.Background(), filepath.Base(path)) // a disk needs no context
}

// open is Open of a path below the archive. ctx is of all reads of the file.
func (d Dir) open(ctx context.Context, path string) (*File, error) {
	file, err := d.store.Open(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	f, err := read(file)
	if err != nil {
		_ = file.Close() // it was only read
		return nil, fmt.Errorf("archive: open %s: %w", path, err)
	}
	return f, nil
}

// readFile reads a small file, up to most bytes.
func (d Dir) readFile(ctx context.Context, path string, most int64) ([]byte, error) {
	f, err := d.store.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat() // S3 reads it here, and not from memory: another process may have removed it
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(f, 0, min(info.Size(), most)))
}

func read(file Object) (*File, error) {
	box, err := readTrailer(file)
	if err != nil {
		return nil, err
	}
	return &File{
		Topic: schemas.Topic{Camera: box.Camera, Rendition: box.Rendition}, Muxer: box.Muxer, Entries: box.decoded,
		file: file, box: box,
	}, nil
}

// readTrailer reads the last box of a file.
func readTrailer(file Object) (*trailer, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	var last [4]byte
	if info.Size() < boxBegin+boxEnd {
		return nil, errNoTrailer
	}
	if _, err := file.ReadAt(last[:], info.Size()-int64(len(last))); err != nil {
		return nil, err
	}
	size := int64(binary.BigEndian.Uint32(last[:]))
	if size > min(info.Size(), maxTrailer) || size < boxBegin+boxEnd {
		return nil, errNoTrailer
	}
	b := make([]byte, size)
	if _, err := file.ReadAt(b, info.Size()-size); err != nil {
		return nil, err
	}
	box, err := decodeTrailer(b)
	if err != nil {
		return nil, err
	}
	box.end = info.Size() - size
	return box, box.check()
}

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

// Segment returns the bytes of a seq's segment. It does not compare them with their sum: see
// Verify. Errors: ErrNotHere, also for a gap.
func (f *File) Segment(seq uint64) (*io.SectionReader, error) {
	i := f.box.find(seq)
	if i < 0 || !f.Entries[i].Playable() {
		return nil, ErrNotHere
	}
	return io.NewSectionReader(f.file, f.box.Entries[i].At, f.box.Entries[i].Size), nil
}

// Verify reads the whole file and compares it with its sums. Every changed byte is an error,
// which names what is changed.
func (f *File) Verify(ctx context.Context) error {
	begin := f.box.end
	for i, k := range f.box.Entries {
		if !f.Entries[i].Playable() {
			continue
		}
		begin = min(begin, k.At)
		if err := f.compare(ctx, k.At, k.Size, k.Sum); err != nil {
			return fmt.Errorf("archive: verify: segment %d: %w", f.Entries[i].Seq, err)
		}
	}
	if err := f.compare(ctx, 0, begin, f.box.Header); err != nil {
		return fmt.Errorf("archive: verify: header: %w", err)
	}
	return nil
}

func (f *File) compare(ctx context.Context, at, size int64, want []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(f.file, at, size)); err != nil {
		return err
	}
	if got := sum.Sum(nil); !bytes.Equal(got, want) {
		return fmt.Errorf("its SHA-256 is %x, and was %x", got, want)
	}
	return nil
}
