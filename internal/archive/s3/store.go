package s3

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
)

// entry is an object, or what objects with the same beginning of their keys are listed as. It
// implements fs.DirEntry and fs.FileInfo.
type entry struct {
	name    string
	dir     bool
	size    int64
	changed time.Time
}

func (e *entry) Name() string               { return e.name }
func (e *entry) IsDir() bool                { return e.dir }
func (e *entry) Type() fs.FileMode          { return e.Mode().Type() }
func (e *entry) Info() (fs.FileInfo, error) { return e, nil }
func (e *entry) Size() int64                { return e.size }
func (e *entry) ModTime() time.Time         { return e.changed }
func (e *entry) Sys() any                   { return nil }

// Mode implements fs.FileInfo.
func (e *entry) Mode() fs.FileMode {
	if e.dir {
		return fs.ModeDir | 0o755
	}
	return 0o644
}

// List implements archive.Store. A file that is hidden is listed with its hidden name, unless
// after is given.
func (s *Store) List(ctx context.Context, dir, after string) ([]fs.DirEntry, error) {
	found, err := s.list(ctx, s.below(dir), after, false)
	if err != nil {
		return nil, s.failed(ctx, "list", dir, err)
	}
	all := make([]fs.DirEntry, 0, len(found))
	byName := make(map[string]*entry, len(found))
	for _, e := range found {
		byName[e.name] = e
	}
	hidden := map[string]bool{}
	for _, e := range found {
		if file := byName[hiddenName(e.name)]; file != nil && marks(e, file) {
			e.size, e.changed = file.size, file.changed
			hidden[file.name] = true
		}
	}
	for _, e := range found {
		if !hidden[e.name] {
			all = append(all, e)
		}
	}
	return all, nil
}

// marks reports whether a marker is of this file, and not of an older one of the same name.
func marks(marker, file *entry) bool { return !marker.changed.Before(file.changed) }

// below is the beginning of the keys of what is in a directory.
func (s *Store) below(dir string) string {
	if at := s.key(dir); at != "" && at != "." {
		return at + "/"
	}
	return ""
}

// list lists keys that begin with prefix, by their names without it, which are greater than
// after.
func (s *Store) list(ctx context.Context, prefix, after string, recursive bool) (all []*entry, err error) {
	defer func() { err = s.m.request(kindList, err) }()
	withoutOwner := false
	o := minio.ListObjectsOptions{Prefix: prefix, Recursive: recursive, FetchOwner: &withoutOwner}
	if after != "" {
		o.StartAfter = prefix + after
	}
	limited, moved, end := s.pages(ctx)
	defer end()
	for k := range s.core.ListObjectsIter(limited, s.c.Bucket, o) {
		if k.Err != nil {
			return nil, cmp.Or(context.Cause(limited), k.Err)
		}
		moved()
		name, dir := strings.CutSuffix(strings.TrimPrefix(k.Key, prefix), "/")
		if name != "" {
			all = append(all, &entry{name: name, dir: dir, size: k.Size, changed: k.LastModified})
		}
	}
	if err := context.Cause(limited); err != nil {
		return nil, err // the list ends without an error
	}
	slices.SortFunc(all, func(a, b *entry) int { return strings.Compare(a.name, b.name) })
	return all, nil
}

// Changed implements archive.Store.
func (s *Store) Changed(context.Context, string) (time.Time, error) { return time.Time{}, nil }

// Spool is the directory in which files are made before they are uploaded.
func (s *Store) Spool() string { return s.spool }

// Create implements archive.Store.
func (s *Store) Create(ctx context.Context, path string, write func(io.Writer) error) error {
	made := newSpool(s.spool)
	defer made.Close()
	if err := write(made); err != nil {
		return err
	}
	_, err := s.put(ctx, path, made.all(), made.sum.Sum(nil), ifMatch(""))
	return s.failed(ctx, "create", path, err)
}

// put writes an object with one request. If this is in conflict with another one, it is made again.
// Each attempt has the time for 1 Mbit/s.
func (s *Store) put(ctx context.Context, path string, b *io.SectionReader, sum []byte, o minio.PutObjectOptions) (etag string, err error) {
	ctx, cancel := context.WithTimeout(ctx, attempts*(answerWithin+time.Duration(b.Size())*8*time.Microsecond))
	defer cancel()
	o.ContentType, o.DisableContentSha256 = "application/octet-stream", true // else it is computed once more
	if strings.HasSuffix(path, ".mp4") {
		o.ContentType = "video/mp4"
	}
	var info minio.UploadInfo
	for attempt := 0; ; attempt++ {
		whole := io.NewSectionReader(b, 0, b.Size())
		info, err = s.core.PutObject(ctx, s.c.Bucket, s.key(path), whole, b.Size(), "", hex.EncodeToString(sum), o)
		// A conflict: another write of this object is going on, and the store wants to be asked again.
		if minio.ToErrorResponse(err).StatusCode != http.StatusConflict || attempt+1 == attempts || !pause(ctx, attempt) {
			break
		}
	}
	if err == nil {
		s.m.written.Add(float64(b.Size()))
	}
	return info.ETag, s.m.request(kindWrite, err)
}

// putBytes is put of a small object.
func (s *Store) putBytes(ctx context.Context, path string, b []byte, o minio.PutObjectOptions) (etag string, err error) {
	sum := sha256.Sum256(b)
	return s.put(ctx, path, io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b))), sum[:], o)
}

// ifMatch are the options of a put that replaces the object with an ETag; "": none.
func ifMatch(etag string) (o minio.PutObjectOptions) {
	if etag == "" {
		o.SetMatchETagExcept("*")
	} else {
		o.SetMatchETag(etag)
	}
	return o
}

// get reads a small object and its ETag. If there is none, both are empty.
func (s *Store) get(ctx context.Context, path string) (b []byte, etag string, err error) {
	ctx, cancel := brief(ctx)
	defer cancel()
	body, info, _, err := s.core.GetObject(ctx, s.c.Bucket, s.key(path), minio.GetObjectOptions{})
	if err == nil {
		b, err = io.ReadAll(body)
		_ = body.Close() // it was only read
	}
	if s.m.request(kindRead, ignoreMissing(err)) != nil {
		return nil, "", err
	}
	return b, info.ETag, nil
}

func ignoreMissing(err error) error {
	if minio.ToErrorResponse(err).Code == minio.NoSuchKey {
		return nil
	}
	return err
}

// Append implements archive.Store. It writes the whole object again.
func (s *Store) Append(ctx context.Context, path string, b []byte) error {
	before, etag, err := s.get(ctx, path)
	if err == nil {
		_, err = s.putBytes(ctx, path, slices.Concat(before, b), ifMatch(etag))
	}
	return s.failed(ctx, "append to", path, err)
}

// stat returns what there is of an object.
func (s *Store) stat(ctx context.Context, path string) (*entry, error) {
	ctx, cancel := brief(ctx)
	defer cancel()
	info, err := s.core.StatObject(ctx, s.c.Bucket, s.key(path), minio.StatObjectOptions{})
	if s.m.request(kindRead, ignoreMissing(err)) != nil || err != nil {
		return nil, err
	}
	return &entry{name: path, size: info.Size, changed: info.LastModified}, nil
}

// isHidden accepts hidden names: a number, and the name before.
var isHidden = regexp.MustCompile(`^\.deleted-[0-9]{1,12}-(.+)$`)

// hiddenName returns the name that a hidden file had before; "" if this is no name of one.
func hiddenName(hidden string) string {
	m := isHidden.FindStringSubmatch(hidden)
	if m == nil {
		return ""
	}
	return m[1]
}

// behind returns the path of the file that a hidden name is about; "" if the name is none.
func behind(hidden string) string {
	if name := hiddenName(path.Base(hidden)); name != "" {
		return path.Join(path.Dir(hidden), name)
	}
	return ""
}

// Rename implements archive.Store. A file that is hidden stays where it is: an empty object of the
// hidden name marks it. Others are copied by the store.
func (s *Store) Rename(ctx context.Context, from, to string) error {
	if behind(to) == from {
		return s.hide(ctx, from, to)
	}
	limited, cancel := context.WithTimeout(ctx, s.within)
	defer cancel()
	_, err := s.core.Client.CopyObject(limited, minio.CopyDestOptions{Bucket: s.c.Bucket, Object: s.key(to)}, minio.CopySrcOptions{Bucket: s.c.Bucket, Object: s.key(from)})
	if s.m.request(kindWrite, err) != nil {
		return s.failed(ctx, "rename", from, err)
	}
	return s.Remove(ctx, from)
}

// hide marks a file. One that is hidden already does not exist for it.
func (s *Store) hide(ctx context.Context, file, marker string) error {
	f, err := s.stat(ctx, file)
	if err != nil {
		return s.failed(ctx, "hide", file, err)
	}
	const all = ".deleted-"
	markers, err := s.list(ctx, s.below(path.Dir(file))+all, "", false)
	for _, m := range markers {
		if hiddenName(all+m.name) == path.Base(file) && marks(m, f) {
			return &fs.PathError{Op: "hide", Path: s.String() + "/" + file, Err: fs.ErrNotExist}
		}
	}
	if err == nil {
		_, err = s.putBytes(ctx, marker, nil, minio.PutObjectOptions{})
	}
	return s.failed(ctx, "hide", file, err)
}

// Unhide implements archive.Store.
func (s *Store) Unhide(ctx context.Context, hidden, path string) error {
	_, err := s.stat(ctx, path)
	if err == nil {
		err = s.remove(ctx, hidden)
	}
	return s.failed(ctx, "unhide", path, err)
}

// Remove implements archive.Store. Of a hidden file the marker goes last.
func (s *Store) Remove(ctx context.Context, path string) error {
	var err error
	if file := behind(path); file != "" {
		err = s.removeMarked(ctx, path, file)
	}
	if err == nil {
		err = s.remove(ctx, path)
	}
	return s.failed(ctx, "remove", path, err)
}

// removeMarked removes a file that a marker marks.
func (s *Store) removeMarked(ctx context.Context, marker, file string) error {
	f, err := s.stat(ctx, file)
	var m *entry
	if err == nil {
		m, err = s.stat(ctx, marker)
	}
	switch {
	case minio.ToErrorResponse(err).Code == minio.NoSuchKey:
		return nil
	case err != nil:
		return err
	case !marks(m, f):
		return nil
	}
	return s.remove(ctx, file)
}

func (s *Store) remove(ctx context.Context, path string) error {
	if err := fresh(ctx); err != nil {
		return err
	}
	ctx, cancel := brief(ctx)
	defer cancel()
	return s.m.request(kindDelete, s.core.RemoveObject(ctx, s.c.Bucket, s.key(path), minio.RemoveObjectOptions{}))
}

// RemoveDir implements archive.Store.
func (s *Store) RemoveDir(context.Context, string) error { return nil }

// RemoveAll implements archive.Store.
func (s *Store) RemoveAll(ctx context.Context, dir string) error {
	prefix := s.below(dir)
	found, err := s.list(ctx, prefix, "", true)
	if err != nil {
		return s.failed(ctx, "list", dir, err)
	}
	limited, moved, end := s.pages(ctx)
	defer end()
	for batch := range slices.Chunk(found, deleteBatch) {
		if err = fresh(ctx); err == nil {
			err = s.removeBatch(limited, prefix, batch, moved)
		}
		if err != nil {
			break
		}
	}
	err = cmp.Or(context.Cause(limited), err)
	return s.failed(ctx, "remove", dir, s.m.request(kindDelete, err))
}

// deleteBatch is how many objects a request deletes: as many as S3 takes.
const deleteBatch = 1000

func (s *Store) removeBatch(ctx context.Context, prefix string, batch []*entry, moved func()) error {
	objects := func(yield func(minio.ObjectInfo) bool) {
		for _, e := range batch {
			if !yield(minio.ObjectInfo{Key: prefix + e.name}) {
				return
			}
		}
	}
	results, err := s.core.RemoveObjectsWithIter(ctx, s.c.Bucket, objects, minio.RemoveObjectsOptions{})
	if err != nil {
		return err
	}
	for r := range results {
		err = errors.Join(err, r.Err)
		moved()
	}
	return err
}

// probe is the path of an object that tells whether conditional writes work.
const probe = ".conditional-writes"

// Make implements archive.Store. Once it finds out that the bucket exists and knows conditional
// writes.
func (s *Store) Make(ctx context.Context) error {
	if s.usable.Load() {
		return nil
	}
	for range 2 {
		_, err := s.putBytes(ctx, probe, []byte("framelog"), ifMatch(""))
		err = s.failed(ctx, "create", probe, err)
		switch {
		case errors.Is(err, fs.ErrExist):
			s.usable.Store(true)
			return nil
		case err != nil:
			return err
		}
	}
	return &fs.PathError{Op: "create", Path: s.String(), Err: fmt.Errorf("%s replaces an object in spite of If-None-Match: it cannot hold an archive", s.c.Endpoint)}
}

// Free implements archive.Store.
func (s *Store) Free(context.Context) (int64, error) { return math.MaxInt64, nil }
