package hls

import (
	"strings"

	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/schemas"
)

// Codecs returns the CODECS attribute of tracks (RFC 8216bis section 4.4.6.2).
func Codecs(tracks []schemas.Track) string {
	var all []string
	for _, t := range tracks {
		if s := codecString(t); s != "" {
			all = append(all, s)
		}
	}
	return strings.Join(all, ",")
}

// codecString is empty for a track that HLS does not carry or that has no name.
func codecString(t schemas.Track) string {
	name, err := codec.Name(t)
	if err != nil || t.Codec == schemas.MJPEG {
		return ""
	}
	return name
}

// frameRate returns the frames per second in the parameter sets of the video, 0 if
// they have no plausible value.
func frameRate(tracks []schemas.Track) float64 {
	for _, t := range tracks {
		if fps := codec.FrameRate(t.Codec, t.Config); fps > 0 {
			return fps
		}
	}
	return 0
}
