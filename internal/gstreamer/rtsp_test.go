package gstreamer

import (
	"errors"
	"fmt"
	"runtime/cgo"
	"testing"
	"time"

	"github.com/go-gst/go-gst/gst"

	"github.com/framelog/framelog/internal/rtspconn"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// Each kind of sound passes its chain: packets in, frames of the log's codecs
// out, without holes. (Whole cameras are tested in ingest/rtsp.)
func TestRTSPSoundChains(t *testing.T) {
	if err := Init(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		encoding string
		clock    uint32
		pay      string // from raw sound on
		codec    schemas.Codec
		frame    int64 // ticks of the output's timescale
	}{
		{"PCMU", 8000, "audio/x-raw,rate=8000 ! mulawenc ! rtppcmupay", schemas.AAC, 1024},
		{"PCMA", 8000, "audio/x-raw,rate=8000 ! alawenc ! rtppcmapay", schemas.AAC, 1024},
		{"G722", 8000, "audio/x-raw,rate=16000,channels=1 ! avenc_g722 ! rtpg722pay", schemas.AAC, 1024},
		{"L16", 44100, "audio/x-raw,rate=44100,channels=2 ! rtpL16pay", schemas.AAC, 1024},
		{"G726-32", 8000, "audio/x-raw,rate=8000,channels=1 ! avenc_g726 bitrate=32000 ! rtpg726pay", schemas.AAC, 1024},
		{"MPA", 90000, "audio/x-raw,rate=44100,channels=2 ! lamemp3enc ! mpegaudioparse ! rtpmpapay", schemas.AAC, 1024},
		{"AC3", 48000, "audio/x-raw,rate=48000,channels=2 ! avenc_ac3 ! ac3parse ! rtpac3pay", schemas.AAC, 1024},
		{"SPEEX", 16000, "audio/x-raw,rate=16000,channels=1 ! speexenc ! rtpspeexpay", schemas.AAC, 1024},
		{"VORBIS", 48000, "audio/x-raw,rate=48000,channels=2 ! vorbisenc ! rtpvorbispay", schemas.AAC, 1024},
		{"OPUS", 48000, "audio/x-raw,rate=48000 ! opusenc ! rtpopuspay", schemas.Opus, 960},
		{"OPUS", 48000, "audio/x-raw,rate=16000 ! opusenc ! rtpopuspay", schemas.Opus, 960}, // says sprop-maxcapturerate=16000
		{"MPEG4-GENERIC", 44100, "audio/x-raw,rate=44100,channels=2 ! avenc_aac ! rtpmp4gpay", schemas.AAC, 1024},
		{"MP4A-LATM", 48000, "audio/x-raw,rate=48000,channels=2 ! avenc_aac ! rtpmp4apay", schemas.AAC, 1024},
	} {
		t.Run(c.encoding, func(t *testing.T) {
			caps := gst.NewCapsFromString(fmt.Sprintf("application/x-rtp,media=audio,payload=97,encoding-name=%s,clock-rate=%d", c.encoding, c.clock))
			chain := chainOf(rtspconn.Track{ID: schemas.AudioTrack, Encoding: c.encoding, ClockRate: c.clock}, caps)
			if chain == nil {
				t.Fatal("no chain")
			}
			r := &RTSP{
				queue:   rtspconn.NewQueue(4096, 1<<20),
				tracks:  map[uint8]*rtspTrack{},
				reports: map[uint32]rtspReport{},
				done:    make(chan struct{}),
			}
			r.tracks[schemas.AudioTrack] = &rtspTrack{
				Track:     rtspconn.Track{ID: schemas.AudioTrack, Encoding: c.encoding, ClockRate: c.clock},
				timescale: c.clock, delay: chain.delay,
			}
			r.handle = cgo.NewHandle(r)
			r.wait()
			p, err := gst.NewPipelineFromString("audiotestsrc num-buffers=200 ! audioconvert ! audioresample ! " +
				c.pay + " timestamp-offset=4294960000 ! " + chain.description())
			if err != nil {
				t.Fatal(err)
			}
			r.pipeline = p
			r.watchBus()
			defer r.Close(testenv.Patience)
			depay, err := p.GetElementByName("depay")
			if err != nil {
				t.Fatal(err)
			}
			sink, err := p.GetElementByName("sink")
			if err != nil {
				t.Fatal(err)
			}
			watchDecoded(p.Bin, c.clock)
			r.watch(depay, sink, schemas.AudioTrack, c.clock, chain.payload)
			if err := p.SetState(gst.StatePlaying); err != nil {
				t.Fatal(err)
			}
			var items []rtspconn.Item
			limit := time.After(testenv.Patience)
			for done := false; !done; {
				select {
				case <-time.After(10 * time.Millisecond):
				case <-r.Done():
					if !errors.Is(r.Err(), rtspconn.ErrEnded) {
						t.Fatal(r.Err())
					}
					done = true
				case <-limit:
					t.Fatalf("no end; %d items", len(items))
				}
				items = append(items, r.Take()...)
			}
			if len(items) < 50 || items[0].Format == nil || items[0].Format.Codec != c.codec {
				t.Fatalf("%d items, the first %+v", len(items), items)
			}
			for i, it := range items[1:] {
				if it.Format != nil {
					t.Fatalf("format again: %+v", it.Format)
				}
				// Payloaders round each time down; the Opus encoder's first
				// frame is cut.
				slack := int64(1)
				if chain.delay > 0 {
					slack = 0
				}
				if d := it.Unit.PTS - items[i].Unit.PTS - c.frame; i > 1 && (d < -slack || d > slack) {
					t.Errorf("frame %d is %d ticks off", i, d)
				}
				if it.Unit.Lost != 0 || it.Unit.Damaged {
					t.Errorf("frame %d: %+v", i, it.Unit)
				}
			}
			s, rate, ok := r.Start(schemas.AudioTrack)
			if !ok || rate != c.clock {
				t.Fatal("no start")
			}
			out := int64(48000)
			if c.codec == schemas.AAC && chain.delay == 0 {
				out = int64(items[0].Format.Rate)
			}
			want := schemas.Rescale(s.Time, c.clock, uint32(out)) - chain.delay
			// Vorbis has no time for what came in the first packet.
			if d := items[1].Unit.PTS - want; c.encoding != "VORBIS" && (d < -1 || d > 1) {
				t.Errorf("the first frame is at %d, want %d", items[1].Unit.PTS, want)
			}
		})
	}
}

// Sound without a decoder has no chain, nor what would crash GStreamer.
func TestRTSPSoundWithoutChain(t *testing.T) {
	if err := Init(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		encoding string
		clock    uint32
	}{{"EVS", 16000}, {"BV16", 8000}, {"ISAC", 16000}, {"MPA-ROBUST", 90000}, {"QCELP", 8000}, {"SBC", 16000}, {"TELEPHONE-EVENT", 8000}, {"CN", 8000}, {"G726-32", 16000}} {
		caps := gst.NewCapsFromString(fmt.Sprintf("application/x-unknown,media=audio,payload=97,encoding-name=%s,clock-rate=%d", c.encoding, c.clock))
		if chain := chainOf(rtspconn.Track{ID: schemas.AudioTrack, Encoding: c.encoding, ClockRate: c.clock}, caps); chain != nil {
			t.Errorf("%s: %s", c.encoding, chain.description())
		}
	}
}

// Ticks go to nanoseconds and back without loss, over all of a camera's times.
func TestTicksAreExact(t *testing.T) {
	for _, rate := range []uint32{8000, 11025, 16000, 44100, 48000, 90000} {
		for _, ext := range []int64{0, 1, 1<<31 - 1, 1<<32 - 1, 1 << 32, 1<<33 + 7, -1, -90000 * 3600, 1<<40 + 12345} {
			for d := range int64(50) {
				// As gst_util_uint64_scale does, rounded down.
				biased := ext + d + 1<<32
				ns := uint64(biased/int64(rate))*1e9 + uint64(biased%int64(rate))*1e9/uint64(rate)
				if got := schemas.Rescale(rtpSinceZero(ns, rate), uint32(time.Second), rate); got != ext+d {
					t.Fatalf("%d at %d Hz became %d", ext+d, rate, got)
				}
			}
		}
	}
}
