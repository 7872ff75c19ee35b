package native

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/gortsplib/v5/pkg/headers"
	"github.com/bluenviron/gortsplib/v5/pkg/sdpunmarshaler"
	"github.com/pion/sdp/v3"

	"github.com/framelog/framelog/internal/rtspconn"
	"github.com/framelog/framelog/schemas"
)

// stream is a media section of SDP.
type stream struct {
	rtspconn.Track
	kind       string            // "video", "audio"
	parameters map[string]string // of fmtp (RFC 8866, 6.15), with names in lower case
	sendOnly   bool              // the section is for sound to the camera
	framesize  bool              // pictures are larger than RFC 2435 can say

	media  *description.Media
	format *format.Generic
	url    string // that SETUP asked for
}

// notSound are encodings in audio sections of SDP that are no sound: telephone
// keys (RFC 4733), and comfort noise (RFC 3389).
var notSound = map[string]bool{"TELEPHONE-EVENT": true, "CN": true}

// choose selects the first video and the first sound of SDP, which must be something that
// is recorded.
func (c *Conn) choose(body []byte) ([]*stream, error) {
	all := streamsOf(body)
	receives := slices.ContainsFunc(all, func(s *stream) bool { return !s.sendOnly })
	var chosen []*stream
	has := func(id uint8) bool {
		return slices.ContainsFunc(chosen, func(s *stream) bool { return s.ID == id })
	}
	lost := "" // encoding of the first sound that cannot be recorded
	for _, s := range all {
		switch {
		case s.kind == "audio" && (c.opt.NoAudio || s.sendOnly && receives || notSound[s.Encoding]), s.kind != "audio" && s.kind != "video", has(s.ID):
		case s.records():
			chosen = append(chosen, s)
		case s.kind == "video":
			return nil, &rtspconn.UnsupportedError{Encoding: s.Encoding}
		default:
			lost = cmp.Or(lost, s.Encoding)
		}
	}
	if !has(schemas.VideoTrack) {
		return nil, &rtspconn.Error{Failure: rtspconn.NoStreams, Detail: "SDP"}
	}
	if has(schemas.AudioTrack) {
		lost = ""
	}
	if err := c.incapable(chosen, lost); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noSound, c.selected = lost, nil
	for _, s := range chosen {
		c.selected = append(c.selected, s.Track)
		c.tracks[s.ID] = newTrack(s, c.opt)
	}
	return chosen, nil
}

// incapable returns an *rtspconn.IncapableError where GStreamer's engine would do more; without
// Strict only where this one would record nothing.
func (c *Conn) incapable(chosen []*stream, sound string) error {
	switch {
	case slices.ContainsFunc(chosen, func(s *stream) bool { return s.framesize }):
		return &rtspconn.IncapableError{What: "its pictures are wider or higher than 2040 pixels, and MJPEG"}
	case !c.opt.Strict:
		return nil
	case sound != "":
		return &rtspconn.IncapableError{What: "its sound is " + sound + ", which must be converted"}
	case slices.ContainsFunc(chosen, (*stream).extendedAAC):
		return &rtspconn.IncapableError{What: "its sound is AAC of another kind than LC"}
	}
	return nil
}

// extendedAAC reports whether the sound is AAC with SBR or the like, whose rate has two
// meanings (ISO/IEC 14496-3, 1.6.5).
func (s *stream) extendedAAC() bool {
	const lc = 2
	config := s.config()
	return s.Encoding == "MPEG4-GENERIC" && len(config) > 0 && config[0]>>3 != lc
}

// records tells whether this engine records the encoding.
func (s *stream) records() bool {
	if s.ClockRate == 0 {
		return false
	}
	switch s.Encoding {
	case "H264", "H265", "JPEG":
		return s.kind == "video"
	case "MPEG4-GENERIC", "OPUS":
		return s.kind == "audio"
	}
	return false
}

// streamsOf reads SDP as far as it can be read.
func streamsOf(body []byte) (all []*stream) {
	parsed, err := sdpunmarshaler.Unmarshal(body)
	if err != nil {
		return nil
	}
	for _, md := range parsed.MediaDescriptions {
		if s := streamOf(md); s != nil {
			all = append(all, s)
		}
	}
	return all
}

// streamOf reads the first payload type of a media section; nil: there is none.
func streamOf(md *sdp.MediaDescription) *stream {
	if len(md.MediaName.Formats) == 0 {
		return nil
	}
	payload, err := strconv.ParseUint(md.MediaName.Formats[0], 10, 7)
	if err != nil {
		return nil
	}
	s := &stream{kind: md.MediaName.Media, parameters: map[string]string{}}
	s.ID = map[string]uint8{"video": schemas.VideoTrack, "audio": schemas.AudioTrack}[s.kind]
	rtpmap := cmp.Or(attributeOf(md, "rtpmap", payload), staticTypes[payload])
	name, rest, _ := strings.Cut(rtpmap, "/")
	s.Encoding = strings.ToUpper(cmp.Or(strings.TrimSpace(name), fmt.Sprintf("PAYLOAD-TYPE-%d", payload)))
	rate, _, _ := strings.Cut(rest, "/")
	if n, err := strconv.ParseUint(strings.TrimSpace(rate), 10, 31); err == nil {
		s.ClockRate = uint32(n)
	}
	for p := range strings.SplitSeq(attributeOf(md, "fmtp", payload), ";") {
		if k, v, ok := strings.Cut(strings.TrimSpace(p), "="); ok {
			s.parameters[strings.ToLower(k)] = v
		}
	}
	if s.kind == "video" {
		s.FrameTime = frameTime(md)
	}
	_, s.sendOnly = md.Attribute("sendonly")
	s.framesize = s.Encoding == "JPEG" && oversized(md)

	s.format = &format.Generic{PayloadTyp: uint8(payload), RTPMa: rtpmap, ClockRat: int(s.ClockRate)}
	s.media = &description.Media{Type: description.MediaType(s.kind), Profile: headers.TransportProfileAVP, Formats: []format.Format{s.format}}
	s.media.Control, _ = md.Attribute("control")
	var whole description.Media
	if whole.Unmarshal(md) == nil { // for SRTP inside of rtsps
		s.media.Profile, s.media.KeyMgmtMikey = whole.Profile, whole.KeyMgmtMikey
	}
	return s
}

// staticTypes are payload types that need no rtpmap (RFC 3551, 6). Those of sound are there
// for their names.
var staticTypes = map[uint64]string{
	0: "PCMU/8000", 3: "GSM/8000", 4: "G723/8000", 8: "PCMA/8000", 9: "G722/8000", 10: "L16/44100/2", 11: "L16/44100",
	14: "MPA/90000", 15: "G728/8000", 18: "G729/8000", 26: "JPEG/90000",
}

// attributeOf returns what an attribute says of a payload type.
func attributeOf(md *sdp.MediaDescription, name string, payload uint64) string {
	for _, a := range md.Attributes {
		if a.Key != name {
			continue
		}
		if n, v, ok := strings.Cut(strings.TrimSpace(a.Value), " "); ok && n == strconv.FormatUint(payload, 10) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// frameTime reads the duration of a picture (RFC 8866, 6.13, and the x-framerate of older
// cameras).
func frameTime(md *sdp.MediaDescription) time.Duration {
	for _, name := range []string{"framerate", "x-framerate"} {
		v, _ := md.Attribute(name)
		if rate, err := strconv.ParseFloat(strings.TrimSpace(v), 64); err == nil && rate >= 0.1 && rate <= 1000 {
			return time.Duration(float64(time.Second) / rate)
		}
	}
	return 0
}

// maxJPEG is the largest width and height that a packet of RFC 2435 can say.
const maxJPEG = 255 * 8

// oversized reports whether MJPEG has larger pictures. Cameras that send such say their size
// in one of two attributes.
func oversized(md *sdp.MediaDescription) bool {
	dimensions, _ := md.Attribute("x-dimensions") // 2592,1944
	framesize, _ := md.Attribute("framesize")     // 26 2592-1944 (3GPP TS 26.234)
	_, framesize, _ = strings.Cut(framesize, " ")
	for _, n := range strings.FieldsFunc(dimensions+","+framesize, func(r rune) bool { return r < '0' || r > '9' }) {
		if v, err := strconv.Atoi(n); err == nil && v > maxJPEG {
			return true
		}
	}
	return false
}

// parameterSets returns the NAL units in the SDP of H.264 (RFC 6184, 8.1) or H.265
// (RFC 7798, 7.1).
func (s *stream) parameterSets() (nals [][]byte) {
	for _, name := range []string{"sprop-parameter-sets", "sprop-vps", "sprop-sps", "sprop-pps"} {
		for v := range strings.SplitSeq(s.parameters[name], ",") {
			b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(v), "="))
			b = []byte(strings.TrimPrefix(string(b), "\x00\x00\x00\x01")) // some cameras put a start code before it
			if err == nil && len(b) > 0 {
				nals = append(nals, b)
			}
		}
	}
	return nals
}

// number returns a parameter, or 0.
func (s *stream) number(name string) int {
	n, err := strconv.ParseUint(s.parameters[name], 10, 5) // of AAC: lengths in bits
	if err != nil {
		return 0
	}
	return int(n)
}

// config returns the configuration of AAC in SDP (RFC 3640, 4.1).
func (s *stream) config() []byte {
	b, err := hex.DecodeString(s.parameters["config"])
	if err != nil {
		return nil
	}
	return b
}

// rtpInfo reads the RTP times of the start (RFC 2326, 12.33) in the answer to PLAY, by track.
func rtpInfo(answer *base.Response, streams []*stream) map[uint8]uint32 {
	var entries headers.RTPInfo
	if err := entries.Unmarshal(answer.Header["RTP-Info"]); err != nil {
		return nil
	}
	times := map[uint8]uint32{}
	for i, e := range entries {
		if e.Timestamp == nil {
			continue
		}
		at := slices.IndexFunc(streams, func(s *stream) bool {
			return e.URL != "" && (s.url == e.URL || strings.HasSuffix(s.url, "/"+strings.TrimPrefix(e.URL, "/")))
		})
		if at < 0 && len(entries) == len(streams) {
			at = i // a camera that writes its URL otherwise
		}
		if at >= 0 {
			times[streams[at].ID] = *e.Timestamp
		}
	}
	return times
}
