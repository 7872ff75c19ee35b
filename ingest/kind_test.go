package ingest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/framelog/framelog/schemas"
)

type kindSource struct{ url string }

func (kindSource) Run(context.Context, Sink) error { return nil }
func (kindSource) Live() bool                      { return false }

// A kind is one line of the table: its scheme, what it checks, and its sources.
func TestKinds(t *testing.T) {
	kinds := Kinds{
		"file": {
			Check: func(cam schemas.Camera) error {
				if cam.Transport != "" {
					return ErrUnsupported
				}
				return nil
			},
			New: func(cam schemas.Camera) Source { return kindSource{cam.URL} },
		},
		"push": {Check: func(schemas.Camera) error { return nil }, New: func(schemas.Camera) Source { return kindSource{} }},
	}
	for _, c := range []struct {
		cam  schemas.Camera
		err  error
		text string
	}{
		{schemas.Camera{URL: "file:clips/a.mp4"}, nil, ""},
		{schemas.Camera{URL: "FILE:clips/a.mp4"}, nil, ""},
		{schemas.Camera{URL: "file:clips/a.mp4", Transport: "udp"}, ErrUnsupported, ""},
		{schemas.Camera{URL: "rtsp://h/file:"}, ErrRefused, "none of file://, push://"},
		{schemas.Camera{URL: ""}, ErrRefused, ""},
	} {
		err := kinds.Check(c.cam)
		if !errors.Is(err, c.err) || err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%+v: %v, want %v", c.cam, err, c.err)
		}
		src := kinds.Source(c.cam)
		if made, ok := src.(kindSource); ok != (c.err == nil) || made.url != "" && made.url != c.cam.URL {
			t.Errorf("%+v: made %#v", c.cam, src)
		}
		if got := src.Run(t.Context(), nil); !errors.Is(got, c.err) {
			t.Errorf("%+v: a connection fails with %v, want %v", c.cam, got, c.err)
		}
	}
}
