package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/framelog/framelog/schemas"
)

// Result is what Reconcile did, ids in order.
type Result struct {
	Added, Changed, Unchanged, Removed []string
	// Kept are cameras that the file had once and has no more, which stay
	// because prune was not asked for.
	Kept []string
}

// ConflictError says that a camera's id is taken by another keeper.
type ConflictError struct {
	ID          string
	Have, Wants string // origins: file:line, or "the API"
}

// Problem is the error without what to do about it.
func (e *ConflictError) Problem() string {
	return fmt.Sprintf("%s: camera %q is kept by %s already", e.Wants, e.ID, e.Have)
}

func (e *ConflictError) Error() string {
	remedy := fmt.Sprintf("; it is removed by: framelog cameras remove %s", e.ID)
	if old, file := FileOf(e.Have), FileOf(e.Wants); old != "" {
		remedy = ""
		if old != file {
			remedy = fmt.Sprintf("; if that file was moved or renamed: framelog cameras apply -f %s --take-over %s", file, old)
		}
	}
	return e.Problem() + ": remove it there, or give this one another id" + remedy
}

// Reconcile makes the registry's cameras of a configuration file those of
// cams, whose Origin is file:line. It touches no camera that is not of this
// file: where the API or another file has one of the same id it writes
// nothing and returns a ConflictError. Only what differs is written, and
// cameras that the file has no more are removed only with prune.
func (c *Client) Reconcile(ctx context.Context, file string, cams []schemas.Camera, prune bool) (Result, error) {
	have, err := c.Load(ctx)
	if err != nil {
		return Result{}, err
	}
	p, err := planFile(have.Cameras, file, cams, prune)
	if err != nil {
		return Result{}, fmt.Errorf("registry: reconcile %s: %w", file, err)
	}
	now := time.Now()
	for _, cam := range p.put {
		cam.Updated = now
		if err := c.Put(ctx, cam); err != nil {
			return Result{}, err
		}
	}
	for _, id := range p.Removed {
		if err := c.Delete(ctx, id); err != nil {
			return Result{}, err
		}
	}
	return p.Result, nil
}

type plan struct {
	Result
	put []schemas.Camera
}

func planFile(have map[string]schemas.Camera, file string, cams []schemas.Camera, prune bool) (plan, error) {
	var p plan
	var errs []error
	want := make(map[string]schemas.Camera, len(cams))
	for _, cam := range cams {
		cam.Source = schemas.SourceFile
		if err := check(cam); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", cam.Origin, err))
			continue
		}
		if !ofFile(cam, file) {
			errs = append(errs, fmt.Errorf("camera %s: origin %q is not a line of this file", cam.ID, cam.Origin))
			continue
		}
		if twin, ok := want[cam.ID]; ok {
			errs = append(errs, &ConflictError{ID: cam.ID, Have: twin.Origin, Wants: cam.Origin})
			continue
		}
		want[cam.ID] = cam
		old, ok := have[cam.ID]
		switch {
		case !ok:
			p.Added = append(p.Added, cam.ID)
		case !ofFile(old, file):
			errs = append(errs, &ConflictError{ID: cam.ID, Have: origin(old), Wants: cam.Origin})
			continue
		case same(old, cam):
			p.Unchanged = append(p.Unchanged, cam.ID)
			continue
		default:
			p.Changed = append(p.Changed, cam.ID)
		}
		p.put = append(p.put, cam)
	}
	for id, old := range have {
		if _, ok := want[id]; ok || !ofFile(old, file) {
			continue
		}
		if prune {
			p.Removed = append(p.Removed, id)
		} else {
			p.Kept = append(p.Kept, id)
		}
	}
	for _, ids := range [][]string{p.Added, p.Changed, p.Unchanged, p.Removed, p.Kept} {
		slices.Sort(ids)
	}
	return p, errors.Join(errs...)
}

// ofFile says whether a camera is kept by a file: its origin is file:line.
func ofFile(cam schemas.Camera, file string) bool {
	return cam.Source == schemas.SourceFile && strings.Contains(cam.Origin, ":") && FileOf(cam.Origin) == file
}

func origin(cam schemas.Camera) string {
	if cam.Source == schemas.SourceFile {
		return cam.Origin
	}
	return "the API"
}

func same(a, b schemas.Camera) bool {
	a.Updated, b.Updated = time.Time{}, time.Time{}
	return a == b
}
