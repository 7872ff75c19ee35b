package camera

import (
	"errors"
	"strings"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/schemas"
)

// stateOf is the state of a camera whose connection ended with err.
func stateOf(err error) schemas.State {
	switch {
	case errors.Is(err, ingest.ErrRefused):
		return schemas.StateRefused
	case errors.Is(err, ingest.ErrUnsupported):
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
	for _, kind := range []error{ingest.ErrAway, ingest.ErrRefused, ingest.ErrUnsupported, ingest.ErrStalled} {
		if _, rest, ok := strings.Cut(text, kind.Error()+": "); ok {
			return rest
		}
	}
	return text
}
