package gstreamer

import "strings"

// rtspChain is the elements between rtspsrc and the appsink for an encoding.
type rtspChain struct {
	// elements in launch syntax; the one named depay is the depayloader.
	stages []string
	// payload is the form of the packets, if rtsp.c must know it; else 0.
	payload int
	// delay is the samples that an encoder puts before the first.
	delay int64
}

// appsink without a clock, a preroll or copies of its own.
const rtspSink = "appsink name=sink sync=false async=false enable-last-sample=false wait-on-eos=false qos=false"

// soundShield hides a failure of the sound's elements from rtspsrc, which would
// end the whole connection because of it.
const soundShield = "errorignore name=shield convert-to=not-linked"

// aacDelay is the priming of libavcodec's AAC encoder in samples: one frame. The
// encoder puts it before the sound, and GStreamer does not remove it. The test with
// the beep checks it.
const aacDelay = 1024

// As in rtsp.h.
const (
	payloadH264 = 1 + iota
	payloadH265
	payloadJPEG
)

// payloadG726 + n is G.726 with codewords of n bits.
const payloadG726 = 16

// rtspChains by encoding name of SDP, in upper case: what the log keeps as the
// camera sends it.
//
// H.264 and H.265 leave the depayloader with lengths instead of start codes:
// byte streams are searched and get delimiters. It takes parameter sets out of
// the stream then, and config-interval=-1 makes the parser put them back before
// each IDR, so that they are in band and in the decoder configuration.
var rtspChains = map[string]*rtspChain{
	"H264": {payload: payloadH264, stages: []string{
		"rtph264depay name=depay", "video/x-h264,stream-format=avc,alignment=au",
		"h264parse config-interval=-1", "video/x-h264,stream-format=avc,alignment=au",
	}},
	"H265": {payload: payloadH265, stages: []string{
		"rtph265depay name=depay", "video/x-h265,stream-format=hvc1,alignment=au",
		"h265parse config-interval=-1", "video/x-h265,stream-format=hvc1,alignment=au",
	}},
	"JPEG": {payload: payloadJPEG, stages: []string{"rtpjpegdepay name=depay"}},

	"MPEG4-GENERIC": {stages: []string{soundShield, "rtpmp4gdepay name=depay", "aacparse", "audio/mpeg,mpegversion=4,stream-format=raw"}},
	"MP4A-LATM":     {stages: []string{soundShield, "rtpmp4adepay name=depay", "aacparse", "audio/mpeg,mpegversion=4,stream-format=raw"}},
	"OPUS":          {stages: []string{soundShield, "rtpopusdepay name=depay"}},
}

// soundDepayloaders are the depayloaders that are used for sound that is decoded. A
// camera must not be able to end the process, and some depayloaders of GStreamer 1.22
// crash or abort it if a packet is invalid: those of robust MP3 (RFC 5219), QCELP and
// SBC. Before one is added here, it must pass TestNoiseAsSoundHarmsNothing.
var soundDepayloaders = map[string]bool{
	"rtppcmudepay":   true,
	"rtppcmadepay":   true,
	"rtpg722depay":   true,
	"rtpg726depay":   true,
	"rtpg729depay":   true,
	"rtpgsmdepay":    true,
	"rtpamrdepay":    true,
	"rtpL8depay":     true,
	"rtpL16depay":    true,
	"rtpL24depay":    true,
	"rtpmpadepay":    true,
	"rtpac3depay":    true,
	"rtpspeexdepay":  true,
	"rtpvorbisdepay": true,
}

// g726Payloads are the encodings of RFC 3551 by name. Those of AAL2 have another order
// of bits, the one that decoders expect.
var g726Payloads = map[string]int{
	"G726": payloadG726 + 4, "G726-16": payloadG726 + 2, "G726-24": payloadG726 + 3, "G726-32": payloadG726 + 4, "G726-40": payloadG726 + 5,
}

// toAAC is the chain for sound that no browser plays: a decoder from GStreamer's
// registry, and one encoder.
func toAAC(encoding, depayloader string) *rtspChain {
	return &rtspChain{
		payload: g726Payloads[encoding],
		stages: []string{
			soundShield, depayloader + " name=depay", "decodebin",
			"audioconvert name=convert", "audioresample", "audio/x-raw,rate=48000,channels=[1,2]", "avenc_aac bitrate=64000",
		},
		delay: aacDelay,
	}
}

func (c *rtspChain) description() string {
	return strings.Join(c.stages, " ! ") + " ! " + rtspSink
}

func (c *rtspChain) elements() []string {
	names := []string{"appsink"}
	for _, s := range c.stages {
		if name, _, _ := strings.Cut(s, " "); !strings.Contains(name, "/") {
			names = append(names, name)
		}
	}
	return names
}
