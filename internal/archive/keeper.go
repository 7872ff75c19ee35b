package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Keeper deletes what an archive need not keep. It never deletes a file that a hold touches.
// Several may work on one archive.
type Keeper struct {
	c       KeepConfig
	log     *slog.Logger
	metrics *keepMetrics
	spans   spans
	told    string // what was logged last of holds and limits
	now     func() time.Time
	free    func(context.Context) (int64, error)
}

// partAge is after how long a file that is not complete, and that nobody writes, is removed. A
// writer that was paused for longer gets an error, and writes it again.
const partAge = time.Hour

// damagedAge is after how long a damaged file is removed that was set aside: people may want to look
// at it. A hold of its camera keeps it.
const damagedAge = 7 * 24 * time.Hour

// NewKeeper makes a Keeper.
func NewKeeper(c KeepConfig, log *slog.Logger, reg prometheus.Registerer) *Keeper {
	c.Delay, c.Every = cmp.Or(c.Delay, time.Minute), cmp.Or(c.Every, time.Minute)
	return &Keeper{c: c, log: log, metrics: newKeepMetrics(reg), spans: spans{dir: c.Dir}, now: time.Now, free: c.Dir.Free}
}

// Run deletes what need not be kept, until ctx ends. Errors are logged: the next look tries
// again.
func (k *Keeper) Run(ctx context.Context) error {
	for {
		began := time.Now()
		if err := k.look(ctx); err != nil && ctx.Err() == nil {
			k.log.Error("archive: retention has failed, and tries again", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(max(k.c.Every, 200*(time.Since(began)-k.spans.reading))): // each file is read once
		}
	}
}

// look looks at the archive once, and deletes.
func (k *Keeper) look(ctx context.Context) error {
	if exists, err := k.c.Dir.Exists(ctx); err != nil || !exists {
		return err
	}
	all, err := k.c.Dir.scanAll(ctx)
	if err != nil {
		return err
	}
	k.spans.begin(all)
	if err := k.learn(ctx, all); err != nil {
		return err
	}
	ctx, unlock, err := k.c.Dir.store.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	holds, err := k.c.Dir.Holds(ctx)
	if err != nil {
		return err
	}
	free, err := k.free(ctx)
	if err != nil {
		return fmt.Errorf("free space of %s: %w", k.c.Dir, err)
	}
	var files []stored
	for i := range all {
		if err := ctx.Err(); err != nil {
			return err
		}
		k.hold(&all[i], &holds)
		if err := errors.Join(k.finish(ctx, &all[i]), k.removeParts(ctx, &all[i], &holds)); err != nil {
			return err
		}
		files = append(files, all[i].files...)
	}
	d := k.c.decide(files, k.now(), free)
	for i := range d.deleted {
		if err := k.hide(ctx, &d.deleted[i]); err != nil {
			return err
		}
	}
	k.tell(&holds, &d, files)
	k.metrics.set(ctx, k, all, &holds, &d)
	return nil
}

// learn reads the times of files whose camera has a hold, before the lock is taken: these are many after a
// start, and who adds a hold waits for the lock. What it does not come to stays until a later look.
func (k *Keeper) learn(ctx context.Context, all []scanned) error {
	holds, err := k.c.Dir.Holds(ctx)
	if err != nil {
		return err
	}
	for i := range all {
		if len(holds.about(all[i].Topic)) == 0 {
			continue
		}
		if err := k.spans.read(ctx, all[i].Series, all[i].files); err != nil {
			return err
		}
	}
	return nil
}

// hold marks the files of a series that a hold touches. A hold that cannot be read holds all.
func (k *Keeper) hold(s *scanned, holds *Holds) {
	if len(holds.Unreadable) == 0 {
		k.spans.hold(s.files, holds.about(s.Topic))
		return
	}
	for i := range s.files {
		s.files[i].held = true
	}
}

// finish removes the files of a series that have been hidden for long enough. Those that are
// held come back: their hold is newer than their deletion. It removes the directories that are
// empty then.
func (k *Keeper) finish(ctx context.Context, s *scanned) error {
	left := s.files[:0]
	for _, f := range s.files {
		var err error
		switch {
		case f.hidden.IsZero(), f.unsure:
		case f.held:
			err = k.unhide(ctx, &f)
		case k.now().Sub(f.hidden) >= k.c.Delay:
			if err := k.remove(ctx, f.path()); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		left = append(left, f)
	}
	s.files = left
	if len(s.files) > 0 || len(s.others) > 0 {
		return nil
	}
	found, err := k.c.Dir.list(ctx, s.Series, "")
	for _, f := range found {
		if err == nil && isInit.MatchString(f.Name()) {
			_ = k.remove(ctx, path.Join(s.Path(), f.Name())) // the directory stays if it stays
		}
	}
	_ = k.c.Dir.store.RemoveAll(ctx, summaryPath(s.Series, ""))
	for dir := s.Path(); dir != "."; dir = path.Dir(dir) {
		if k.c.Dir.store.RemoveDir(ctx, dir) != nil {
			break // it has something, or another process has removed it
		}
	}
	return nil
}

// unhide shows a hidden file again, unless another one has its name meanwhile.
func (k *Keeper) unhide(ctx context.Context, f *stored) error {
	err := k.c.Dir.store.Unhide(ctx, f.path(), f.Path())
	switch {
	case errors.Is(err, fs.ErrExist), errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	f.hidden = time.Time{}
	k.log.Info("archive: a deleted file is back, since it is held now", "file", f.Path())
	return nil
}

// hide deletes a file for its readers. Those that have it open go on.
func (k *Keeper) hide(ctx context.Context, f *deletion) error {
	hidden := f.stored
	hidden.hidden = k.now()
	err := k.c.Dir.store.Rename(ctx, f.path(), hidden.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil // another process has deleted it
	}
	if err != nil {
		return err
	}
	k.metrics.count(f)
	k.log.Debug("archive: deleted", "file", f.Path(), "bytes", f.Size, "reason", f.reason)
	return nil
}

// removeParts removes what killed writers have left behind, and damaged files that were set aside.
func (k *Keeper) removeParts(ctx context.Context, s *scanned, holds *Holds) error {
	held := len(holds.Unreadable) > 0 || len(holds.about(s.Topic)) > 0
	for _, p := range s.others {
		age := k.now().Sub(p.changed)
		if remove := p.part() && age >= partAge || p.damaged() && age >= damagedAge && !held; !remove {
			continue
		}
		if err := k.remove(ctx, p.path); err != nil {
			return err
		}
	}
	return nil
}

// remove removes a file, which another process may have removed.
func (k *Keeper) remove(ctx context.Context, path string) error {
	if err := k.c.Dir.store.Remove(ctx, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// tell logs, once, that holds cannot be read, and that limits are exceeded.
func (k *Keeper) tell(holds *Holds, d *decision, files []stored) {
	unsure := 0
	for i := range files {
		if files[i].unsure {
			unsure++
		}
	}
	now := fmt.Sprint(len(holds.Unreadable), d.over > 0, unsure > 0)
	if now == k.told {
		return
	}
	if k.told != "" && len(holds.Unreadable) == 0 && d.over == 0 && unsure == 0 {
		k.log.Info("archive: all holds can be read, and the limits are kept")
	}
	k.told = now
	for _, u := range holds.Unreadable {
		k.log.Error("archive: a hold cannot be read, so nothing is deleted; look at the file, and remove it with \"framelog hold release\" or upgrade this process", "file", u.Path, "err", u.Cause)
	}
	if unsure > 0 {
		k.log.Warn("archive: files of cameras with a hold are kept, since their times are not read yet or cannot be read; each look tries again", "files", unsure, "err", k.spans.failure)
	}
	if d.over > 0 {
		k.log.Error("archive: it is larger than its limits, and all that is left is held, or the newest of its camera; release holds, or raise archive.limit", "bytes", d.over)
	}
}
