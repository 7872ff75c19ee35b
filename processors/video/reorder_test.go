package video_test

import (
	"bytes"
	"testing"

	"github.com/Eyevinn/mp4ff/avc"
	"github.com/bluenviron/mediacommon/v2/pkg/bits"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"

	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/video"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/oracle/pictures"
	"github.com/framelog/framelog/tests/testmedia"
)

// withoutVUI removes the VUI from an SPS of the Main profile (ITU-T H.264 section
// 7.3.2.1.1): then it does not say how far pictures are reordered.
func withoutVUI(t *testing.T, nal []byte) []byte {
	t.Helper()
	b, at := h264.EmulationPreventionRemove(nal), 4*8
	ue := func() uint32 {
		v, err := bits.ReadGolombUnsigned(b, &at)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	flag := func() bool {
		v, err := bits.ReadFlag(b, &at)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if b[1] != 77 {
		t.Fatalf("profile %d", b[1])
	}
	for range 2 {
		ue() // id, log2_max_frame_num_minus4
	}
	if ue() == 0 { // pic_order_cnt_type
		ue()
	}
	ue() // max_num_ref_frames
	flag()
	for range 2 {
		ue() // size
	}
	if !flag() { // frame_mbs_only_flag
		flag()
	}
	flag()
	if flag() { // frame_cropping_flag
		for range 4 {
			ue()
		}
	}
	out := append([]byte(nil), b[:at/8+1]...)
	out[at/8] &= 0xff << (8 - at%8)   // vui_parameters_present_flag and what follows: 0
	out[at/8] |= 1 << (8 - at%8) >> 2 // rbsp_trailing_bits
	if at%8 == 7 {
		out = append(out, 0x80)
	}
	if bytes.Contains(out, []byte{0, 0}) {
		t.Fatalf("%x would need emulation prevention", out)
	}
	return out
}

// A stream that reorders pictures, and does not say how far, is decoded completely too.
func TestReorderedWithoutVUI(t *testing.T) {
	need(t)
	clip := testmedia.MakeClip(t, 2, false, "-c:v", "libx264", "-preset", "medium", "-profile:v", "main", "-g", "50", "-bf", "7", "-x264-params", "b-pyramid=normal:b-adapt=0:ref=4:scenecut=0")
	record, err := avc.DecodeAVCDecConfRec(clip.Tracks[0].Config)
	if err != nil {
		t.Fatal(err)
	}
	record.SPSnalus[0] = withoutVUI(t, record.SPSnalus[0])
	var config bytes.Buffer
	if err := record.Encode(&config); err != nil {
		t.Fatal(err)
	}
	clip.Tracks[0].Config = config.Bytes()
	if info, err := codec.Video(schemas.H264, config.Bytes()); err != nil || info.Reorder != -1 || info.Width != 320 || info.Height != 180 {
		t.Fatalf("the SPS says %+v, %v", info, err)
	}
	var all []*processors.Fragment
	for _, f := range clip.Fragments(place, 5) {
		all = append(all, processors.NewFragment("cam", f.Entry, f.Chunks...))
	}
	got := collect(t, video.Options{}, all...)
	want := pictures.Decode(t, clip.Path, "yuv420p", video.I420.Bytes(320, 180))
	if len(got) != len(want) {
		t.Fatalf("%d pictures of %d", len(got), len(want))
	}
	for i := range got {
		if !bytes.Equal(got[i].Data, want[i]) {
			t.Fatalf("picture %d is another one", i)
		}
	}
}
