package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/framelog/framelog/schemas"
)

// Demo is the file name in the records of the demo's cameras. No configuration
// file can have it.
const Demo = "--demo"

// File is a configuration file that keeps cameras. They are known by its name, so
// that it may be moved.
type File struct {
	Name  string
	Named bool // the file gives itself this name
	// Host and Path (absolute) are where it is.
	Host, Path string
	// OnlyHost: no other host uses these brokers, so the path alone identifies a
	// file.
	OnlyHost bool
}

// NewFile is the configuration file at path on this host.
func NewFile(name string, named bool, path string, onlyHost bool) (File, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return File{}, fmt.Errorf("registry: find the configuration file: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return File{}, fmt.Errorf("registry: find the name of this host: %w", err)
	}
	return File{Name: name, Named: named, Host: host, Path: path, OnlyHost: onlyHost}, nil
}

func (f File) place() string {
	if f.Path == "" { // the demo
		return ""
	}
	return f.Host + ":" + f.Path
}

// keeps reports whether cam belongs to this file: its record names the same place,
// or the name that this file gives itself. A second file that happens to have the
// same name, such as framelog.yaml, is another file.
func (f File) keeps(cam schemas.Camera) bool {
	if cam.Source != schemas.SourceFile {
		return false
	}
	host, path, _ := strings.Cut(cam.Place, ":")
	if path != "" && path == f.Path && (f.OnlyHost || host == f.Host) {
		return true
	}
	return f.Named && NameOf(cam.Origin) == f.Name
}

// knowsGone reports whether the file that keeps cam was on this host and does not
// exist any more.
func (f File) knowsGone(cam schemas.Camera) bool {
	host, path, _ := strings.Cut(cam.Place, ":")
	if path == "" || !f.OnlyHost && host != f.Host {
		return false
	}
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// NameOf is the name of the file in an origin NAME:LINE.
func NameOf(origin string) string {
	return origin[:max(strings.LastIndexByte(origin, ':'), 0)]
}

// Keeper describes in words what keeps a camera.
func Keeper(cam schemas.Camera) string {
	name, line := NameOf(cam.Origin), cam.Origin[strings.LastIndexByte(cam.Origin, ':')+1:]
	switch {
	case cam.Source != schemas.SourceFile:
		return "the API"
	case name == Demo:
		return "the demo"
	}
	return fmt.Sprintf("the configuration file %q (line %s)", name, line)
}

// Result is what Reconcile did, ids in order.
type Result struct {
	Added, Changed, Unchanged, Removed []string
	// Kept are cameras that the file no longer has, and that stay because prune
	// was not set.
	Kept []string
	// Moved are the places of files that do not exist any more and whose cameras
	// this file has taken over.
	Moved []string
}

// ConflictError means that another keeper has a camera with this id.
type ConflictError struct {
	Have, Wants schemas.Camera
}

// Problem is the error without what to do about it.
func (e *ConflictError) Problem() string {
	what := fmt.Sprintf("%s has camera %q, which is kept by %s", Keeper(e.Wants), e.Wants.ID, Keeper(e.Have))
	if e.Have.Place != "" && e.Have.Place != e.Wants.Place {
		what += ", " + e.Have.Place + ","
	}
	return what + " already"
}

// Remedy is what a person can do, as far as that does not depend on the kind of
// brokers.
func (e *ConflictError) Remedy() string {
	name := NameOf(e.Have.Origin)
	switch {
	case e.Have.Source != schemas.SourceFile:
		return "give this one another id, or run: framelog cameras remove " + e.Have.ID
	case name == Demo, e.Have.Place == e.Wants.Place:
		return "give one of them another id"
	}
	return fmt.Sprintf("if it is the same file, write this line into it: name: %s; else give this camera another id", name)
}

func (e *ConflictError) Error() string { return e.Problem() + ": " + e.Remedy() }

// Reconcile changes the registry's cameras of a configuration file to cams, whose
// Origin is NAME:LINE. It changes no camera that does not belong to this file: if
// the API or another file has one with the same id, it writes nothing and returns
// a ConflictError. It writes only records that differ. It removes cameras that the
// file no longer has only with prune.
func (c *Client) Reconcile(ctx context.Context, file File, cams []schemas.Camera, prune bool) (Result, error) {
	have, err := c.Load(ctx)
	if err != nil {
		return Result{}, err
	}
	p, err := planFile(have.Cameras, file, cams, prune)
	if err != nil {
		return Result{}, fmt.Errorf("registry: reconcile %s: %w", file.Name, err)
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

func planFile(have map[string]schemas.Camera, file File, cams []schemas.Camera, prune bool) (plan, error) {
	var p plan
	var errs []error
	want := make(map[string]schemas.Camera, len(cams))
	// A file that is gone is this one, moved or renamed, if they have a camera in common.
	moved := make(map[string]bool) // by place
	for _, cam := range cams {
		if old := have[cam.ID]; file.knowsGone(old) {
			moved[old.Place] = true
		}
	}
	ours := func(old schemas.Camera) bool { return file.keeps(old) || moved[old.Place] }
	for _, cam := range cams {
		cam.Source, cam.Place = schemas.SourceFile, file.place()
		if err := check(cam); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", cam.Origin, err))
			continue
		}
		if NameOf(cam.Origin) != file.Name {
			errs = append(errs, fmt.Errorf("camera %s: origin %q is not a line of this file", cam.ID, cam.Origin))
			continue
		}
		if twin, ok := want[cam.ID]; ok {
			errs = append(errs, &ConflictError{Have: twin, Wants: cam})
			continue
		}
		want[cam.ID] = cam
		old, ok := have[cam.ID]
		switch {
		case !ok:
			p.Added = append(p.Added, cam.ID)
		case !ours(old):
			errs = append(errs, &ConflictError{Have: old, Wants: cam})
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
		if _, ok := want[id]; ok || !ours(old) {
			continue
		}
		if prune {
			p.Removed = append(p.Removed, id)
		} else {
			p.Kept = append(p.Kept, id)
		}
	}
	p.Moved = slices.Sorted(maps.Keys(moved))
	for _, ids := range [][]string{p.Added, p.Changed, p.Unchanged, p.Removed, p.Kept} {
		slices.Sort(ids)
	}
	return p, errors.Join(errs...)
}

func same(a, b schemas.Camera) bool {
	a.Updated, b.Updated = time.Time{}, time.Time{}
	return a == b
}
