package rtsp

import (
	"errors"
	"testing"

	"github.com/framelog/framelog/schemas"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		url, transport string
		ok             bool
	}{
		{"rtsp://h/c", TransportUDP, true},
		{"rtsps://h/c", TransportTCP, true},
		{"rtsps://h/c", TransportAuto, true},
		{"rtsps://h/c", TransportUDP, false},
		{"RTSPS://h/c", TransportUDP, false},
	} {
		err := Check(schemas.Camera{URL: c.url, Transport: c.transport})
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrRefused) {
			t.Errorf("%s over %q: %v", c.url, c.transport, err)
		}
	}
}
