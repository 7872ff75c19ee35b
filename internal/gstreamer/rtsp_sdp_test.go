package gstreamer

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/framelog/framelog/internal/rtspconn"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// Static payload types need no rtpmap (RFC 3551, 6); where there is one, it holds.
func TestStaticPayloadTypes(t *testing.T) {
	for _, c := range []struct {
		media, encoding string
		clock           uint32
	}{
		{"audio 0", "PCMU", 8000},
		{"audio 3", "GSM", 8000},
		{"audio 4", "G723", 0},
		{"audio 8", "PCMA", 8000},
		{"audio 9", "G722", 8000},
		{"audio 10", "L16", 44100},
		{"audio 11", "L16", 44100},
		{"audio 14", "MPA", 90000},
		{"audio 15", "G728", 0},
		{"audio 18", "G729", 8000},
		{"video 26", "JPEG", 90000},
		{"audio 14|rtpmap:14 PCMA/8000", "PCMA", 8000},
		{"audio 97|rtpmap:97 L16/16000", "L16", 16000},
		{"audio 97", "PAYLOAD-TYPE-97", 0},
		// Of another medium, and none of RFC 3551.
		{"audio 26", "PAYLOAD-TYPE-26", 0},
		{"audio 77", "PAYLOAD-TYPE-77", 0},
	} {
		t.Run(c.media, func(t *testing.T) {
			media, rtpmap, _ := strings.Cut(c.media, "|")
			kind, format, _ := strings.Cut(media, " ")
			sdp := fmt.Sprintf("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=%s 0 RTP/AVP %s\r\na=control:a\r\n", kind, format)
			if rtpmap != "" {
				sdp += "a=" + rtpmap + "\r\n"
			}
			r, err := OpenRTSP(rtspconn.Options{Location: "rtsp://" + testenv.ServeSDP(t, "200 OK", sdp) + "/", ConnectTimeout: testenv.Patience})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close(testenv.Patience)
			<-r.Done()
			if c.clock == 0 {
				if got, _ := r.NoSound(); got != c.encoding || len(r.Selected()) != 0 {
					t.Errorf("no sound: %q, selected: %+v", got, r.Selected())
				}
				return
			}
			id := schemas.AudioTrack
			if kind == "video" {
				id = schemas.VideoTrack
			}
			got := r.Selected()
			if len(got) != 1 || got[0] != (rtspconn.Track{ID: id, Encoding: c.encoding, ClockRate: c.clock}) {
				t.Errorf("selected: %+v", got)
			}
		})
	}
}

// configuration is a configuration of Vorbis (RFC 5215, 3.2.1) of three headers.
func configuration(comment string) []byte {
	first, last := "\x01vorbis"+strings.Repeat("i", 23), "\x05vorbis"+strings.Repeat("s", 3000)
	b := []byte{0, 0, 0, 1, 0xfe, 0xcd, 0xba}
	b = binary.BigEndian.AppendUint16(b, uint16(len(first)+len(comment)+len(last)))
	b = append(b, 2, byte(len(first)), byte(len(comment)))
	return append(b, first+comment+last...)
}

func TestVorbisCommentIsPutIn(t *testing.T) {
	text := base64.StdEncoding.EncodeToString
	bare, whole := configuration(""), configuration(string(vorbisComment))
	for _, tail := range []string{"", ";delivery-method=in_band", " ; a=b"} {
		for _, pad := range []string{text(bare), base64.RawStdEncoding.EncodeToString(bare)} {
			if got, want := withVorbisComment("97 configuration="+pad+tail), "97 configuration="+text(whole)+tail; got != want {
				t.Errorf("%q: %.60q, want %.60q", tail, got, want)
			}
		}
	}
	two := bytes.Clone(bare)
	two[3] = 2
	theora := bytes.Replace(bare, []byte("\x01vorbis"), []byte("\x80theora"), 1)
	long := bytes.Clone(bare)
	long[7], long[8] = 0xff, 0xff
	for name, v := range map[string]string{
		"whole":     "97 configuration=" + text(whole),
		"two sets":  "97 configuration=" + text(two),
		"theora":    "97 configuration=" + text(theora),
		"too long":  "97 configuration=" + text(long),
		"AAC":       "97 streamtype=5;config=1188",
		"no base64": "97 configuration=!!",
		"none":      "97",
	} {
		if got := withVorbisComment(v); got != v {
			t.Errorf("%s: changed to %.60q", name, got)
		}
	}
	for n := range 50 {
		withVorbisComment("97 configuration=" + text(bare[:n])) // does not panic
	}
}
