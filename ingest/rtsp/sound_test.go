package rtsp_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"os/exec"
	"testing"

	"github.com/framelog/framelog/ingest/rtsp"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// beep is G.711 μ-law of one loud tone of 100 ms in silence, from the given
// sample on.
func beep(seconds, at int) *camsim.Clip {
	const rate, frame = 8000, 160
	c := &camsim.Clip{Media: []schemas.Track{{ID: schemas.AudioTrack, Codec: camsim.PCMU, Timescale: rate, SampleRate: rate, Channels: 1}}}
	for n := range seconds * rate / frame {
		u := camsim.Unit{Track: schemas.AudioTrack, PTS: int64(n * frame), DTS: int64(n * frame), Duration: frame, Sync: true, Data: make([]byte, frame)}
		for i := range u.Data {
			k := n*frame + i
			u.Data[i] = 0xff // 0
			if k >= at && k < at+rate/10 {
				u.Data[i] = 0x9f // some 3,900 of 32,767
				if k/4%2 == 1 {
					u.Data[i] = 0x1f
				}
			}
		}
		c.Units = append(c.Units, u)
	}
	return c
}

// adts puts a header of 7 bytes (ISO/IEC 13818-7, 6.2) before a raw frame of
// AAC-LC, for a decoder that wants a stream.
func adts(t schemas.Track, frame []byte) []byte {
	index := (t.Config[0]&7)<<1 | t.Config[1]>>7
	n := len(frame) + 7
	return append([]byte{
		0xff, 0xf1, 1<<6 | index<<2 | t.Channels>>2, t.Channels<<6 | byte(n>>11), byte(n >> 3), byte(n<<5) | 0x1f, 0xfc,
	}, frame...)
}

// G.711 becomes AAC, and a beep is where it was: the encoder's delay is off.
func TestBeepStaysInTime(t *testing.T) {
	const seconds, at = 4, 16000 + 400 // samples of 8 kHz
	video := clip(t, testenv.Clip{Seconds: seconds})
	srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: joined(t, video, beep(seconds, at))}}})
	s, _, _ := start(t, rtsp.Config{URL: fixed(t, srv.URL("c"))})
	eventually(t, "the end", func() bool { return len(s.of(1)) >= len(video.Units) && len(s.of(2)) >= (seconds*48000-4096)/1024 })
	tracks := s.sessions()
	if len(tracks) != 1 || len(tracks[0]) != 2 {
		t.Fatalf("tracks: %+v", tracks)
	}
	tr := tracks[0][1]
	if tr.Codec != schemas.AAC || tr.Timescale != 48000 || tr.SampleRate != 48000 || tr.Channels != 1 || len(tr.Config) < 2 {
		t.Fatalf("track: %+v", tr)
	}
	units := s.of(2)
	var stream []byte
	for i, u := range units {
		if i > 0 && u.PTS-units[i-1].PTS != 1024 {
			t.Errorf("frame %d is %d samples after the one before", i, u.PTS-units[i-1].PTS)
		}
		stream = append(stream, adts(tr, u.Data)...)
	}
	cmd := exec.CommandContext(context.Background(), "ffmpeg", "-v", "error", "-flags2", "+skip_manual", "-f", "aac", "-i", "-", "-f", "s16le", "-ac", "1", "-")
	cmd.Stdin = bytes.NewReader(stream)
	pcm, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg: %v", err)
	}
	first, last := -1, -1
	for i := 0; i+1 < len(pcm); i += 2 {
		if v := int16(binary.LittleEndian.Uint16(pcm[i:])); v > 1000 || v < -1000 {
			if first < 0 {
				first = i / 2
			}
			last = i / 2
		}
	}
	if first < 0 {
		t.Fatal("no beep")
	}
	// In the picture's time, by the first of both that were sent.
	v := s.of(1)[0]
	sv := sentOf(srv.Camera("c"), 1)[0]
	zero := float64(v.PTS-sv.PTS) / 90000
	begin := float64(units[0].PTS+int64(first))/48000 - zero
	end := float64(units[0].PTS+int64(last))/48000 - zero
	want := float64(at) / 8000
	t.Logf("%d samples of %d frames; beep from %.4f to %.4f s, sent from %.4f to %.4f", len(pcm)/2, len(units), begin, end, want, want+0.1)
	if math.Abs(begin-want) > 0.003 || math.Abs(end-want-0.1) > 0.003 {
		t.Errorf("the beep has moved")
	}
}

func TestSoundThatNoBrowserPlays(t *testing.T) {
	testenv.SkipShort(t, "seconds of real time")
	video := clip(t, testenv.Clip{Seconds: 3})
	for _, codec := range []schemas.Codec{camsim.PCMU, camsim.PCMA} {
		t.Run(string(codec), func(t *testing.T) {
			t.Parallel()
			feed := joined(t, video, camsim.ToneG711(codec, 3e9)).With(true, 1)
			srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed}}})
			s, _, _ := start(t, rtsp.Config{URL: fixed(t, srv.URL("c"))})
			eventually(t, "4 s", func() bool { return len(s.of(1)) > 120 && len(s.of(2)) > 4*46 })
			if tr := s.sessions(); len(tr) != 1 || len(tr[0]) != 2 || tr[0][1].Codec != schemas.AAC {
				t.Errorf("tracks: %+v", tr)
			}
			for i, u := range s.of(2)[1:] {
				if d := u.PTS - s.of(2)[i].PTS; d != 1024 {
					t.Errorf("frame %d is %d samples after the one before", i+1, d)
				}
			}
		})
	}
}
