//go:build !cgo

package rtsp

import (
	"errors"
	"testing"

	"github.com/framelog/framelog/internal/rtspconn"
)

// Where the native engine can record nothing of a camera, and there is no other, the error says
// what helps.
func TestIncapableWithoutGStreamer(t *testing.T) {
	err := explain(&rtspconn.IncapableError{What: "its pictures are too large"}, "cam/1", course{})
	const want = "its pictures are too large, for which ingest needs GStreamer, and this one is built without it (set the camera to H.264 or H.265, or use an ingest with GStreamer)"
	var e *Error
	if !errors.As(err, &e) || e.Short() != want || !errors.Is(err, ErrUnsupported) {
		t.Errorf("%v", err)
	}
}
