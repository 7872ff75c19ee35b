package e2e

import (
	"bytes"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// soundSeconds is how long the cameras of these tests send, heardSeconds how much
// of it the tests decode.
const (
	soundSeconds = 9
	heardSeconds = 6
)

// Sound of these kinds is heard together with its picture. TestEverySoundIsHeard
// has the other kinds.
func TestSoundIsHeard(t *testing.T) {
	testSounds(t, map[string]func(*testing.T) string{
		"mp3":     served("mp3"),
		"ac3":     served("ac3"),
		"speex":   served("speex"),
		"vorbis":  served("vorbis"),
		"g726-32": packets("G726-32/8000", 160, g726("g726le", 4)),
		// Payload type 14 is MP3 without being described.
		"mp3-static": packets("14", 2160, mp3),
	})
}

// Sound of each other kind that GStreamer decodes is heard: 1 kHz, within 50 ms of
// its picture.
func TestEverySoundIsHeard(t *testing.T) {
	testenv.Long(t)
	for _, names := range [][]string{
		{"pcmu", "pcma", "g722", "gsm", "amr", "mp2"},
		{"l16", "l24", "aac-raw", "aac-latm", "opus-raw"},
	} {
		cases := map[string]func(*testing.T) string{}
		for _, n := range names {
			cases[n] = served(n)
		}
		t.Run(strings.Join(names, " "), func(t *testing.T) { testSounds(t, cases) })
	}
	// The test makes the packets itself, because GStreamer packs G.726 in other
	// ways than RFC 3551.
	cases := map[string]func(*testing.T) string{}
	for _, k := range []struct{ format, prefix string }{{"g726le", ""}, {"g726", "AAL2-"}} {
		for bits := 2; bits <= 5; bits++ {
			name := fmt.Sprintf("%sG726-%d", k.prefix, 8*bits)
			if name != "G726-32" {
				cases[strings.ToLower(name)] = packets(name+"/8000", 160, g726(k.format, bits))
			}
		}
	}
	t.Run("G726", func(t *testing.T) { testSounds(t, cases) })
}

// testSounds records the cameras, by their names, and decodes each over HLS.
func testSounds(t *testing.T, cases map[string]func(*testing.T) string) {
	urls := map[string]string{}
	for name, url := range cases {
		urls[name] = url(t)
	}
	f := testenv.Up(t, testenv.UpOptions{Config: system.Cameras(urls)})
	for name := range cases {
		hls := system.Multivariant(f.URL, name)
		testenv.Wait(t, 2*testenv.Patience, "footage of "+name, func() bool {
			return footage(system.MediaPlaylist(t, hls)) > heardSeconds+1
		})
		beeps := testenv.Beeps(t, hls, fromTheStart, heardSeconds*time.Second-300*time.Millisecond)
		if len(beeps) < heardSeconds-2 {
			t.Errorf("%s: %d beeps in %d s", name, len(beeps), heardSeconds)
		}
		var worst time.Duration
		var hz float64
		for _, b := range beeps {
			if b.After.Abs() > worst.Abs() {
				worst = b.After
			}
			hz += b.Hz / float64(len(beeps))
			if b.After.Abs() > 50*time.Millisecond || math.Abs(b.Hz-1000) > 20 {
				t.Errorf("%s: a beep is %v after its flash, at %.0f Hz", name, b.After, b.Hz)
			}
		}
		t.Logf("%s: %d beeps at %.0f Hz, at most %v from their flashes", name, len(beeps), hz, worst.Round(time.Millisecond))
	}
}

// footage counts the segments of a playlist that are not gaps; m may be nil.
func footage(m *system.Playlist) int {
	n := 0
	if m != nil {
		for _, s := range m.Segments {
			if !s.Gap {
				n++
			}
		}
	}
	return n
}

// served is a camera of GStreamer's RTSP server.
func served(audio string) func(*testing.T) string {
	return func(t *testing.T) string {
		return testenv.StartGstRTSPServer(t, testenv.GstRTSPOptions{File: testenv.FlashAndBeep(t, soundSeconds), Audio: audio}).URL
	}
}

// packets is a simulated camera whose RTP packets of sound the test makes, each of
// so many ticks.
func packets(rtpmap string, ticks int, payloads func(t *testing.T, file string) [][]byte) func(*testing.T) string {
	return func(t *testing.T) string {
		file := testenv.FlashAndBeep(t, soundSeconds)
		_, url := system.Camera(t, camsim.CameraConfig{Feed: withSound(t, file, rtpmap, ticks, payloads(t, file)), HangUp: true})
		return url
	}
}

// withSound joins the pictures of a file and a track of sound with these RTP
// payloads.
func withSound(t *testing.T, file, rtpmap string, ticks int, payloads [][]byte) *camsim.Clip {
	t.Helper()
	mp4 := filepath.Join(t.TempDir(), "pictures.mp4")
	run(t, "-i", file, "-an", "-c", "copy", mp4)
	rate := uint32(90000) // for payload type 14
	if _, text, ok := strings.Cut(rtpmap, "/"); ok {
		if _, err := fmt.Sscan(text, &rate); err != nil {
			t.Fatal(err)
		}
	}
	sound := &camsim.Clip{Media: []schemas.Track{{
		ID: schemas.AudioTrack, Codec: camsim.RTP, Config: []byte(rtpmap), Timescale: rate, SampleRate: rate, Channels: 1,
	}}}
	for i, p := range payloads {
		at := int64(i * ticks)
		sound.Units = append(sound.Units, camsim.Unit{Track: schemas.AudioTrack, PTS: at, DTS: at, Duration: uint32(ticks), Sync: true, Data: p})
	}
	c, err := camsim.Join(system.Load(t, mp4), sound)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// run runs ffmpeg and returns what it writes to its standard output.
func run(t *testing.T, args ...string) []byte {
	t.Helper()
	var errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), testenv.Tool(t, "ffmpeg", "ffmpeg"), append([]string{"-nostdin", "-loglevel", "error"}, args...)...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, errs.String())
	}
	return out
}

// g726 encodes the sound of a file in G.726 with so many bits a sample, 20 ms a
// packet. format is ffmpeg's: "g726le" has the order of bits of RFC 3551, "g726"
// that of AAL2.
func g726(format string, bits int) func(t *testing.T, file string) [][]byte {
	return func(t *testing.T, file string) [][]byte {
		raw := run(t, "-i", file, "-vn", "-ar", "8000", "-ac", "1", "-c:a", format, "-b:a", fmt.Sprintf("%dk", 8*bits), "-f", format, "-")
		var out [][]byte
		for n := 160 * bits / 8; len(raw) >= n; raw = raw[n:] {
			out = append(out, raw[:n])
		}
		return out
	}
}

// mp3 encodes the sound of a file in MP3 of 64 kbit/s and 48 kHz, a frame of 2160
// ticks a packet, with the header of RFC 2250 (3.5) before it.
func mp3(t *testing.T, file string) [][]byte {
	raw := run(t, "-i", file, "-vn", "-ar", "48000", "-ac", "1", "-c:a", "libmp3lame", "-b:a", "64k", "-write_xing", "0", "-id3v2_version", "0", "-f", "mp3", "-")
	var out [][]byte
	for n := 192; len(raw) >= n; raw = raw[n:] {
		out = append(out, append(make([]byte, 4), raw[:n]...))
	}
	return out
}

// Sound that GStreamer cannot decode is a named problem of the camera, whose
// pictures are recorded.
func TestSoundThatCannotBeDecodedIsNamed(t *testing.T) {
	t.Parallel()
	file := testenv.FlashAndBeep(t, soundSeconds)
	payloads := make([][]byte, soundSeconds*50)
	for i := range payloads {
		payloads[i] = make([]byte, 20)
	}
	clip := withSound(t, file, "EVS/16000", 320, payloads).With(true, 1)
	cam, url := system.Camera(t, camsim.CameraConfig{Feed: clip})
	f := testenv.Up(t, testenv.UpOptions{Config: system.Cameras(map[string]string{"cam": url})})
	const problem = "the sound is EVS, which GStreamer here cannot decode: recorded without sound; set AAC, G.711 or Opus on the camera"
	named := func() bool {
		api := get(t, f.URL+"/v1/cameras")
		return strings.Contains(api, problem) && strings.Contains(api, `"live"`)
	}
	testenv.Wait(t, testenv.Patience, "the problem in /v1/cameras", named)
	list, err := exec.CommandContext(t.Context(), testenv.Binary(t), "cameras", "list", "--brokers", f.Broker).CombinedOutput()
	if err != nil || !strings.Contains(string(list), "the sound is EVS") {
		t.Errorf("cameras list: %v\n%s", err, list)
	}
	if m := get(t, f.URL+"/metrics"); !strings.Contains(m, "framelog_ingest_sound_unusable{camera=\"cam\"") {
		t.Error("no metric framelog_ingest_sound_unusable")
	}
	connected := strings.Count(f.Log.String(), "camera is live")
	cam.Drop()
	testenv.Wait(t, testenv.Patience, "another connection", func() bool { return strings.Count(f.Log.String(), "camera is live") > connected })
	testenv.Wait(t, testenv.Patience, "the problem again", named)
	if n := strings.Count(f.Log.String(), "camera's sound is not recorded"); n != 1 {
		t.Errorf("the problem is logged %d times over two connections", n)
	}
	testenv.Wait(t, testenv.Patience, "footage", func() bool {
		return footage(system.MediaPlaylist(t, system.Multivariant(f.URL, "cam"))) > 2
	})
}
