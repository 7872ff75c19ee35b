package clip

import (
	"container/list"
	"context"
	"errors"
	"sync"

	"github.com/framelog/framelog/internal/clip"
)

// errBusy: there is no place for another clip.
var errBusy = errors.New("clip: too many clips")

// errPanic is for those who wait for a file whose making has panicked.
var errPanic = errors.New("clip: the file could not be made")

// errGone: the request that made the file has gone, and the file was not made.
var errGone = errors.New("clip: who made the file has gone")

// files holds the files of clips that are being sent, and those that were asked for last. The
// next request for one of them, as for its parts or its length, reads no footage for it. A file is its
// tables: the footage itself is read while it is sent. Their memory is bounded.
type files struct {
	limit int64 // bytes

	mu     sync.Mutex
	used   int64
	byKey  map[string]*kept
	unused *list.List // of *kept that nobody sends; the one that was used last is last
}

// kept is a file. made is closed when file or err is set. The rest is guarded by files.mu.
type kept struct {
	key  string
	made chan struct{}
	file *clip.File
	err  error

	users int
	size  int64
	place *list.Element // in unused
}

func newFiles(limit int64) *files {
	return &files{limit: limit, byKey: map[string]*kept{}, unused: list.New()}
}

// get returns the file of a key, which is made unless it is there. Requests for the same file
// make it once. Those that wait do not keep build, which has the entries of a whole range. release must
// be called. Errors: errBusy if the files that are being sent take all the memory; errGone; those of
// making it.
func (f *files) get(ctx context.Context, key string, build func() (*clip.File, error)) (file *clip.File, release func(), err error) {
	k, mine := f.take(key)
	if mine {
		err := f.build(k, build)
		return k.file, func() { f.release(k) }, err
	}
	select {
	case <-k.made:
	case <-ctx.Done():
		f.release(k)
		return nil, nil, ctx.Err()
	}
	switch {
	case k.err == nil:
		return k.file, func() { f.release(k) }, nil
	case errors.Is(k.err, context.Canceled):
		err = errGone
	default: // it is the same for all
		err = k.err
	}
	f.release(k)
	return nil, nil, err
}

// take returns the entry of a key, with one user more. mine: it is new, and is to be made.
func (f *files) take(key string) (k *kept, mine bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k = f.byKey[key]
	if k == nil {
		k, mine = &kept{key: key, made: make(chan struct{})}, true
		f.byKey[key] = k
	}
	if k.users++; k.place != nil {
		f.unused.Remove(k.place)
		k.place = nil
	}
	return k, mine
}

// build makes a file. If that fails, or panics, nobody finds it any more.
func (f *files) build(k *kept, build func() (*clip.File, error)) (err error) {
	var file *clip.File
	err = errPanic
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if err == nil {
			err = f.room(file.Memory())
		}
		if err != nil {
			k.err = err
			delete(f.byKey, k.key)
		} else {
			k.file, k.size = file, file.Memory()
			f.used += k.size
		}
		close(k.made)
	}()
	file, err = build()
	return err
}

// room makes room for a file. One that is larger than the limit may be the only one.
func (f *files) room(size int64) error {
	for f.used > 0 && f.used+size > f.limit {
		oldest := f.unused.Front()
		if oldest == nil {
			return errBusy
		}
		k := f.unused.Remove(oldest).(*kept)
		k.place = nil
		f.used -= k.size
		delete(f.byKey, k.key)
	}
	return nil
}

func (f *files) release(k *kept) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if k.users--; k.users == 0 && k.file != nil {
		k.place = f.unused.PushBack(k)
	}
}

// has returns the file of a key if it is there.
func (f *files) has(key string) *clip.File {
	f.mu.Lock()
	defer f.mu.Unlock()
	if k := f.byKey[key]; k != nil {
		return k.file
	}
	return nil
}
