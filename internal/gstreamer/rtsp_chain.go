package gstreamer

import "strings"

// rtspChain is what stands between rtspsrc and the appsink for an encoding.
type rtspChain struct {
	// elements in launch syntax; the one named depay is the depayloader.
	stages []string
	// payload is the form of the video's packets, for rtsp.c.
	payload int
	// delay is the samples that an encoder puts before the first.
	delay int64
}

// appsink without a clock, a preroll or copies of its own.
const rtspSink = "appsink name=sink sync=false async=false enable-last-sample=false wait-on-eos=false qos=false"

// soundShield keeps a failure of the sound's elements from rtspsrc, which would
// end the whole connection over it.
const soundShield = "errorignore name=shield convert-to=not-linked"

// aacDelay is the priming of libavcodec's AAC encoder in samples: one frame,
// which it puts before the sound and GStreamer does not take off. The test of
// the beep holds it true.
const aacDelay = 1024

// As in rtsp.h.
const (
	payloadH264 = 1 + iota
	payloadH265
	payloadJPEG
)

// rtspChains by encoding name of SDP, in upper case: what the log keeps as the
// camera sends it.
//
// H.264 and H.265 leave the depayloader with lengths instead of start codes:
// byte streams are searched and get delimiters. It takes parameter sets out of
// the stream then, and config-interval=-1 has the parser put them back before
// each IDR, so that they stand in band and in the decoder configuration.
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

// soundDepayloaders are those whose sound is decoded, with options that they need.
// A camera must not be able to end the process, and some depayloaders of GStreamer
// 1.22 abort it over a packet that makes no sense, or crash: those of robust MP3
// (RFC 5219), QCELP and SBC. Put a new one in when
// TestNoiseAsSoundHarmsNothing has it.
var soundDepayloaders = map[string]string{
	"rtppcmudepay":   "",
	"rtppcmadepay":   "",
	"rtpg722depay":   "",
	"rtpg726depay":   "force-aal2=false", // else the names of RFC 3551 count as AAL2's, whose bits stand in the other order
	"rtpg729depay":   "",
	"rtpgsmdepay":    "",
	"rtpamrdepay":    "",
	"rtpL8depay":     "",
	"rtpL16depay":    "",
	"rtpL24depay":    "",
	"rtpmpadepay":    "",
	"rtpac3depay":    "",
	"rtpspeexdepay":  "",
	"rtpvorbisdepay": "",
}

// toAAC is for sound that no browser plays: decoded by what GStreamer's registry
// has for it, and encoded once.
func toAAC(depayloader string) *rtspChain {
	return &rtspChain{
		stages: []string{
			soundShield, depayloader + " name=depay " + soundDepayloaders[depayloader], "decodebin",
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
