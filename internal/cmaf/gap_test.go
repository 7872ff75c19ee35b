package cmaf

import (
	"bytes"
	"errors"
	"testing"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/framelog/framelog/schemas"
)

// TestGap: the segment of a gap has one sample, which lasts as long as the gap and
// is the end of the sequence alone.
func TestGap(t *testing.T) {
	for video, data := range map[schemas.Codec][]byte{schemas.H264: {0, 0, 0, 1, 0x0a}, schemas.H265: {0, 0, 0, 2, 0x48, 0x01}} {
		e := schemas.Entry{Kind: schemas.KindGap, Seq: 7, Media: 1 << 40, Duration: 150_000, Layout: schemas.Layout{Video: video}}
		b, err := Gap(e)
		if err != nil {
			t.Fatal(err)
		}
		f, err := mp4.DecodeFile(bytes.NewReader(b[0]))
		if err != nil {
			t.Fatal(err)
		}
		fragments := f.Segments[0].Fragments
		samples, err := fragments[0].GetFullSamples(nil)
		if err != nil || len(f.Segments) != 1 || len(fragments) != 1 || len(samples) != 1 {
			t.Fatalf("%s: %v, %d samples", video, err, len(samples))
		}
		if s := samples[0]; s.DecodeTime != 1<<40 || s.Dur != 150_000 || !bytes.Equal(s.Data, data) {
			t.Errorf("%s: at %d for %d: %x", video, s.DecodeTime, s.Dur, s.Data)
		}
	}
	if _, err := Gap(schemas.Entry{Layout: schemas.Layout{Video: schemas.MJPEG}}); !errors.Is(err, ErrNoGap) {
		t.Errorf("MJPEG: %v", err)
	}
}
