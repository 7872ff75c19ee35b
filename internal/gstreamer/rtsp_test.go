package gstreamer

import (
	"errors"
	"fmt"
	"math"
	"runtime/cgo"
	"testing"
	"time"

	"github.com/go-gst/go-gst/gst"

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
		media    string
		frame    int64 // ticks of the output's timescale
	}{
		{"PCMU", 8000, "audio/x-raw,rate=8000 ! mulawenc ! rtppcmupay", "audio/mpeg", 1024},
		{"PCMA", 8000, "audio/x-raw,rate=8000 ! alawenc ! rtppcmapay", "audio/mpeg", 1024},
		{"G722", 8000, "audio/x-raw,rate=16000,channels=1 ! avenc_g722 ! rtpg722pay", "audio/mpeg", 1024},
		{"L16", 44100, "audio/x-raw,rate=44100,channels=2 ! rtpL16pay", "audio/mpeg", 1024},
		{"G726-32", 8000, "audio/x-raw,rate=8000,channels=1 ! avenc_g726 bitrate=32000 ! rtpg726pay", "audio/mpeg", 1024},
		{"MPA", 90000, "audio/x-raw,rate=44100,channels=2 ! lamemp3enc ! mpegaudioparse ! rtpmpapay", "audio/mpeg", 1024},
		{"AC3", 48000, "audio/x-raw,rate=48000,channels=2 ! avenc_ac3 ! ac3parse ! rtpac3pay", "audio/mpeg", 1024},
		{"SPEEX", 16000, "audio/x-raw,rate=16000,channels=1 ! speexenc ! rtpspeexpay", "audio/mpeg", 1024},
		{"VORBIS", 48000, "audio/x-raw,rate=48000,channels=2 ! vorbisenc ! rtpvorbispay", "audio/mpeg", 1024},
		{"OPUS", 48000, "audio/x-raw,rate=48000 ! opusenc ! rtpopuspay", "audio/x-opus", 960},
		{"OPUS", 48000, "audio/x-raw,rate=16000 ! opusenc ! rtpopuspay", "audio/x-opus", 960}, // says sprop-maxcapturerate=16000
		{"MPEG4-GENERIC", 44100, "audio/x-raw,rate=44100,channels=2 ! avenc_aac ! rtpmp4gpay", "audio/mpeg", 1024},
		{"MP4A-LATM", 48000, "audio/x-raw,rate=48000,channels=2 ! avenc_aac ! rtpmp4apay", "audio/mpeg", 1024},
	} {
		t.Run(c.encoding, func(t *testing.T) {
			caps := gst.NewCapsFromString(fmt.Sprintf("application/x-rtp,media=audio,payload=97,encoding-name=%s,clock-rate=%d", c.encoding, c.clock))
			chain := chainOf(RTSPTrack{ID: schemas.AudioTrack, Encoding: c.encoding, ClockRate: c.clock}, caps)
			if chain == nil {
				t.Fatal("no chain")
			}
			r := &RTSP{
				queue:   newRTSPQueue(4096, 1<<20),
				tracks:  map[uint8]*rtspTrack{},
				reports: map[uint32]rtspReport{},
				done:    make(chan struct{}),
			}
			r.tracks[schemas.AudioTrack] = &rtspTrack{
				RTSPTrack: RTSPTrack{ID: schemas.AudioTrack, Encoding: c.encoding, ClockRate: c.clock},
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
			var items []RTSPItem
			limit := time.After(testenv.Patience)
			for done := false; !done; {
				select {
				case <-time.After(10 * time.Millisecond):
				case <-r.Done():
					if !errors.Is(r.Err(), ErrRTSPEnded) {
						t.Fatal(r.Err())
					}
					done = true
				case <-limit:
					t.Fatalf("no end; %d items", len(items))
				}
				items = append(items, r.Take()...)
			}
			if len(items) < 50 || items[0].Format == nil || items[0].Format.Media != c.media {
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
			if c.media == "audio/mpeg" && chain.delay == 0 {
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
		if chain := chainOf(RTSPTrack{ID: schemas.AudioTrack, Encoding: c.encoding, ClockRate: c.clock}, caps); chain != nil {
			t.Errorf("%s: %s", c.encoding, chain.description())
		}
	}
}

func TestExtend(t *testing.T) {
	for _, c := range []struct {
		base int64
		v    uint32
		want int64
	}{
		{0, 0, 0},
		{0, math.MaxUint32, -1},
		{1<<32 - 10, 5, 1<<32 + 5},
		{1<<32 + 5, math.MaxUint32 - 4, 1<<32 - 5},
		{5 << 32, 1 << 30, 5<<32 + 1<<30},
	} {
		if got := extend(c.base, c.v); got != c.want {
			t.Errorf("extend(%d, %d) is %d, want %d", c.base, c.v, got, c.want)
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

func TestNTP(t *testing.T) {
	for v, want := range map[uint64]string{
		0xE0000000_80000000: "2019-02-02T11:39:44.5Z",
		0x00000000_40000000: "2036-02-07T06:28:16.25Z",
	} {
		if got := fromNTP(v).UTC().Format(time.RFC3339Nano); got != want {
			t.Errorf("%x is %s, want %s", v, got, want)
		}
	}
}

func nal(header ...byte) []byte {
	return append([]byte{0, 0, 0, byte(len(header) + 3)}, append(header, 1, 2, 3)...)
}

func TestRTSPQueueDropsToTheNextRandomAccessPoint(t *testing.T) {
	const media = "video/x-h264"
	q := newRTSPQueue(3, 1000)
	unit := func(track uint8, n int, idr bool) {
		d := nal(0x41)
		if idr {
			d = append(nal(0x67), nal(0x65)...)
		}
		q.put(RTSPItem{Track: track, packets: 2, Unit: RTSPUnit{PTS: int64(n), Data: d}}, media)
	}
	told := func() (s string) {
		for _, it := range q.take() {
			s += fmt.Sprintf("%d:%d/%d ", it.Track, it.Unit.PTS, it.Unit.Lost)
		}
		return s
	}
	unit(1, 0, true)
	unit(1, 1, false)
	unit(2, 2, false)
	unit(1, 3, false) // no room
	unit(2, 4, false) // no room
	if got := told(); got != "1:0/0 1:1/0 2:2/0 " {
		t.Error(got)
	}
	unit(1, 5, false) // refers to what was dropped
	unit(2, 6, false)
	unit(1, 7, true)
	unit(1, 8, false)
	if got := told(); got != "2:6/2 1:7/4 1:8/0 " {
		t.Error(got)
	}
	if q.droppedUnits() != 3 {
		t.Errorf("%d dropped", q.droppedUnits())
	}
	// By bytes.
	q.put(RTSPItem{Track: 1, Unit: RTSPUnit{Data: make([]byte, 1001)}}, "image/jpeg")
	if got := told(); got != "" {
		t.Error(got)
	}
}

func FuzzRandomAccess(f *testing.F) {
	f.Add(nal(0x65))
	f.Add([]byte{0, 0, 0, 9, 1})
	f.Add([]byte{255, 255, 255, 255, 5, 0})
	f.Fuzz(func(_ *testing.T, b []byte) {
		randomAccess("video/x-h264", b)
		randomAccess("video/x-h265", b)
	})
}
