package archive

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/framelog/framelog/internal/fsync"
)

// disk is the Store in a directory of this path. Several hosts may share it by a network file
// system.
type disk string

var _ Store = disk("")

func (d disk) path(path string) string { return filepath.Join(string(d), filepath.FromSlash(path)) }

func (d disk) String() string { return string(d) }

// List implements Store.
func (d disk) List(_ context.Context, dir, after string) ([]fs.DirEntry, error) {
	f, err := os.Open(d.path(dir))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	found, err := f.ReadDir(-1) // os.ReadDir sorts them, which takes longer than to read them
	if err != nil {
		return nil, err
	}
	if after != "" {
		found = slices.DeleteFunc(found, func(e fs.DirEntry) bool { return e.Name() <= after })
	}
	for i, e := range found {
		if e.Type()&fs.ModeSymlink != 0 {
			found[i] = linked{e, d.path(filepath.Join(dir, e.Name()))}
		}
	}
	return found, nil
}

// linked is an entry that is a symbolic link. Its information is that of the file to which it
// leads.
type linked struct {
	fs.DirEntry
	path string
}

func (l linked) Info() (fs.FileInfo, error) { return os.Stat(l.path) }

// Changed implements Store.
func (d disk) Changed(_ context.Context, dir string) (time.Time, error) {
	info, err := os.Stat(d.path(dir))
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// Open implements Store. The Object is an *os.File.
func (d disk) Open(_ context.Context, path string) (Object, error) {
	f, err := os.Open(d.path(path))
	if err != nil {
		return nil, err // not a nil *os.File
	}
	return f, nil
}

// Create implements Store.
func (d disk) Create(_ context.Context, path string, write func(io.Writer) error) error {
	at := d.path(path)
	err := createWhole(at, write)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := d.sync(filepath.Dir(path)); err != nil { // also what another process has just made
		return err
	}
	return err
}

// sync makes the names in a directory durable, and that of the directory.
func (d disk) sync(dir string) error {
	for ; ; dir = filepath.Dir(dir) {
		if err := fsync.Dir(d.path(dir)); err != nil || dir == "." {
			return err
		}
	}
}

func createWhole(path string, write func(io.Writer) error) error {
	part, err := createPart(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer os.Remove(part.Name()) // the link stays
	err = write(part)
	if err == nil {
		err = part.Chmod(0o644) // a web server may run as another user
	}
	if err == nil {
		err = part.Sync()
	}
	if err := errors.Join(err, part.Close()); err != nil {
		return err
	}
	return os.Link(part.Name(), path)
}

// createPart makes a file that is not complete yet, in a directory that it makes if it is not
// there.
func createPart(dir string) (part *os.File, err error) {
	for range 3 { // retention may remove a directory that is empty
		if err = os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		if part, err = os.CreateTemp(dir, ".*"+partEnd); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return part, err
}

// Append implements Store.
func (d disk) Append(_ context.Context, path string, b []byte) error {
	at := d.path(path)
	f, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close(), fsync.Dir(filepath.Dir(at)))
}

// Rename implements Store.
func (d disk) Rename(_ context.Context, from, to string) error {
	return os.Rename(d.path(from), d.path(to))
}

// Unhide implements Store.
func (d disk) Unhide(_ context.Context, hidden, path string) error {
	if err := os.Link(d.path(hidden), d.path(path)); err != nil {
		return err
	}
	if err := os.Remove(d.path(hidden)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Remove implements Store.
func (d disk) Remove(_ context.Context, path string) error {
	at := d.path(path)
	if err := os.Remove(at); err != nil || filepath.Dir(path) != holdsName {
		return err
	}
	return fsync.Dir(filepath.Dir(at)) // a hold that was released does not come back
}

// RemoveDir implements Store.
func (d disk) RemoveDir(_ context.Context, path string) error { return os.Remove(d.path(path)) }

// RemoveAll implements Store.
func (d disk) RemoveAll(_ context.Context, dir string) error { return os.RemoveAll(d.path(dir)) }

// Lock implements Store. The archive must exist.
func (d disk) Lock(ctx context.Context) (context.Context, func(), error) {
	dir := d.path(holdsName)
	if err := os.Mkdir(dir, 0o755); err == nil {
		err = fsync.Dir(string(d))
		if err != nil {
			return nil, nil, err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return nil, nil, err
	}
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644) // NFS locks files only that are open for writing
	if errors.Is(err, fs.ErrPermission) {
		f, err = os.Open(path) // another user has made it
	}
	if err != nil {
		return nil, nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return ctx, func() { _ = f.Close() }, nil // the lock ends with it
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, nil, errors.Join(err, f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, nil, errors.Join(ctx.Err(), f.Close())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Make implements Store. Only this user can read the directory.
func (d disk) Make(context.Context) error { return os.MkdirAll(string(d), 0o700) }

// Free implements Store.
func (d disk) Free(context.Context) (int64, error) { return Free(string(d)) }

// Free returns how many bytes a process without privileges may still write into the file system
// of a directory. Errors: those of the file system.
func Free(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(s.Bavail) * s.Bsize, nil
}
