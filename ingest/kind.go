package ingest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/framelog/framelog/schemas"
)

// Kind is a kind of camera. The scheme of a camera's URL selects it.
type Kind struct {
	// Check returns an error if this kind cannot do what a camera's record asks
	// for. Its error wraps ErrRefused or ErrUnsupported.
	Check func(cam schemas.Camera) error
	// New makes the source of a camera for which Check returned nil.
	New func(cam schemas.Camera) Source
}

// Kinds are the kinds of cameras by scheme, in lower case.
type Kinds map[string]Kind

// Check returns an error if none of the kinds can record the camera.
func (k Kinds) Check(cam schemas.Camera) error {
	kind, ok := k.of(cam)
	if !ok {
		return fmt.Errorf("ingest: check camera: %w: its URL begins with none of %s (correct the camera's URL)",
			ErrRefused, strings.Join(slices.Sorted(maps.Keys(k)), "://, ")+"://")
	}
	return kind.Check(cam)
}

// Source makes the source of a camera. If the camera fails Check, each connection
// of the source fails with that error.
func (k Kinds) Source(cam schemas.Camera) Source {
	if err := k.Check(cam); err != nil {
		return refused{err}
	}
	kind, _ := k.of(cam)
	return kind.New(cam)
}

func (k Kinds) of(cam schemas.Camera) (Kind, bool) {
	scheme, _, _ := strings.Cut(cam.URL, ":")
	kind, ok := k[strings.ToLower(scheme)]
	return kind, ok
}

// refused is the source of a camera that cannot be recorded.
type refused struct{ err error }

func (r refused) Run(context.Context, Sink) error { return r.err }
func (refused) Live() bool                        { return true }
