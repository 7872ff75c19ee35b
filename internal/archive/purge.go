package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/framelog/framelog/schemas"
)

// ErrHeld is returned if a hold keeps what should be deleted.
var ErrHeld = errors.New("archive: a hold keeps this footage")

// Purge deletes all files of a camera's life, with its renditions. It reports whether there were
// any. It deletes none while a hold is about the camera, or cannot be read. Errors: ErrHeld; those
// of the file system; a life or an id that is no name for a directory; ctx's.
func (d Dir) Purge(ctx context.Context, life, camera string) (bool, error) {
	s := Series{Life: life, Topic: schemas.Topic{Camera: camera}}
	if err := s.check(); err != nil {
		return false, fmt.Errorf("archive: purge: %w", err)
	}
	dir := path.Dir(s.Path())
	found, err := d.store.List(ctx, dir, "")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if len(found) > 0 {
		err = d.purge(ctx, dir, camera)
	}
	if err != nil {
		return false, fmt.Errorf("archive: purge: %w", err)
	}
	_ = d.store.RemoveDir(ctx, dir)           // a purge has left it
	_ = d.store.RemoveDir(ctx, path.Dir(dir)) // it stays if something else is in it
	return len(found) > 0, nil
}

func (d Dir) purge(ctx context.Context, dir, camera string) error {
	ctx, unlock, err := d.store.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	holds, err := d.Holds(ctx)
	if err != nil {
		return err
	}
	if len(holds.Unreadable) > 0 || slices.ContainsFunc(holds.All, func(h Hold) bool { return h.Camera == camera }) {
		return ErrHeld
	}
	return d.store.RemoveAll(ctx, dir)
}

// Lives returns the lives of which the archive has footage of a camera, and when the newest file
// of each was written. Errors: those of the store; ctx's.
func (d Dir) Lives(ctx context.Context, camera string) (map[string]time.Time, error) {
	all, err := d.folders(ctx)
	if err != nil {
		return nil, err
	}
	lives := map[string]time.Time{}
	for _, life := range all {
		renditions, err := d.folders(ctx, life, camera)
		if err != nil {
			return nil, err
		}
		for _, rendition := range renditions {
			files, err := d.Files(ctx, Series{Life: life, Topic: schemas.Topic{Camera: camera, Rendition: rendition}})
			if err != nil {
				return nil, err
			}
			for _, f := range files {
				if f.Written.After(lives[life]) {
					lives[life] = f.Written
				}
			}
		}
	}
	return lives, nil
}
