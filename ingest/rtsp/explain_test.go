package rtsp

import (
	"errors"
	"testing"

	"github.com/framelog/framelog/internal/rtspconn"
)

// A camera whose request ends the connection is away, so that it is connected again at once.
func TestExplainRequest(t *testing.T) {
	err := explain(&rtspconn.Error{Failure: rtspconn.Requested, Detail: "GET_PARAMETER"}, "cam/1", course{playing: true})
	const want = "the camera made a request (GET_PARAMETER), which only GStreamer can answer, and this ingest is built without it (use an ingest with GStreamer)"
	var e *Error
	if !errors.As(err, &e) || e.Short() != want || !errors.Is(err, ErrAway) {
		t.Errorf("%v", err)
	}
}
