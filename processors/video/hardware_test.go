package video

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/framelog/framelog/internal/gstreamer"
	"github.com/framelog/framelog/processors/processorstest"
	"github.com/framelog/framelog/tests/testenv"
)

// failing is hardware that fails after some pictures.
type failing struct {
	decoder
	after int
}

var errHardware = errors.New("the device is gone")

func (f *failing) Next(ctx context.Context) (*gstreamer.Frame, error) {
	if f.after == 0 {
		return nil, errHardware
	}
	f.after--
	return f.decoder.Next(ctx)
}

func (f *failing) Replace(error) bool { return true }

// Hardware that fails before its first picture is replaced at once. If it fails later, the
// attempt fails: pictures would come twice.
func TestFailingHardware(t *testing.T) {
	if err := gstreamer.Init(); err != nil {
		testenv.Missing(t, "%v", err)
	}
	if err := gstreamer.Require("avdec_h264", "h264parse", "deinterlace"); err != nil {
		testenv.Missing(t, "%v", err)
	}
	real := newDecoder
	t.Cleanup(func() { newDecoder = real })
	in := processorstest.Fragments(t, "h264")[0]
	decodeWith := func(after int) (n, started int, err error) {
		newDecoder = func(d gstreamer.Decoding) (decoder, error) {
			dec, err := real(d)
			if started++; started == 1 && after >= 0 {
				return &failing{dec, after}, err
			}
			return dec, err
		}
		for _, err = range Pictures(t.Context(), in, Options{}) {
			if err == nil {
				n++
			}
		}
		return n, started, err
	}
	all, _, err := decodeWith(-1)
	if all == 0 || err != nil {
		t.Fatalf("%d pictures, %v", all, err)
	}
	if n, started, err := decodeWith(0); n != all || started != 2 || err != nil {
		t.Errorf("it fails at once: %d pictures of %d, %d decoders, %v", n, all, started, err)
	}
	if n, started, err := decodeWith(3); n != 3 || started != 1 || !errors.Is(err, errHardware) || !strings.Contains(err.Error(), "of h264") {
		t.Errorf("it fails later: %d pictures, %d decoders, %v", n, started, err)
	}
}
