package ingest

import "errors"

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
