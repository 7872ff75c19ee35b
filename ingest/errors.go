package ingest

import (
	"errors"
	"strings"

	"github.com/framelog/framelog/ingest/assemble"
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
	ErrUnsupported = assemble.ErrUnsupported
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

// short is an error's text for a status, which stands beside camera and state:
// it begins with what is wrong. Errors that have a method Short say it
// themselves; of others it is what follows the kind.
func short(err error) string {
	var s interface{ Short() string }
	if errors.As(err, &s) {
		return s.Short()
	}
	text := err.Error()
	for _, kind := range []error{ErrAway, ErrRefused, ErrUnsupported, ErrStalled} {
		if _, rest, ok := strings.Cut(text, kind.Error()+": "); ok {
			return rest
		}
	}
	return text
}
