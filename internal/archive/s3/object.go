package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/singleflight"
)

const (
	// block is how many bytes are kept in memory, or not, together. Blocks that stand one after
	// another are read with one request, up to maxBlocks.
	block     = 1 << 20
	maxBlocks = 8
	// tail is how much of the end of a file is read when its size is asked for: most often its
	// last box.
	tail = 64 << 10
)

// Object is an open file.
type Object = interface {
	io.ReaderAt
	io.Closer
	Stat() (fs.FileInfo, error)
}

// object is an open file. Nothing is read until it is used.
type object struct {
	ctx  context.Context //nolint:containedctx // of all reads, see archive.Store
	s    *Store
	path string

	mu   sync.Mutex
	info *entry // nil: it is not known
	end  []byte // of the file
}

// Open implements archive.Store.
func (s *Store) Open(ctx context.Context, path string) (Object, error) {
	if file := behind(path); file != "" {
		path = file
	}
	return &object{ctx: ctx, s: s, path: path}, nil
}

// Close implements archive.Object.
func (o *object) Close() error { return nil }

// Stat implements archive.Object. It reads the end of the file.
func (o *object) Stat() (fs.FileInfo, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.info != nil {
		return o.info, nil
	}
	b, info, err := o.s.read(o.ctx, o.path, 0, -tail)
	if err != nil {
		return nil, o.s.failed(o.ctx, "read", o.path, err)
	}
	o.info, o.end = info, b
	return info, nil
}

// ReadAt implements io.ReaderAt.
func (o *object) ReadAt(p []byte, at int64) (n int, err error) {
	o.mu.Lock()
	info, end := o.info, o.end
	o.mu.Unlock()
	if info != nil && at >= info.size-int64(len(end)) {
		if at < info.size {
			n = copy(p, end[at-(info.size-int64(len(end))):])
		}
		if n < len(p) {
			return n, io.EOF
		}
		return n, nil
	}
	for n < len(p) {
		b, err := o.s.cache.blocks(o.ctx, o, (at+int64(n))/block, min(maxBlocks, (at+int64(len(p))-1)/block-(at+int64(n))/block+1))
		if err != nil {
			return n, o.s.failed(o.ctx, "read", o.path, err)
		}
		skip := (at + int64(n)) % block
		got := 0
		if skip < int64(len(b)) {
			got = copy(p[n:], b[skip:])
		}
		n += got
		if n < len(p) && int64(len(b))%block != 0 || got == 0 { // the file ends here
			return n, io.EOF
		}
	}
	return n, nil
}

// read reads bytes of an object from at on, or its end: at is 0 then, and n negative. It is less
// where the object ends. Several attempts are made.
func (s *Store) read(ctx context.Context, path string, at, n int64) (b []byte, info *entry, err error) {
	defer func() { err = s.m.request(kindRead, err) }()
	for attempt := range attempts {
		b, info, err = s.readOnce(ctx, path, at, n)
		if !errors.Is(err, errCut) || ctx.Err() != nil {
			return b, info, err
		}
		if !pause(ctx, attempt) {
			return nil, nil, ctx.Err()
		}
	}
	return nil, nil, err
}

// errCut means that an answer has ended early.
var errCut = errors.New("the answer was cut off")

func (s *Store) readOnce(ctx context.Context, path string, at, n int64) ([]byte, *entry, error) {
	ctx, cancel := context.WithTimeout(ctx, briefWithin+time.Duration(max(n, tail))*8*time.Microsecond) // and 1 Mbit/s
	defer cancel()
	var o minio.GetObjectOptions
	last := n
	if n > 0 {
		last = at + n - 1
	}
	if at == 0 && last == 0 {
		last = 1 // the library would read all
	}
	if err := o.SetRange(at, last); err != nil {
		return nil, nil, err
	}
	body, info, header, err := s.core.GetObject(ctx, s.c.Bucket, s.key(path), o)
	if minio.ToErrorResponse(err).Code == minio.InvalidRange { // it ends before
		if n < 0 { // it is empty
			return nil, &entry{name: path}, nil
		}
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer body.Close()
	size := info.Size
	if _, all, ok := strings.Cut(header.Get("Content-Range"), "/"); ok {
		if size, err = strconv.ParseInt(all, 10, 64); err != nil {
			return nil, nil, fmt.Errorf("the answer has the range %q", header.Get("Content-Range"))
		}
	}
	if info.Size < 0 || info.Size > max(n, -n, 2) {
		return nil, nil, fmt.Errorf("%d bytes came of %d that were asked for: the store knows no ranges", info.Size, n)
	}
	b := make([]byte, info.Size)
	got, err := io.ReadFull(body, b)
	s.m.read.Add(float64(got))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errCut, err)
	}
	return b, &entry{name: path, size: size, changed: info.LastModified}, nil
}

// cache keeps blocks of files in memory. Files do not change. Several goroutines may use it.
type cache struct {
	m     *metrics
	kept  *lru.Cache[blockOf, []byte]
	reads singleflight.Group
}

type blockOf struct {
	path string
	n    int64
}

func newCache(limit int64, m *metrics) *cache {
	kept, _ := lru.NewWithEvict(int(max(limit/block, 1)), func(_ blockOf, b []byte) { m.cached.Sub(float64(len(b))) }) // it fails for sizes below 1 only
	return &cache{m: m, kept: kept}
}

// blocks returns bytes of a file from the beginning of a block on, of n blocks at most.
func (c *cache) blocks(ctx context.Context, o *object, first, n int64) ([]byte, error) {
	if b, ok := c.kept.Get(blockOf{o.path, first}); ok {
		c.m.hits.Inc()
		return b, nil
	}
	for i := int64(1); i < n; i++ { // what is there is not read again
		if c.kept.Contains(blockOf{o.path, first + i}) {
			n = i
		}
	}
	read := c.reads.DoChan(fmt.Sprint(o.path, " ", first, " ", n), func() (any, error) {
		b, _, err := o.s.read(context.WithoutCancel(ctx), o.path, first*block, n*block)
		if err != nil {
			return nil, err
		}
		for i := range (int64(len(b)) + block - 1) / block {
			part := b[i*block : min((i+1)*block, int64(len(b)))]
			c.m.misses.Inc()
			if had, _ := c.kept.ContainsOrAdd(blockOf{o.path, first + i}, bytes.Clone(part)); !had { // a part would hold the others
				c.m.cached.Add(float64(len(part)))
			}
		}
		return b, nil
	})
	select {
	case r := <-read:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.([]byte), nil
	case <-ctx.Done(): // others may wait for it
		return nil, ctx.Err()
	}
}
