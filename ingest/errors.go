package ingest

import "errors"

// What can be wrong with a camera, as far as code must tell it apart. A [Source] wraps
// one of them if it can. An error that wraps none counts as ErrAway.
var (
	// ErrAway: the camera cannot be reached, or the connection ended.
	ErrAway = errors.New("camera is away")
	// ErrRefused: the camera answers and refuses: wrong credentials, no such path.
	ErrRefused = errors.New("camera refuses")
	// ErrUnsupported: what the camera sends cannot be recorded.
	ErrUnsupported = errors.New("camera sends what cannot be recorded")
	// ErrStalled: there is a connection, and nothing comes.
	ErrStalled = errors.New("camera sends nothing")
)
