package archive

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"time"
)

// Store holds the files of an archive: a directory of a disk, or a part of an S3 bucket. Paths are
// relative and have slashes. The errors of all methods are *fs.PathError or wrap one, but for
// those of ctx: a file that does not exist is fs.ErrNotExist. Several goroutines may use it.
type Store interface {
	// List returns what a directory holds whose names are greater than after, by their bytes, in any
	// order. A store without directories has an empty one in place of one that is missing.
	List(ctx context.Context, dir, after string) ([]fs.DirEntry, error)
	// Changed returns when names came to a directory or went, the zero time if the store does
	// not know that.
	Changed(ctx context.Context, dir string) (time.Time, error)
	// Open opens a file. Whether it exists may be told only when it is read. ctx is of all
	// reads, too.
	Open(ctx context.Context, path string) (Object, error)
	// Create makes a file of what write writes. The file is there only as a whole, and durable
	// when Create returns. It replaces none: then the error is fs.ErrExist, which may come
	// shortly before the other file is there. Errors: that of write, too.
	Create(ctx context.Context, path string, write func(io.Writer) error) error
	// Append adds bytes to a file, which it makes if it does not exist. They are durable when it
	// returns. The caller has the lock.
	Append(ctx context.Context, path string, b []byte) error
	// Rename gives a file another name in its directory. Who has it open reads on.
	Rename(ctx context.Context, from, to string) error
	// Unhide reverts the Rename of a file to a hidden name. If there is another file of its old
	// name, the error is fs.ErrExist.
	Unhide(ctx context.Context, hidden, path string) error
	// Remove removes a file.
	Remove(ctx context.Context, path string) error
	// RemoveDir removes a directory that is empty. A store without directories does nothing.
	RemoveDir(ctx context.Context, path string) error
	// RemoveAll removes a directory with all that is in it.
	RemoveAll(ctx context.Context, dir string) error
	// Lock waits until no other process has the lock. What the process does under the lock, it
	// does with the context that Lock returns: it ends if the lock is lost. With this context nothing is removed
	// when the lock may be lost soon.
	Lock(ctx context.Context) (locked context.Context, unlock func(), err error)
	// Make makes what the archive needs before files are written.
	Make(ctx context.Context) error
	// Free returns how many bytes may still be written; math.MaxInt64 if there is no limit.
	Free(ctx context.Context) (int64, error)
	// String names the store to people. It has no secrets.
	String() string
}

// unlimited is the free space of a store that has no limit.
const unlimited int64 = math.MaxInt64 / 16 // sums with it are no overflow

// Object is an open file of a [Store]. Several goroutines may use it. It is an alias, so that stores
// need not import this package.
type Object = interface {
	io.ReaderAt
	io.Closer
	Stat() (fs.FileInfo, error)
}

// Dir is an archive: what a store holds.
type Dir struct{ store Store }

// In is the archive in a store.
func In(s Store) Dir { return Dir{s} }

// Local is the archive in a directory of a disk, which need not exist yet.
func Local(path string) Dir { return Dir{disk(path)} }

// String names the archive to people: the path of its directory, or its URL.
func (d Dir) String() string { return d.store.String() }

// onDisk reports whether reads take no time to speak of.
func (d Dir) onDisk() bool {
	_, ok := d.store.(disk)
	return ok
}

// Exists reports whether there is a place for the archive: whether its directory exists. Errors:
// those of the store.
func (d Dir) Exists(ctx context.Context) (bool, error) {
	_, err := d.store.Changed(ctx, "")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Make makes what the archive needs before files are written. Errors: those of the store.
func (d Dir) Make(ctx context.Context) error { return d.store.Make(ctx) }

// Free returns how many bytes may still be written, more than there are if the store has no limit.
// Errors: those of the store.
func (d Dir) Free(ctx context.Context) (int64, error) {
	n, err := d.store.Free(ctx)
	return min(n, unlimited), err
}
