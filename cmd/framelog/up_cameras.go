package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/internal/cli"
	"github.com/framelog/framelog/internal/config"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/internal/secrets"
	"github.com/framelog/framelog/schemas"
)

// cameras puts the file's cameras, and the demo's, into the registry once the
// broker is there, and says how much footage the hot window holds.
func (u *up) cameras(ctx context.Context) error {
	select {
	case <-u.brokerReady:
	case <-ctx.Done():
		return nil
	}
	reg, err := registry.Connect(kafkaConfig(u.cfg, "framelog-up"), u.log)
	if err != nil {
		return err
	}
	defer reg.Close()
	for {
		err := u.reconcile(ctx, reg)
		var conflict *registry.ConflictError
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			return u.follow(ctx, reg)
		case errors.As(err, &conflict):
			u.restoreSecrets()
			return u.conflict(conflict)
		}
		u.log.WarnContext(ctx, "cameras of the configuration are not in the registry yet", "error", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

func (u *up) reconcile(ctx context.Context, reg *registry.Client) error {
	if err := reg.Ensure(ctx); err != nil {
		return err
	}
	if u.cfg.Path != "" {
		file, cams, err := cameras(u.cfg)
		if err != nil {
			return err
		}
		if err := u.takeOver(ctx, reg, file, cams); err != nil {
			return err
		}
		// Of a cluster another host may have a file of the same name: what this
		// one lacks may be that one's.
		done, err := reg.Reconcile(ctx, file, cams, u.cfg.Embedded())
		if err != nil {
			return err
		}
		if len(done.Removed) > 0 {
			u.log.InfoContext(ctx, "cameras that the configuration has no more are removed", "file", file, "cameras", done.Removed)
		}
		if len(done.Kept) > 0 {
			u.log.WarnContext(ctx, "cameras that the configuration has no more go on, since the brokers may serve other hosts too",
				"file", file, "cameras", done.Kept, "remedy", "framelog cameras apply --prune -f "+file)
		}
		if err := u.forget(ctx, reg, cams, done.Removed); err != nil {
			return err
		}
	}
	var cams []schemas.Camera
	if u.demo != "" {
		for i, d := range camsim.Demo() {
			cams = append(cams, schemas.Camera{
				ID: d.Path, Label: d.Label, URL: "rtsp://" + u.demo + "/" + d.Path,
				Source: schemas.SourceFile, Origin: fmt.Sprintf("%s:%d", cli.Demo, i+1),
			})
		}
	}
	_, err := reg.Reconcile(ctx, cli.Demo, cams, true)
	return err
}

// restoreSecrets brings back the passwords that the file's have taken the place
// of: its cameras are not taken.
func (u *up) restoreSecrets() {
	for _, undo := range slices.Backward(u.stored) {
		if err := undo(); err != nil {
			u.log.Error("cannot bring back a camera's password", "err", err)
		}
	}
}

// forget removes passwords that Framelog has kept for cameras of the file: of
// those that it has no more, and of those that have another password now.
func (u *up) forget(ctx context.Context, reg *registry.Client, cams []schemas.Camera, removed []string) error {
	have, err := reg.Load(ctx)
	if err != nil {
		return err
	}
	ids := slices.Clone(removed)
	for _, c := range cams {
		ids = append(ids, c.ID)
	}
	return secrets.ForgetUnused(u.cfg.SecretsDir, ids, have.Cameras)
}

// takeOver makes the cameras of a file that is no more this file's, where it
// has some of them: it was moved or renamed, and what it has no more goes as it
// does from a file that stayed. It does so on the embedded broker alone, which
// serves this machine: in a cluster a file that is not here may be at another
// host.
func (u *up) takeOver(ctx context.Context, reg *registry.Client, file string, cams []schemas.Camera) error {
	if !u.cfg.Embedded() {
		return nil
	}
	taken, err := reg.TakeOver(ctx, file, func(old string, ids []string) bool {
		return gone(old) && slices.ContainsFunc(cams, func(c schemas.Camera) bool { return slices.Contains(ids, c.ID) })
	})
	for old, ids := range taken {
		u.log.InfoContext(ctx, "cameras of a configuration file that is no more are taken over", "file", file, "was", old, "cameras", ids)
	}
	return err
}

// gone says whether a configuration file that keeps cameras is certainly not
// there any more. The demo is none.
func gone(file string) bool { return filepath.IsAbs(file) && cli.FileGone(file) }

// conflict is a conflict with what to do about it. With the embedded broker
// this process is the registry too, so that commands need it to run.
func (u *up) conflict(c *registry.ConflictError) error {
	e := &config.Error{What: c.Problem()}
	old, file := registry.FileOf(c.Have), registry.FileOf(c.Wants)
	api, embedded := old == "", u.cfg.Embedded()
	switch {
	case api && embedded:
		e.Remedy = fmt.Sprintf("give this one another id, or run: framelog up --data %s, and meanwhile: framelog cameras remove %s", u.cfg.Data, c.ID)
	case api:
		e.Remedy = fmt.Sprintf("give this one another id, or run: framelog cameras remove %s --config %s", c.ID, file)
	case !filepath.IsAbs(old): // the demo
		e.Remedy = "give this one another id, or start once with neither --demo nor --config"
	case embedded:
		e.Remedy = fmt.Sprintf("that file is still there: take the camera out of it and run once: framelog up --config %s, or remove it, and this one takes its cameras over", old)
	default:
		e.Remedy = fmt.Sprintf("give this one another id, or if that file was moved or renamed, run: framelog cameras apply -f %s --take-over %s", file, old)
	}
	return e
}

// follow tells how long the hot window is.
func (u *up) follow(ctx context.Context, reg *registry.Client) error {
	if !u.cfg.Embedded() {
		<-ctx.Done()
		return nil
	}
	limit := config.Get[brokerConfig](u.cfg).Limit
	snapshots := make(chan registry.Snapshot)
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() {
		tellWindows(ctx, snapshots, int64(limit), func(w window) {
			u.log.Info("what the embedded broker keeps: broker.limit holds about so many minutes of these cameras", w.attrs(limit)...)
		})
	})
	return ignoreEnd(ctx, reg.Follow(ctx, func(s registry.Snapshot) {
		select {
		case snapshots <- s:
		case <-ctx.Done():
		}
	}))
}

func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
