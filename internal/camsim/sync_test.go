package camsim_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// TestLiveBeep decodes picture and sound of a live camera: by their RTP times
// each beep must begin at a full second of the clock that the picture shows.
func TestLiveBeep(t *testing.T) {
	needGStreamer(t)
	testenv.Tool(t, "ffmpeg", "ffmpeg")
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*testenv.Patience)
	defer cancel()
	live, err := camsim.NewLive(ctx, camsim.LiveConfig{Audio: true, Width: 320, Height: 180})
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	_, cam := serve(t, camsim.Config{}, camsim.CameraConfig{Path: "live", Feed: live})
	eventually(t, "three seconds", func() bool { return len(cam.Sent()) > 3*(25+47) && video(cam) > 75 })

	sets, err := camsim.ParameterSets(live.Tracks()[0])
	if err != nil {
		t.Fatal(err)
	}
	var asc mpeg4audio.AudioSpecificConfig
	if err := asc.Unmarshal(live.Tracks()[1].Config); err != nil {
		t.Fatal(err)
	}
	var h264 bytes.Buffer
	var adts mpeg4audio.ADTSPackets
	var firstVideo, firstAudio *camsim.Sent
	const frame = time.Second / 25
	numbers := map[int64]bool{} // of the pictures that were sent, by their times
	for _, u := range cam.Sent() {
		if u.Track == schemas.AudioTrack {
			if firstAudio == nil {
				firstAudio = &u
			}
			adts = append(adts, &mpeg4audio.ADTSPacket{
				Type: asc.Type, SampleRate: asc.SampleRate, ChannelConfig: asc.ChannelConfig, AU: u.Data,
			})
			continue
		}
		numbers[u.PTS/(schemas.MediaTimescale/25)] = true
		nalus, err := camsim.NALUnits(u.Data)
		if err != nil {
			t.Fatal(err)
		}
		if firstVideo == nil {
			firstVideo = &u
			nalus = append(append([][]byte{}, sets...), nalus...)
		}
		for _, n := range nalus {
			h264.Write(append([]byte{0, 0, 0, 1}, n...))
		}
	}
	aac, err := adts.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	decode := func(in []byte, args ...string) []byte {
		cmd := exec.CommandContext(ctx, "ffmpeg", append([]string{"-hide_banner", "-loglevel", "error"}, args...)...)
		cmd.Stdin = bytes.NewReader(in)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("ffmpeg: %v", err)
		}
		return out
	}
	// Each picture tells its number, and with it its time, and what the clock
	// shows. The middle of all tells where the clock began: on a busy machine
	// the clock of one of them may have been read too late.
	const size = 320 * 180 * 3 / 2
	pictures := decode(h264.Bytes(), "-f", "h264", "-i", "-", "-fps_mode", "passthrough", "-pix_fmt", "yuv420p", "-f", "rawvideo", "-")
	var zeros []time.Duration // since some instant
	since := time.Now()
	for p := range slices.Chunk(pictures, size) {
		strip, err := camsim.ReadStrip(p, 320, 320, 180)
		if err != nil {
			t.Fatal(err)
		}
		if !numbers[int64(strip.Frame)] {
			t.Errorf("picture %d was not sent under the time of its number", strip.Frame)
		}
		zeros = append(zeros, strip.Time.Add(-time.Duration(strip.Frame)*frame).Sub(since))
	}
	if n := len(zeros); n < 50 {
		t.Fatalf("%d pictures", n)
	}
	slices.Sort(zeros)
	t.Logf("the shown clock differs by %v between pictures", zeros[len(zeros)-1]-zeros[0])
	zero := since.Add(zeros[len(zeros)/2])
	pcm := decode(aac, "-f", "aac", "-i", "-", "-f", "s16le", "-")
	quiet, beeps := 48000, 0
	for i := range len(pcm) / 2 {
		v := int16(binary.LittleEndian.Uint16(pcm[2*i:]))
		if v < 1500 && v > -1500 {
			quiet++
			continue
		}
		if quiet > 4800 && i > 2048 { // the sound may begin within a beep
			beeps++
			at := zero.Add(time.Duration(firstAudio.PTS+int64(i)) * time.Second / 48000)
			if off := at.Sub(at.Round(time.Second)); off.Abs() > 10*time.Millisecond {
				t.Errorf("beep %d begins %v from a full second", beeps, off)
			}
		}
		quiet = 0
	}
	if beeps < 2 {
		t.Errorf("%d beeps in %d samples", beeps, len(pcm)/2)
	}
}
