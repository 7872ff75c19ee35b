package main

import (
	"testing"

	"github.com/framelog/framelog/internal/secrets"
	"github.com/framelog/framelog/schemas"
)

// Which cameras ingest can record, by their URL.
func TestCameraKinds(t *testing.T) {
	kinds := cameraKinds(&ingestConfig{}, secrets.Resolver{}, nil, schemas.Names{})
	for _, c := range []struct {
		url, transport string
		ok             bool
	}{
		{"rtsp://h/c", "udp", true},
		{"rtsps://h/c", "", true},
		{"rtsps://h/c", "udp", false},
		{"http://h/c", "", false},
		{"framelog://yard?from=2026-01-31T08:00:00Z&to=2026-01-31T08:05:00Z", "", true},
		{"framelog://yard?from=2026-01-31T08:00:00Z&to=2026-01-31T08:05:00Z", "tcp", false},
		{"framelog://c?from=2026-01-31T08:00:00Z&to=2026-01-31T08:05:00Z", "", false}, // itself
		{"framelog://yard", "", false},
		{"", "", false},
	} {
		err := kinds.Check(schemas.Camera{ID: "c", URL: c.url, Transport: c.transport})
		if (err == nil) != c.ok {
			t.Errorf("%q over %q: %v", c.url, c.transport, err)
		}
	}
}
