package ingest

import "errors"

// Kinds of errors of a camera that code must distinguish. A [Source] wraps one of them
// if it can. An error that wraps none counts as ErrAway.
var (
	// ErrAway: the camera cannot be reached, or the connection ended.
	ErrAway = errors.New("camera is away")
	// ErrRefused: the camera answers and refuses: wrong credentials, no such path.
	ErrRefused = errors.New("camera refuses")
	// ErrUnsupported: the camera's stream cannot be recorded.
	ErrUnsupported = errors.New("camera sends what cannot be recorded")
	// ErrStalled: there is a connection, and nothing comes.
	ErrStalled = errors.New("camera sends nothing")
	// ErrEnded: all that the source has is recorded, and nothing will follow. The camera
	// is not connected again.
	ErrEnded = errors.New("source has ended")
)
