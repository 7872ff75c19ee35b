package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/internal/secrets"
	"github.com/framelog/framelog/schemas"
)

// Log is the part of the log that remove uses; *medialog.Log implements it.
type Log interface {
	// Topics lists the media topics.
	Topics(ctx context.Context) ([]schemas.Topic, error)
	// Life is the life of a topic's footage. The error is medialog.ErrNoTopic if there is
	// none.
	Life(ctx context.Context, t schemas.Topic) (string, error)
	// Purge deletes all topics of a camera and returns their names.
	Purge(ctx context.Context, camera string) ([]string, error)
	Close()
}

// RemoveCmd is "framelog cameras remove".
type RemoveCmd struct {
	IDs   []string `arg:"" name:"id" help:"Cameras to remove."`
	Purge bool     `help:"Delete their footage too, when no process records them any more. This cannot be undone. It also works for cameras that were removed before."`
}

// removed is a camera in the JSON of remove.
type removed struct {
	ID       string   `json:"id"`
	Password string   `json:"password"` // its file: "removed", "elsewhere", or "" if it has none of its own
	Topics   []string `json:"deleted_topics"`
}

// Values of removed.Password: what happened to the password's file.
const (
	passwordRemoved   = "removed"
	passwordElsewhere = "elsewhere"
)

// Run removes all of the cameras, or none if one of them cannot be removed.
func (c *RemoveCmd) Run(ctx context.Context, env *Env, parent *CamerasCmd) error {
	timeout, log := cmp.Or(env.Timeout, 8*time.Second), Log(nil)
	if c.Purge {
		timeout += cmp.Or(env.StopWait, 45*time.Second)
	}
	return env.within(ctx, timeout, func(ctx context.Context, r Registry) error {
		if c.Purge {
			var err error
			if log, err = env.Log(); err != nil {
				return err
			}
			defer log.Close()
		}
		have, err := r.Load(ctx)
		if err != nil {
			return err
		}
		if err := c.check(ctx, have, log); err != nil {
			return err
		}
		purges, err := c.purges(ctx, r, log, have)
		if err != nil {
			return err
		}
		out := make([]removed, len(c.IDs))
		for i, id := range c.IDs {
			out[i] = removed{ID: id, Topics: []string{}}
			cam, there := have.Cameras[id]
			if !there {
				continue
			}
			if err := r.Delete(ctx, id); err != nil {
				return err
			}
			delete(have.Cameras, id)
			if out[i].Password, err = env.forget(cam, have.Cameras); err != nil {
				return err
			}
		}
		if c.Purge {
			// From here on ingest completes the purge if this command is stopped, and
			// deletes what a late process writes.
			for _, p := range purges {
				if err := r.PutPurge(ctx, p); err != nil {
					return err
				}
			}
			if err := c.stopped(ctx, env, r); err != nil {
				return err
			}
			for i, id := range c.IDs {
				if out[i].Topics, err = purge(ctx, log, id); err != nil {
					return fmt.Errorf("%s is removed, its footage is not: %w", id, err)
				}
				r.DeleteStatus(id) // a camera of this id that is added later begins anew
			}
		}
		if parent.json() {
			return env.json(map[string][]removed{"removed": out})
		}
		return c.print(env, out)
	})
}

// purges returns what the registry has to remember of the cameras' purge; none without
// --purge.
func (c *RemoveCmd) purges(ctx context.Context, r Registry, log Log, have registry.Snapshot) ([]schemas.Purge, error) {
	if !c.Purge {
		return nil, nil
	}
	all, errs := make([]schemas.Purge, len(c.IDs)), make([]error, len(c.IDs))
	var wg sync.WaitGroup // at the same time, because LastStatus reads the whole topic
	for i, id := range c.IDs {
		wg.Go(func() {
			all[i] = have.Purged[id]
			all[i].Camera = id
			errs[i] = withLives(ctx, r, log, &all[i])
		})
	}
	wg.Wait()
	return all, cmp.Or(errs...)
}

// withLives adds the lives that the camera's index and its newest status tell.
func withLives(ctx context.Context, r Registry, log Log, p *schemas.Purge) error {
	life, err := log.Life(ctx, schemas.Topic{Camera: p.Camera})
	if err != nil && !errors.Is(err, medialog.ErrNoTopic) {
		return err
	}
	status, err := r.LastStatus(ctx, p.Camera)
	if err != nil {
		return err
	}
	*p = p.With(time.Now(), status.Stands.Life, life)
	return nil
}

// check returns an error if one of the cameras cannot be removed.
func (c *RemoveCmd) check(ctx context.Context, have registry.Snapshot, log Log) error {
	var topics []schemas.Topic
	if log != nil {
		var err error
		if topics, err = log.Topics(ctx); err != nil {
			return err
		}
	}
	for _, id := range c.IDs {
		cam, ok := have.Cameras[id]
		footage := slices.ContainsFunc(topics, func(t schemas.Topic) bool { return t.Camera == id })
		switch {
		case !ok && !c.Purge:
			return &UsageError{What: fmt.Sprintf("there is no camera %q", id), Remedy: "\"framelog cameras list\" shows those that there are"}
		case !ok && !footage:
			return &UsageError{What: fmt.Sprintf("there is no camera %q, and no footage of one", id), Remedy: "\"framelog cameras list\" shows those that there are"}
		}
		if err := writable(cam); err != nil {
			return err
		}
	}
	return nil
}

// forget removes the password of a removed camera, unless one of the other
// cameras uses it.
func (e *Env) forget(was schemas.Camera, stay map[string]schemas.Camera) (string, error) {
	own := func(c schemas.Camera) bool { return secrets.Refers(was.ID, c) }
	if !own(was) || slices.ContainsFunc(slices.Collect(maps.Values(stay)), own) {
		return "", nil
	}
	gone, err := e.Forget(was.ID, stay)
	switch {
	case err != nil:
		return "", err
	case gone:
		return passwordRemoved, nil
	}
	return passwordElsewhere, nil
}

// forgetPruned removes the passwords of cameras that a file no longer has.
func (e *Env) forgetPruned(ctx context.Context, r Registry, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	have, err := r.Load(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := e.Forget(id, have.Cameras); err != nil {
			return err
		}
	}
	return nil
}

// stopped waits until no process records the cameras. An owner that stops writes
// schemas.StateRemoved. The status of an owner that died gets stale.
func (c *RemoveCmd) stopped(ctx context.Context, env *Env, r Registry) error {
	until := time.Now().Add(cmp.Or(env.StopWait, 45*time.Second))
	for {
		s, err := r.Load(ctx)
		if err != nil {
			return err
		}
		owner, busy := "", ""
		for _, id := range c.IDs {
			if _, back := s.Cameras[id]; back {
				return &UsageError{What: fmt.Sprintf("a camera %q was added again meanwhile; the purged footage is deleted when the new camera is recorded", id)}
			}
			if st, ok := s.Status[id]; ok && !st.Stale(env.now()) {
				owner, busy = st.Owner, id
			}
		}
		if busy == "" {
			return nil
		}
		if time.Now().After(until) {
			return errors.New(busy + " is removed, and " + owner + " still records it; no footage is deleted: look at that process, and run this again")
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// purge deletes a camera's topics until no new ones appear: an owner that did not know
// yet that the camera is removed may have been about to make them.
func purge(ctx context.Context, log Log, id string) ([]string, error) {
	all := []string{}
	for quiet := 0; quiet < 3; quiet++ {
		names, err := log.Purge(ctx, id)
		if err != nil {
			return nil, err
		}
		if len(names) > 0 {
			quiet, all = 0, append(all, names...)
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return nil, err
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *RemoveCmd) print(env *Env, all []removed) error {
	for _, r := range all {
		text := r.ID + " removed: it is neither recorded nor shown any more."
		switch r.Password {
		case passwordRemoved:
			text += " The file of its password is deleted."
		case passwordElsewhere:
			text += " Its password stays in the file " + r.ID + " of the secrets_dir of each ingest host."
		}
		switch {
		case !c.Purge:
			text += fmt.Sprintf("\nIts footage stays in Kafka until it expires; \"framelog cameras remove %s --purge\" deletes it.", r.ID)
		case len(r.Topics) == 0:
			text += "\nThere was no footage."
		default:
			text += "\nIts footage is deleted, the topics " + strings.Join(r.Topics, ", ") + "."
		}
		if err := env.printf("%s\n", text); err != nil {
			return err
		}
	}
	return nil
}
