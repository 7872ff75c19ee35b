package gstreamer

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/framelog/framelog/schemas"
)

// fakes is a registry with these elements.
type fakes []string

func (f fakes) Has(name string) bool { return slices.Contains(f, name) }

func TestChoose(t *testing.T) {
	all := fakes{
		"vah264dec", "vaapih264dec", "nvh264dec", "v4l2h264dec", "v4l2slh264dec", "avdec_h264", "openh264dec",
		"vah264enc", "vaapih264enc", "nvh264enc", "v4l2h264enc", "x264enc", "openh264enc",
	}
	for _, c := range []struct {
		name     string
		table    []coder
		has      fakes
		codec    schemas.Codec
		want     string // hardware
		element  string // "": none
		fallback bool
	}{
		{"VA-API first", decoders, all, schemas.H264, "", "vah264dec", false},
		{"VA-API first, encoder", encoders, all, schemas.H264, "", "vah264enc", false},
		{"the old VA-API", decoders, all[1:], schemas.H264, "", "vaapih264dec", false},
		{"NVIDIA before V4L2", decoders, all[2:], schemas.H264, "", "nvh264dec", false},
		{"V4L2", decoders, all[3:], schemas.H264, "", "v4l2slh264dec", false},
		{"no hardware", decoders, all[5:], schemas.H264, "", "avdec_h264", false},
		{"no libav", decoders, all[6:], schemas.H264, "", "openh264dec", false},
		{"no x264", encoders, fakes{"openh264enc"}, schemas.H264, "", "openh264enc", false},
		{"software is wanted", encoders, all, schemas.H264, "software", "x264enc", false},
		{"NVIDIA is wanted", encoders, all, schemas.H264, "nvidia", "nvh264enc", false},
		{"NVIDIA is wanted, and not there", encoders, fakes{"vah264enc", "x264enc"}, schemas.H264, "nvidia", "x264enc", true},
		{"hardware for another codec", decoders, fakes{"vah264dec", "avdec_h265"}, schemas.H265, "", "avdec_h265", false},
		{"MJPEG", decoders, fakes{"jpegdec", "avdec_mjpeg"}, schemas.MJPEG, "", "jpegdec", false},
		{"an image", encoders, fakes{"x264enc", "jpegenc"}, schemas.MJPEG, "va", "jpegenc", false},
		{"nothing", decoders, fakes{"x264enc"}, schemas.H264, "", "", false},
	} {
		e, fallback, ok := choose(c.table, c.has, c.codec, c.want)
		if e.name != c.element || ok != (c.element != "") || fallback != c.fallback {
			t.Errorf("%s: %q, fallback %v, %v", c.name, e.name, fallback, ok)
		}
	}
	if err := CheckHardware("gpu"); err == nil || !strings.Contains(err.Error(), "nvidia") {
		t.Errorf("hardware gpu: %v", err)
	}
}

// logs takes what is logged during a test.
func logs(t *testing.T) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&b, nil)))
	t.Cleanup(func() { slog.SetDefault(old) })
	return &b
}

// hardware puts elements that stand for hardware in front of a table.
func hardware(t *testing.T, table *[]coder, e ...coder) {
	t.Helper()
	old, was := *table, usable
	*table = append(e, old...)
	usable = newElements()
	t.Cleanup(func() { *table, usable = old, was })
}

// Hardware that does not start is replaced, with one warning.
func TestHardwareThatDoesNotStart(t *testing.T) {
	needEncoders(t)
	out := logs(t)
	// An element without what a decoder gives: the pipeline cannot be linked.
	hardware(t, &decoders, coder{name: "aacparse", family: "va", codec: schemas.H264})
	hardware(t, &encoders, coder{name: "aacparse", family: "va", codec: schemas.H264, input: "NV12", settings: func(Encoding) string { return "" }})
	for range 2 {
		d, err := NewDecoder(Decoding{Codec: schemas.H264})
		if err != nil {
			t.Fatal(err)
		}
		if d.Element() != "avdec_h264" {
			t.Errorf("%s decodes", d.Element())
		}
		d.Close()
		e, err := NewPictureEncoder(Encoding{Codec: schemas.H264, Bitrate: 1e5, Width: 64, Height: 64}, Pictures{Format: "I420", Width: 64, Height: 64, FPS: 25}, nil)
		if err != nil {
			t.Fatal(err)
		}
		e.Close()
	}
	if n := strings.Count(out.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings:\n%s", n, out)
	}
	for _, e := range []string{"avdec_h264", "x264enc"} {
		if n := strings.Count(out.String(), "element="+e); n != 1 {
			t.Errorf("%s is told %d times:\n%s", e, n, out)
		}
	}
}

// Hardware that fails at its work again and again is replaced; what it does well in between
// counts.
func TestHardwareThatFails(t *testing.T) {
	needEncoders(t)
	out := logs(t)
	hardware(t, &decoders, coder{name: "identity", family: "nvidia", codec: schemas.H264, args: func(Decoding) string { return "error-after=1 ! avdec_h264" }})
	var c collect
	enc, err := NewH264Encoder(H264Config{Width: 64, Height: 64, FPS: 25}, c.take)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	if err := enc.Push(make([]byte, 64*64*3/2), 0, 0); err != nil {
		t.Fatal(err)
	}
	config, units := c.wait(t, 1)
	decode := func() (*Decoder, error) {
		d, err := NewDecoder(Decoding{Codec: schemas.H264, Config: config})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if err := d.Push(t.Context(), units[0].Data, 0, 0, true); err != nil {
			t.Fatal(err)
		}
		d.End()
		f, err := d.Next(t.Context())
		if err == nil {
			f.Release()
			if _, end := d.Next(t.Context()); !errors.Is(end, io.EOF) {
				t.Errorf("behind the picture: %v", end)
			}
		}
		return d, err
	}
	for i, well := range []bool{false, true, false, false} {
		d, err := decode()
		if err == nil || !strings.Contains(err.Error(), "identity") || !d.Hardware() {
			t.Fatalf("attempt %d: %s, %v", i, d.Element(), err)
		}
		if well {
			d.Worked()
		} else {
			d.Failed(err)
		}
	}
	d, err := decode()
	if err != nil || d.Element() != "avdec_h264" {
		t.Errorf("%s: %v", d.Element(), err)
	}
	for range maxFailures {
		d.Failed(errors.New("a broken fragment"))
	}
	if d, err = decode(); err != nil {
		t.Errorf("software is not used any more: %s, %v", d.Element(), err)
	}
	if n := strings.Count(out.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings:\n%s", n, out)
	}
}
