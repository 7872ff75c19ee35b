package archive

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"testing/synctest"

	"github.com/framelog/framelog/tests/testmedia"
)

// gatedStore lists when its gate is open.
type gatedStore struct {
	Store
	gate chan struct{}
}

func (s gatedStore) List(ctx context.Context, dir, after string) ([]fs.DirEntry, error) {
	select {
	case <-s.gate:
		return s.Store.List(ctx, dir, after)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A reader that leaves does not wait for the store, and other readers get what it has asked for: of the list
// of files, and of that of deleted files.
func TestReaderLeaves(t *testing.T) {
	for name, read := range map[string]func(*Set, context.Context) error{
		"files": func(s *Set, ctx context.Context) error {
			_, err := s.lists.of(ctx, Series{"life1", topic})
			return err
		},
		"deleted files": func(s *Set, ctx context.Context) error {
			_, err := s.hidden.of(ctx, Series{"life1", topic}, 1, testmedia.Start)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, gate := Local(t.TempDir()), make(chan struct{})
				putFile(t, d, topic, 1, testmedia.Start, 2, testmedia.Start)
				set := NewSet(In(gatedStore{d.store, gate}), nil, nil)
				ctx, leave := context.WithCancel(t.Context())
				first, second := make(chan error, 1), make(chan error, 1)
				go func() { first <- read(set, ctx) }()
				synctest.Wait()
				go func() { second <- read(set, t.Context()) }()
				synctest.Wait()
				leave()
				synctest.Wait()
				select {
				case err := <-first:
					if !errors.Is(err, context.Canceled) {
						t.Errorf("the one that leaves: %v", err)
					}
				default:
					t.Error("the one that leaves waits")
				}
				close(gate)
				if err := <-second; err != nil {
					t.Errorf("the other one: %v", err)
				}
			})
		})
	}
}
