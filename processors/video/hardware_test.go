package video

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/framelog/framelog/internal/gstreamer"
	"github.com/framelog/framelog/processors/processorstest"
	"github.com/framelog/framelog/tests/oracle/pictures"
)

// failing is hardware that fails after some pictures.
type failing struct {
	decoder
	after  int
	failed int // calls of Failed
}

var errHardware = errors.New("the device is gone")

func (f *failing) Next(ctx context.Context) (*gstreamer.Frame, error) {
	if f.after == 0 {
		return nil, errHardware
	}
	f.after--
	return f.decoder.Next(ctx)
}

func (f *failing) Hardware() bool { return true }

func (f *failing) Failed(error) { f.failed++ }

// Hardware that fails before its first picture is replaced at once. If it fails later, the
// attempt fails: pictures would come twice.
func TestFailingHardware(t *testing.T) {
	pictures.Need(t, "avdec_h264", "h264parse", "deinterlace")
	software := newDecoder
	t.Cleanup(func() { newDecoder = software })
	in := processorstest.Fragments(t, "h264")[0]
	var hardware *failing
	decodeWith := func(after int) (n, started int, err error) {
		newDecoder = func(d gstreamer.Decoding) (decoder, error) {
			dec, err := software(d)
			if started++; started == 1 && after >= 0 {
				hardware = &failing{decoder: dec, after: after}
				return hardware, err
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
	if n, started, err := decodeWith(0); n != all || started != 2 || hardware.failed != 1 || err != nil {
		t.Errorf("it fails at once: %d pictures of %d, %d decoders, failed %d times, %v", n, all, started, hardware.failed, err)
	}
	if n, started, err := decodeWith(3); hardware.failed != 0 || n != 3 || started != 1 || !errors.Is(err, errHardware) || !strings.Contains(err.Error(), "of h264") {
		t.Errorf("it fails later: %d pictures, %d decoders, %v", n, started, err)
	}
}

// A fragment that software cannot decode either says nothing of the hardware.
func TestHardwareAndBrokenFragment(t *testing.T) {
	software := newDecoder
	t.Cleanup(func() { newDecoder = software })
	in := processorstest.Fragments(t, "h264")[0]
	var all []*failing
	newDecoder = func(d gstreamer.Decoding) (decoder, error) {
		dec, err := software(d)
		all = append(all, &failing{decoder: dec})
		return all[len(all)-1], err
	}
	for _, err := range Pictures(t.Context(), in, Options{}) {
		if !errors.Is(err, errHardware) {
			t.Error(err)
		}
	}
	if len(all) != 2 || all[0].failed != 0 {
		t.Errorf("%d decoders, %d times failed", len(all), all[0].failed)
	}
}
