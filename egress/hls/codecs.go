package hls

import (
	"strings"

	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/schemas"
)

// Codecs is the CODECS attribute (RFC 6381) of tracks.
func Codecs(tracks []schemas.Track) string {
	var all []string
	for _, t := range tracks {
		if s := codecString(t); s != "" {
			all = append(all, s)
		}
	}
	return strings.Join(all, ",")
}

// codecString is empty for a track that has no name or no place in HLS.
func codecString(t schemas.Track) string {
	name, err := codec.Name(t)
	if err != nil || t.Codec == schemas.MJPEG {
		return ""
	}
	return name
}

// frameRate is the frames a second that the video's parameter sets state, or 0
// where they state none that could be true.
func frameRate(tracks []schemas.Track) float64 {
	for _, t := range tracks {
		if fps := codec.FrameRate(t.Codec, t.Config); fps > 0 {
			return fps
		}
	}
	return 0
}
