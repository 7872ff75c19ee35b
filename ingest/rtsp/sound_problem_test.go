package rtsp

import "testing"

func TestCannotDecode(t *testing.T) {
	for encoding, want := range map[string]string{
		"G723":            "the sound is G.723, which GStreamer here cannot decode: recorded without sound; set AAC, G.711 or Opus on the camera",
		"PAYLOAD-TYPE-77": "the sound is payload type 77, which GStreamer here cannot decode: recorded without sound; set AAC, G.711 or Opus on the camera",
		"EVS":             "the sound is EVS, which GStreamer here cannot decode: recorded without sound; set AAC, G.711 or Opus on the camera",
		"MPA":             "the sound is MP3, which GStreamer here cannot decode: recorded without sound; set AAC, G.711 or Opus on the camera",
		"MPEG4-GENERIC":   "the sound is announced as AAC and cannot be read as that: recorded without sound; set another kind of sound on the camera",
		"aac":             "the sound is announced as AAC and cannot be read as that: recorded without sound; set another kind of sound on the camera",
		"OPUS":            "the sound is announced as Opus and cannot be read as that: recorded without sound; set another kind of sound on the camera",
	} {
		if got := cannotDecode(encoding); got != want {
			t.Errorf("%s: %q", encoding, got)
		}
	}
}
