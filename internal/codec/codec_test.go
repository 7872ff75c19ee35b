package codec_test

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/internal/codec/codectest"
	"github.com/framelog/framelog/schemas"
)

func TestVideo(t *testing.T) {
	for name, c := range map[string]struct {
		codec  schemas.Codec
		config []byte
		want   codec.VideoInfo
	}{
		"plain":      {schemas.H264, codectest.H264{Reorder: 0, Units: 1, Scale: 60}.Config(), codec.VideoInfo{Width: 320, Height: 240, Frame: 3000}},
		"29.97":      {schemas.H264, codectest.H264{Reorder: 2, Units: 1001, Scale: 60000}.Config(), codec.VideoInfo{Width: 320, Height: 240, Frame: 3003, Reorder: 2}},
		"no VUI":     {schemas.H264, codectest.H264{Reorder: -1, Width: 1920, Height: 1088}.Config(), codec.VideoInfo{Width: 1920, Height: 1088, Reorder: -1}},
		"baseline":   {schemas.H264, codectest.H264{Baseline: true, Reorder: -1}.Config(), codec.VideoInfo{Width: 320, Height: 240}},
		"silly rate": {schemas.H264, codectest.H264{Reorder: 0, Units: 1, Scale: 4e9}.Config(), codec.VideoInfo{Width: 320, Height: 240}},
		"h265":       {schemas.H265, codectest.H265Config(), codec.VideoInfo{Width: 64, Height: 64, Frame: 3000, Reorder: 2}},
		"mjpeg":      {schemas.MJPEG, nil, codec.VideoInfo{}},
	} {
		got, err := codec.Video(c.codec, c.config)
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
		}
	}
	short := codectest.H264{}.Config()
	short[4] = 0xfc | 1
	for name, b := range map[string][]byte{"empty": nil, "cut": short[:12], "2-byte lengths": short, "no sets": {1, 77, 0, 31, 0xff, 0xe0, 0}} {
		if _, err := codec.Video(schemas.H264, b); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := codec.Video(schemas.AAC, nil); err == nil {
		t.Error("AAC has pictures")
	}
}

func TestParameterSets(t *testing.T) {
	avc, sps := codectest.H264{Reorder: 0}.Config(), codectest.H264{Reorder: 0}.SPS()
	two := slices.Clone(avc[:len(avc)-7]) // without the one PPS of 4 bytes
	two = append(two, 2, 0, 2, 0x68, 1, 0, 2, 0x68, 2)
	high := slices.Clone(avc)
	high[1] = 100
	hevc := codectest.H265Config()
	sei := append(slices.Clone(hevc), 0xa7, 0, 1, 0, 3, 0x4e, 1, 5)
	sei[22]++
	for name, c := range map[string]struct {
		codec  schemas.Codec
		config []byte
		want   int  // units; 0: an error
		last   byte // first byte of the last one
	}{
		"one PPS":                     {schemas.H264, avc, 2, 0x68},
		"two PPS":                     {schemas.H264, two, 3, 0x68},
		"high, without the end":       {schemas.H264, high, 2, 0x68},
		"high":                        {schemas.H264, append(slices.Clone(high), 0xfd, 0xf8, 0xf8, 0), 2, 0x68},
		"high, with an SPS extension": {schemas.H264, append(slices.Clone(high), 0xfd, 0xf8, 0xf8, 1, 0, 1, 0x6d), 2, 0x68},
		"no PPS":                      {schemas.H264, append(slices.Clone(avc[:len(avc)-7]), 0), 0, 0},
		"empty PPS":                   {schemas.H264, append(slices.Clone(avc[:len(avc)-7]), 1, 0, 0), 0, 0},
		"cut":                         {schemas.H264, avc[:len(avc)-1], 0, 0},
		"H.265":                       {schemas.H265, hevc, 3, 0x44},
		"H.265 with an SEI message":   {schemas.H265, sei, 4, 0x4e},
		"H.265, cut":                  {schemas.H265, hevc[:len(hevc)-1], 0, 0},
		"H.265 without sets":          {schemas.H265, append(slices.Clone(hevc[:22]), 0), 0, 0},
		"no such thing":               {schemas.AAC, []byte{0x11, 0x90}, 0, 0},
	} {
		got, err := codec.ParameterSets(c.codec, c.config)
		switch {
		case c.want == 0 && err == nil:
			t.Errorf("%s: no error", name)
		case c.want == 0:
		case err != nil || len(got) != c.want || got[len(got)-1][0] != c.last:
			t.Errorf("%s: %x, %v", name, got, err)
		case c.codec == schemas.H264 && !bytes.Equal(got[0], sps):
			t.Errorf("%s: SPS %x, want %x", name, got[0], sps)
		}
	}
}

func TestParseOpusConfig(t *testing.T) {
	for name, c := range map[string]struct {
		head []byte
		want codec.OpusConfig // no channels: an error
	}{
		"stereo":                       {[]byte{1, 2, 0x38, 1, 0x80, 0xbb, 0, 0, 0, 0, 0}, codec.OpusConfig{Channels: 2, PreSkip: 312, InputRate: 48000}},
		"mapping":                      {[]byte{1, 3, 1, 0, 0x40, 0x1f, 0, 0, 0, 0xff, 1, 2, 1, 0, 1, 2}, codec.OpusConfig{Channels: 3, PreSkip: 1, InputRate: 8000, OutputGain: -256, Family: 1, Mapping: []byte{2, 1, 0, 1, 2}}},
		"cut":                          {head: []byte{1, 2, 0x38, 1, 0x80, 0xbb, 0, 0, 0, 0}},
		"mapping that is cut":          {head: []byte{1, 3, 1, 0, 0x40, 0x1f, 0, 0, 0, 0, 1, 2, 1, 0, 1}},
		"3 channels without a mapping": {head: []byte{1, 3, 1, 0, 0x40, 0x1f, 0, 0, 0, 0, 0}},
		"another version":              {head: []byte{16, 2, 0x38, 1, 0x80, 0xbb, 0, 0, 0, 0, 0}},
	} {
		got, err := codec.ParseOpusConfig(c.head)
		if (err != nil) != (c.want.Channels == 0) || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
		}
	}
}

func TestName(t *testing.T) {
	avc := codectest.H264{}.Config()
	copy(avc[1:], []byte{0x64, 0, 0x1f})
	hevc := codectest.H265Config()
	copy(hevc[1:], []byte{1, 0x60, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 93})
	tier, none := slices.Clone(hevc), slices.Clone(hevc)
	copy(tier[1:], []byte{0x61, 0x60, 0, 0, 0, 0xb0, 0, 0, 0, 0, 1, 0x7b})
	copy(none[6:], []byte{0, 0, 0, 0, 0, 0})
	for want, tr := range map[string]schemas.Track{
		"avc1.64001F":                 {Codec: schemas.H264, Config: avc},
		"hvc1.A1.6.H123.B0.0.0.0.0.1": {Codec: schemas.H265, Config: tier},
		"hvc1.1.6.L93":                {Codec: schemas.H265, Config: none},
		"mp4a.40.42":                  {Codec: schemas.AAC, Config: []byte{0xf9, 0x40}},
		"hvc1.1.6.L93.B0":             {Codec: schemas.H265, Config: hevc},
		"hvc1.4.10.L30.9E.8":          {Codec: schemas.H265, Config: codectest.H265Config()},
		"mp4a.40.2":                   {Codec: schemas.AAC, Config: []byte{0x12, 0x10}},
		"mp4a.40.5":                   {Codec: schemas.AAC, Config: []byte{0x2b, 0x8a, 0x08, 0x00}},
		"opus":                        {Codec: schemas.Opus},
		"mp4v.6C":                     {Codec: schemas.MJPEG},
	} {
		if got, err := codec.Name(tr); got != want || err != nil {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	if _, err := codec.Name(schemas.Track{Codec: "x"}); err == nil {
		t.Error("a name for an unknown codec")
	}
}

func TestFrameDuration(t *testing.T) {
	for name, c := range map[string]struct {
		track schemas.Track
		frame []byte
		want  uint32
	}{
		"aac":         {schemas.Track{Codec: schemas.AAC, Timescale: 44100, Config: []byte{0x12, 0x10}}, []byte{1}, 1024},
		"aac 960":     {schemas.Track{Codec: schemas.AAC, Timescale: 44100, Config: []byte{0x12, 0x14}}, []byte{1}, 960},
		"empty":       {schemas.Track{Codec: schemas.AAC, Timescale: 44100, Config: []byte{0x12, 0x10}}, nil, 0},
		"opus 20 ms":  {schemas.Track{Codec: schemas.Opus, Timescale: 48000}, []byte{0xfc}, 960},
		"opus 2x10":   {schemas.Track{Codec: schemas.Opus, Timescale: 48000}, []byte{0xf1, 0, 0}, 960},
		"opus 180 ms": {schemas.Track{Codec: schemas.Opus, Timescale: 48000}, []byte{0x1b, 3}, 0},
		"opus empty":  {schemas.Track{Codec: schemas.Opus, Timescale: 48000}, nil, 0},
	} {
		d, err := codec.FrameDuration(c.track)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := d(c.frame); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	for _, tr := range []schemas.Track{{Codec: schemas.AAC, Timescale: 1}, {Codec: schemas.Opus}, {Codec: "g711", Timescale: 8000}} {
		if _, err := codec.FrameDuration(tr); err == nil {
			t.Errorf("%+v: no error", tr)
		}
	}
}

func TestClassify(t *testing.T) {
	join := func(nals ...string) []byte {
		var b [][]byte
		for _, n := range nals {
			b = append(b, []byte(n))
		}
		return codec.JoinNALs(b)
	}
	for name, c := range map[string]struct {
		codec schemas.Codec
		au    []byte
		want  codec.Unit
		err   error
	}{
		"h264 IDR":                     {schemas.H264, join("\x67abc", "\x68a", "\x06s", "\x65pic"), codec.Unit{Picture: codec.Start, ParameterSets: true}, nil},
		"h264 P":                       {schemas.H264, join("\x09\xf0", "\x41pic"), codec.Unit{}, nil},
		"h264 SEI only":                {schemas.H264, join("\x06s"), codec.Unit{}, codec.ErrNoPicture},
		"h264 empty":                   {schemas.H264, nil, codec.Unit{}, codec.ErrNoPicture},
		"h264 annex B":                 {schemas.H264, []byte("\x00\x00\x00\x01\x65pic"), codec.Unit{}, codec.ErrNAL},
		"h264 cut":                     {schemas.H264, join("\x65pic")[:6], codec.Unit{}, codec.ErrNAL},
		"h264 tail":                    {schemas.H264, append(join("\x65pic"), 0), codec.Unit{}, codec.ErrNAL},
		"h264 zero length":             {schemas.H264, append(join("\x65pic"), 0, 0, 0, 0), codec.Unit{}, codec.ErrNAL},
		"h264 recovery":                {schemas.H264, join("\x67abc", "\x06\x06\x01\xc4\x80", "\x61\x88x"), codec.Unit{Picture: codec.Recovery, ParameterSets: true}, nil},
		"h264 recovery, 2nd message":   {schemas.H264, join("\x06\x05\xff\x01"+strings.Repeat("u", 256)+"\x06\x01\xc4\x80", "\x61\x88x"), codec.Unit{Picture: codec.Recovery}, nil},
		"h264 recovery, 2nd SEI":       {schemas.H264, join("\x06\x01\x01\x00\x80", "\x06\x06\x01\xc4\x80", "\x61\x88x"), codec.Unit{Picture: codec.Recovery}, nil},
		"h264 recovery behind zeros":   {schemas.H264, join("\x06\x05\x03\x00\x00\x03\x00\x06\x01\xc4\x80", "\x61\x88x"), codec.Unit{Picture: codec.Recovery}, nil},
		"h264 recovery in 9":           {schemas.H264, join("\x06\x06\x02\x14\x40\x80", "\x61\x9ax"), codec.Unit{Refresh: true}, nil},
		"h264 recovery in 9, I":        {schemas.H264, join("\x06\x06\x02\x14\x40\x80", "\x61\x88x"), codec.Unit{Refresh: true}, nil},
		"h264 recovery of a P":         {schemas.H264, join("\x06\x06\x01\xc4\x80", "\x61\x9ax"), codec.Unit{}, nil},
		"h264 recovery of an IDR":      {schemas.H264, join("\x06\x06\x01\xc4\x80", "\x65\x88x"), codec.Unit{Picture: codec.Start}, nil},
		"h264 recovery behind":         {schemas.H264, join("\x61\x88x", "\x06\x06\x01\xc4\x80"), codec.Unit{Intra: true}, nil},
		"h264 recovery cut":            {schemas.H264, join("\x06\x06\x05\xc4", "\x61\x88x"), codec.Unit{Intra: true}, nil},
		"h264 recovery empty":          {schemas.H264, join("\x06\x06\x00\x80", "\x61\x88x"), codec.Unit{Intra: true}, nil},
		"h264 I":                       {schemas.H264, join("\x61\x88x"), codec.Unit{Intra: true}, nil},
		"h264 I behind zeros":          {schemas.H264, join("\x61\x00\x00\x03\x00\x40\x00\x00\x0cx"), codec.Unit{Intra: true}, nil},
		"h264 B":                       {schemas.H264, join("\x01\x9ex"), codec.Unit{}, nil},
		"h264 B, others refer":         {schemas.H264, join("\x41\x9ex"), codec.Unit{ReferenceB: true}, nil},
		"h264 B, others refer, type 1": {schemas.H264, join("\x41\xa0x"), codec.Unit{ReferenceB: true}, nil},
		"h264 SI":                      {schemas.H264, join("\x61\x8ax"), codec.Unit{Intra: true}, nil},
		"h264 slice cut":               {schemas.H264, join("\x61"), codec.Unit{}, nil},
		"h265 recovery":                {schemas.H265, join("\x4e\x01\x06\x01\x88\x80", "\x02\x01x"), codec.Unit{Refresh: true}, nil},
		"h265 recovery of a CRA":       {schemas.H265, join("\x4e\x01\x06\x01\x88\x80", "\x2a\x01x"), codec.Unit{Picture: codec.CRA}, nil},
		"h265 other SEI":               {schemas.H265, join("\x4e\x01\x05\x01\x88\x80", "\x02\x01x"), codec.Unit{}, nil},
		"h265 IDR":                     {schemas.H265, join("\x40\x01v", "\x42\x01s", "\x44\x01p", "\x26\x01x"), codec.Unit{Picture: codec.Start, ParameterSets: true}, nil},
		"h265 BLA":                     {schemas.H265, join("\x20\x01x"), codec.Unit{Picture: codec.Start}, nil},
		"h265 CRA":                     {schemas.H265, join("\x2a\x01x"), codec.Unit{Picture: codec.CRA}, nil},
		"h265 RASL":                    {schemas.H265, join("\x10\x01x"), codec.Unit{Picture: codec.RASL}, nil},
		"h265 RADL":                    {schemas.H265, join("\x0c\x01x"), codec.Unit{Picture: codec.RADL}, nil},
		"h265 trailing":                {schemas.H265, join("\x02\x01x"), codec.Unit{}, nil},
		"h265 other layer":             {schemas.H265, join("\x26\x09x"), codec.Unit{}, codec.ErrNoPicture},
		"jpeg":                         {schemas.MJPEG, []byte{0xff, 0xd8, 0xff, 0xe0}, codec.Unit{Picture: codec.Start}, nil},
		"no jpeg":                      {schemas.MJPEG, []byte("RIFF"), codec.Unit{}, codec.ErrNoPicture},
	} {
		got, err := codec.Classify(c.codec, c.au)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %+v, %v; want %+v, %v", name, got, err, c.want, c.err)
		}
	}
}

// FuzzBytes gives random bytes to all functions that read input from outside.
func FuzzBytes(f *testing.F) {
	f.Add(codectest.H264{Reorder: 2, Units: 1, Scale: 60}.Config())
	f.Add(codectest.H265Config())
	f.Add(codectest.H264{}.SPS())
	f.Add(codectest.Unit264(true, 1, 30))
	f.Add(codectest.Unit265(21, 1, 30))
	f.Add(codec.JoinNALs([][]byte{[]byte("\x06\x06\x01\xc4\x80"), []byte("\x61\x88x")}))
	f.Add(codec.JoinNALs([][]byte{[]byte("\x4e\x01\x05\xff\x01\x06\x01\x88\x80"), []byte("\x02\x01x")}))
	f.Add([]byte{0x2b, 0x8a, 0x08, 0x00})
	f.Add([]byte{1, 3, 1, 0, 0x40, 0x1f, 0, 0, 0, 0xff, 1, 2, 1, 0, 1, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, c := range []schemas.Codec{schemas.H264, schemas.H265, schemas.MJPEG, schemas.AAC, schemas.Opus} {
			tr := schemas.Track{Codec: c, Timescale: 48000, Config: b}
			_, _ = codec.Name(tr)
			_, _ = codec.Video(c, b)
			_ = codec.FrameRate(c, b)
			_, _ = codec.ParameterSets(c, b)
			_, _ = codec.Classify(c, b)
			if d, err := codec.FrameDuration(tr); err == nil {
				d(b)
			}
		}
		if nals, err := codec.SplitNALs(b); err == nil && !bytes.Equal(codec.JoinNALs(nals), b) {
			t.Error("NAL units do not make the access unit again")
		}
		_, _ = codec.ParseOpusConfig(b)
	})
}
