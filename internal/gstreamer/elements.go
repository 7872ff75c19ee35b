package gstreamer

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/framelog/framelog/schemas"
)

// Software is the value of Hardware that uses no hardware.
const Software = "software"

// registry says which elements may be used.
type registry interface{ Has(element string) bool }

// coder is an element that decodes or encodes.
type coder struct {
	name   string
	family string // a name for [CheckHardware]
	codec  schemas.Codec

	// args are properties of a decoder, in launch syntax; reorders are those for streams in
	// which pictures may move further than the decoder knows, and inOrder those for others.
	args, reorders, inOrder string

	// settings returns the properties of an encoder, and input is the format of its pictures.
	settings func(Encoding) string
	input    string
}

// decoders in the order in which they are preferred. Only those in software are certain
// to take every stream; a decoder in hardware that fails is replaced.
//
// Those of libav have one thread: several would hold pictures back, and other fragments use
// the other cores.
var decoders = []coder{
	{name: "vah264dec", family: "va", codec: schemas.H264},
	{name: "vah265dec", family: "va", codec: schemas.H265},
	{name: "vajpegdec", family: "va", codec: schemas.MJPEG},
	{name: "vaapih264dec", family: "vaapi", codec: schemas.H264},
	{name: "vaapih265dec", family: "vaapi", codec: schemas.H265},
	{name: "vaapijpegdec", family: "vaapi", codec: schemas.MJPEG},
	{name: "nvh264dec", family: "nvidia", codec: schemas.H264},
	{name: "nvh265dec", family: "nvidia", codec: schemas.H265},
	{name: "nvjpegdec", family: "nvidia", codec: schemas.MJPEG},
	{name: "v4l2slh264dec", family: "v4l2", codec: schemas.H264},
	{name: "v4l2h264dec", family: "v4l2", codec: schemas.H264},
	{name: "v4l2slh265dec", family: "v4l2", codec: schemas.H265},
	{name: "v4l2h265dec", family: "v4l2", codec: schemas.H265},
	{name: "v4l2jpegdec", family: "v4l2", codec: schemas.MJPEG},
	{name: "avdec_h264", family: Software, codec: schemas.H264, args: "max-threads=1", reorders: "std-compliance=strict", inOrder: "std-compliance=normal"},
	{name: "openh264dec", family: Software, codec: schemas.H264},
	{name: "avdec_h265", family: Software, codec: schemas.H265, args: "max-threads=1", reorders: "std-compliance=strict", inOrder: "std-compliance=normal"},
	{name: "libde265dec", family: Software, codec: schemas.H265},
	{name: "jpegdec", family: Software, codec: schemas.MJPEG},
	{name: "avdec_mjpeg", family: Software, codec: schemas.MJPEG},
}

// CheckHardware returns an error if s is no value for Hardware.
func CheckHardware(s string) error {
	var known []string
	for _, e := range slices.Concat(decoders, encoders) {
		if !slices.Contains(known, e.family) {
			known = append(known, e.family)
		}
	}
	if s == "" || slices.Contains(known, s) {
		return nil
	}
	return fmt.Errorf("hardware %q is not known; leave it empty, or choose one of %s", s, strings.Join(known, ", "))
}

// choose returns the first element of a table that may be used: of the hardware that is
// wanted (empty: of any), else in software. fallback tells that hardware of the wanted kind
// could do it, but cannot be used. ok is false if there is no element.
func choose(table []coder, r registry, c schemas.Codec, want string) (e coder, fallback, ok bool) {
	for _, e := range table {
		fallback = fallback || e.codec == c && e.family == want
		if e.codec == c && (want == "" || e.family == want) && r.Has(e.name) {
			return e, false, true
		}
	}
	for _, e := range table {
		if e.codec == c && e.family == Software && r.Has(e.name) {
			return e, fallback, true
		}
	}
	return coder{}, false, false
}

// elements is what of GStreamer's registry may be used in this process: elements of
// hardware that have failed may not. It logs each choice once.
type elements struct {
	mu     sync.Mutex
	failed map[string]bool
	logged map[string]bool
}

var usable = &elements{failed: map[string]bool{}, logged: map[string]bool{}}

// Has implements registry.
func (u *elements) Has(name string) bool {
	u.mu.Lock()
	failed := u.failed[name]
	u.mu.Unlock()
	return !failed && Has(name)
}

// pick chooses an element.
func (u *elements) pick(table []coder, c schemas.Codec, want string) (coder, error) {
	if err := CheckHardware(want); err != nil {
		return coder{}, fmt.Errorf("gstreamer: %w", err)
	}
	if err := Init(); err != nil {
		return coder{}, err
	}
	e, fallback, ok := choose(table, u, c, want)
	if !ok {
		i := slices.IndexFunc(table, func(e coder) bool { return e.codec == c && e.family == Software })
		if i < 0 {
			return coder{}, fmt.Errorf("gstreamer: no element for %s", c)
		}
		return coder{}, Require(table[i].name)
	}
	u.log(e, c, want, fallback)
	return e, nil
}

func (u *elements) log(e coder, c schemas.Codec, want string, fallback bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	key := e.name + " " + want
	if u.logged[key] {
		return
	}
	u.logged[key] = true
	if fallback {
		slog.Warn("this hardware cannot be used, so software is", "hardware", want, "codec", string(c), "element", e.name)
		return
	}
	slog.Info("GStreamer element chosen", "codec", string(c), "element", e.name, "kind", e.family)
}

// fail notes that an element failed, and reports whether another one may do. Software
// stays in use: its error is one of the fragment.
func (u *elements) fail(e coder, err error) bool {
	if e.family == Software {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.failed[e.name] {
		u.failed[e.name] = true
		slog.Warn("hardware failed, so this process does not use it any more", "element", e.name, "err", err)
	}
	return true
}
