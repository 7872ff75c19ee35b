package gstreamer

// #include <stdlib.h>
import "C"

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math"
	"slices"
	"strings"
)

// framelogRTSPParameters is called by rtsp_sdp.c with the value of each fmtp
// attribute. It returns a new value, which the caller frees, or nil if the value
// stays the same.
//
//export framelogRTSPParameters
func framelogRTSPParameters(value *C.char) *C.char {
	v := C.GoString(value)
	if changed := withVorbisComment(v); changed != v {
		return C.CString(changed)
	}
	return nil
}

// withVorbisComment puts an empty comment header into the configuration of Vorbis
// (RFC 5215, 3.2.1) if it has none: ffmpeg leaves it out, and decoders wait for all
// three headers.
func withVorbisComment(fmtp string) string {
	const name = "configuration="
	from := strings.Index(fmtp, name)
	if from < 0 {
		return fmtp
	}
	from += len(name)
	to := len(fmtp)
	if n := strings.IndexAny(fmtp[from:], "; "); n >= 0 {
		to = from + n
	}
	config, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(fmtp[from:to], "="))
	if err != nil {
		return fmtp
	}
	if config = addVorbisComment(config); config == nil {
		return fmtp
	}
	return fmtp[:from] + base64.StdEncoding.EncodeToString(config) + fmtp[to:]
}

// vorbisComment is a comment header without a vendor and without comments.
var vorbisComment = []byte("\x03vorbis\x00\x00\x00\x00\x00\x00\x00\x00\x01")

// addVorbisComment returns a configuration of one set of headers with a comment
// header, or nil if config is no such configuration or has a comment header.
//
// Fields before the headers: number of sets (4 bytes); the set's name (3 bytes);
// length of its headers (2 bytes); number of headers minus one (1 byte); the
// length of each header except the last.
func addVorbisComment(config []byte) []byte {
	const (
		length         = 7
		count          = 9
		comment        = 11
		headers        = 12
		identification = 30 // bytes of the first header
	)
	if len(config) <= headers+identification || binary.BigEndian.Uint32(config) != 1 || config[count] != 2 ||
		config[comment-1] != identification || config[comment] != 0 || !bytes.HasPrefix(config[headers:], []byte("\x01vorbis")) {
		return nil
	}
	total := int(binary.BigEndian.Uint16(config[length:])) + len(vorbisComment)
	if total > math.MaxUint16 {
		return nil
	}
	config = slices.Insert(config, headers+identification, vorbisComment...)
	binary.BigEndian.PutUint16(config[length:], uint16(total))
	config[comment] = byte(len(vorbisComment))
	return config
}
