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

	// args returns properties of a decoder, in launch syntax; nil: it has none.
	args func(Decoding) string
	// settings returns the properties of an encoder, and input is the format of its pictures.
	settings func(Encoding) string
	input    string
}

// decoders in the order in which they are preferred. Only those in software are certain
// to take every stream; a decoder in hardware that fails is replaced.
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
	{name: "avdec_h264", family: Software, codec: schemas.H264, args: libav},
	{name: "openh264dec", family: Software, codec: schemas.H264},
	{name: "avdec_h265", family: Software, codec: schemas.H265, args: libav},
	{name: "libde265dec", family: Software, codec: schemas.H265},
	{name: "jpegdec", family: Software, codec: schemas.MJPEG},
	{name: "avdec_mjpeg", family: Software, codec: schemas.MJPEG},
}

// libav returns the properties of a decoder of libav. It has one thread: several would hold
// pictures back, and other fragments use the other cores. At the start of a stream without
// an IDR it makes pictures in the place of those that it takes for lost. With one thread that
// fails, and the first real picture with it (GStreamer 1.22).
func libav(d Decoding) string {
	args := "max-threads=1"
	if d.Recovery {
		args = "max-threads=2 thread-type=frame"
	}
	if d.Reorder {
		return args + " std-compliance=strict"
	}
	return args + " std-compliance=normal"
}

// encoders as decoders. All make one IDR, at the start, and no B-frames, and they keep to
// the bit rate within 0.4 s.
var encoders = []coder{
	{name: "vah264enc", family: "va", codec: schemas.H264, input: "NV12", settings: func(e Encoding) string {
		return fmt.Sprintf("rate-control=cbr bitrate=%d cpb-size=%d key-int-max=1024 b-frames=0", e.kbits(), e.kbits()*2/5)
	}},
	{name: "vaapih264enc", family: "vaapi", codec: schemas.H264, input: "NV12", settings: func(e Encoding) string {
		return fmt.Sprintf("rate-control=cbr bitrate=%d cpb-length=400 keyframe-period=65535 max-bframes=0", e.kbits())
	}},
	{name: "nvh264enc", family: "nvidia", codec: schemas.H264, input: "NV12", settings: func(e Encoding) string {
		return fmt.Sprintf("rc-mode=cbr bitrate=%d vbv-buffer-size=%d gop-size=-1 bframes=0 zerolatency=true", e.kbits(), e.kbits()*2/5)
	}},
	{name: "v4l2h264enc", family: "v4l2", codec: schemas.H264, input: "NV12", settings: func(e Encoding) string {
		return fmt.Sprintf(`extra-controls="controls,video_bitrate_mode=1,video_bitrate=%d,h264_i_frame_period=65535,video_b_frames=0"`, e.Bitrate)
	}},
	{name: "x264enc", family: Software, codec: schemas.H264, input: "I420", settings: func(e Encoding) string {
		// One thread: the same pictures give the same bytes.
		return fmt.Sprintf("threads=1 tune=zerolatency speed-preset=veryfast bitrate=%d vbv-buf-capacity=400 key-int-max=1000000 bframes=0 option-string=scenecut=0:vbv-init=0.5", e.kbits())
	}},
	{name: "openh264enc", family: Software, codec: schemas.H264, input: "I420", settings: func(e Encoding) string {
		return fmt.Sprintf("multi-thread=1 rate-control=bitrate bitrate=%d max-bitrate=%d gop-size=1000000 scene-change-detection=false", e.Bitrate, e.Bitrate)
	}},
	{name: "jpegenc", family: Software, codec: schemas.MJPEG, input: "I420", settings: func(e Encoding) string {
		return fmt.Sprintf("quality=%d", e.Quality)
	}},
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
	mu       sync.Mutex
	failures map[string]int // of elements of hardware, since they last worked
	logged   map[string]bool
}

func newElements() *elements { return &elements{failures: map[string]int{}, logged: map[string]bool{}} }

var usable = newElements()

// maxFailures is how often hardware may fail at its work, one time after the other: a
// broken fragment is no reason not to use it any more. It is below the attempts that a
// processor has by default.
const maxFailures = 2

// Has implements registry.
func (u *elements) Has(name string) bool {
	u.mu.Lock()
	n := u.failures[name]
	u.mu.Unlock()
	return n < maxFailures && Has(name)
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

// fail notes that an element failed so many times. Software stays in use: its error is one
// of the fragment.
func (u *elements) fail(e coder, times int, err error) {
	if e.family == Software {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	before := u.failures[e.name]
	u.failures[e.name] += times
	if before < maxFailures && before+times >= maxFailures {
		slog.Warn("hardware failed, so this process does not use it any more", "element", e.name, "err", err)
	}
}

// work notes that an element works.
func (u *elements) work(e coder) {
	if e.family == Software {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.failures[e.name] < maxFailures {
		delete(u.failures, e.name)
	}
}

// start makes something with an element that choose chooses. An element that does not start
// is not used any more.
func start[T any](table []coder, c schemas.Codec, hardware string, with func(coder) (T, error)) (T, error) {
	for {
		var none T
		e, err := usable.pick(table, c, hardware)
		if err != nil {
			return none, err
		}
		made, err := with(e)
		if err == nil || e.family == Software {
			return made, err
		}
		usable.fail(e, maxFailures, err)
	}
}
