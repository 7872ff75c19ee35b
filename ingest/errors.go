package ingest

import (
	"errors"

	"github.com/framelog/framelog/schemas"
)

// What can be wrong with a camera, as far as it matters to anybody but the
// reader of a message. A [Source] wraps one of them where it knows; an error
// that wraps none counts as ErrAway.
var (
	// ErrAway: the camera cannot be reached, or the connection ended.
	ErrAway = errors.New("camera is away")
	// ErrRefused: the camera answers and says no: wrong credentials, no such
	// path.
	ErrRefused = errors.New("camera refuses")
	// ErrUnsupported: what the camera sends cannot be recorded.
	ErrUnsupported = errors.New("camera sends what cannot be recorded")
	// ErrStalled: the connection stands, and nothing comes.
	ErrStalled = errors.New("camera sends nothing")
)

// stateOf is the state of a camera whose connection ended with err.
func stateOf(err error) schemas.State {
	switch {
	case errors.Is(err, ErrRefused):
		return schemas.StateRefused
	case errors.Is(err, ErrUnsupported):
		return schemas.StateUnusable
	default:
		return schemas.StateAway
	}
}
