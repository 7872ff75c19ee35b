package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/internal/secrets"
	"github.com/framelog/framelog/schemas"
)

// cameras puts the file's cameras, and the demo's, into the registry when the
// broker is there. Then it logs how much footage the embedded broker holds.
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
			close(u.camerasStored)
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
		file, err := configFile(u.cfg)
		if err != nil {
			return err
		}
		cams := u.cfg.Records()
		// In a cluster another host may have a file of the same name, and the cameras
		// that this file lacks may be in that one.
		done, err := reg.Reconcile(ctx, file, cams, u.cfg.Embedded())
		if err != nil {
			return err
		}
		if len(done.Moved) > 0 {
			u.log.InfoContext(ctx, "this configuration file takes over the cameras of a file that does not exist any more", "file", file.Path, "was", done.Moved)
		}
		if len(done.Removed) > 0 {
			u.log.InfoContext(ctx, "cameras that the configuration no longer has are removed", "file", file.Name, "cameras", done.Removed)
		}
		if len(done.Kept) > 0 {
			u.log.WarnContext(ctx, "cameras that the configuration no longer has go on, since the brokers may serve other hosts too",
				"file", file.Name, "cameras", done.Kept, "remedy", "framelog cameras apply --prune -f "+file.Path)
		}
		if err := u.forget(ctx, reg, cams, done.Removed); err != nil {
			return err
		}
	}
	var cams []schemas.Camera
	if u.demo != "" {
		for i, d := range camsim.Demo() {
			cams = append(cams, schemas.Camera{
				ID: d.Path, Label: d.Label, URL: "rtsp://" + u.demo + "/" + d.Path, Substream: "rtsp://" + u.demo + "/" + d.Path + camsim.DemoSub,
				Source: schemas.SourceFile, Origin: fmt.Sprintf("%s:%d", registry.Demo, i+1),
			})
		}
	}
	_, err := reg.Reconcile(ctx, registry.File{Name: registry.Demo, Named: true}, cams, true)
	return err
}

// restoreSecrets restores the passwords that those of the file have replaced.
// It is called if the registry refuses the file's cameras.
func (u *up) restoreSecrets() {
	for _, undo := range slices.Backward(u.stored) {
		if err := undo(); err != nil {
			u.log.Error("cannot restore a camera's password", "err", err)
		}
	}
}

// forget removes stored passwords of the file's cameras that are no longer
// used: those of removed cameras, and those of cameras with a new password or
// host.
func (u *up) forget(ctx context.Context, reg *registry.Client, cams []schemas.Camera, removed []string) error {
	have, err := reg.Load(ctx)
	if err != nil {
		return err
	}
	ids := slices.Clone(removed)
	for _, c := range cams {
		ids = append(ids, c.ID)
	}
	var errs []error
	for _, id := range ids {
		_, err := secrets.Forget(u.cfg.SecretsDir, id, have.Cameras)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// conflict returns a conflict as an error with a remedy. With the embedded
// broker, commands reach the registry only while this process runs.
func (u *up) conflict(c *registry.ConflictError) error {
	e := &config.Error{What: c.Problem(), Remedy: c.Remedy()}
	demo := registry.NameOf(c.Have.Origin) == registry.Demo
	switch _, path, _ := strings.Cut(c.Have.Place, ":"); {
	case demo:
		e.Remedy = "give this one another id, or start once with neither --demo nor --config"
	case c.Have.Source != schemas.SourceFile && u.cfg.Embedded():
		e.Remedy = fmt.Sprintf("give this one another id, or run: framelog up --data %s, and meanwhile: framelog cameras remove %s", u.cfg.Data, c.Have.ID)
	case c.Have.Source != schemas.SourceFile:
		e.Remedy += " --config " + u.cfg.Path
	case u.cfg.Embedded() && c.Have.Place != c.Wants.Place:
		e.Remedy += fmt.Sprintf(", or take the camera out of that file and run once: framelog up --config %s", path)
	}
	return e
}

// follow logs how much footage the embedded broker holds.
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
			u.log.Info("the embedded broker keeps the newest footage: broker.limit holds about so many minutes of these cameras", w.attrs(limit)...)
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
