package camera

import (
	"errors"
	"strings"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/secrets"
	"github.com/framelog/framelog/schemas"
)

// maxErrorText is the bytes of the longest error in a status.
const maxErrorText = 300

// stateOf returns the state of a camera whose connection ended with err.
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

// short returns an error's text for a status. The status already names camera and
// state, so the text begins with the cause. It is the result of the method Short if
// the error has one, else the text after the kind.
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

// clean returns an error's text for people: without credentials, on one line, and
// not too long.
func clean(err error) string { return cleanText(err.Error()) }

func cleanText(text string) string {
	text = strings.Join(strings.Fields(secrets.Redact(text)), " ")
	if len(text) > maxErrorText {
		text = text[:maxErrorText] + "…"
	}
	return strings.ToValidUTF8(text, "")
}
