package rtsp_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/ingest/rtsp"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// noise is sound that claims to be what rtpmap says, and is none.
func noise(rtpmap string, seconds int) *camsim.Clip {
	_, text, _ := strings.Cut(rtpmap, "/")
	rate, err := strconv.Atoi(strings.Split(text, "/")[0])
	if err != nil {
		panic(err)
	}
	c := &camsim.Clip{Media: []schemas.Track{{
		ID: schemas.AudioTrack, Codec: camsim.RTP, Config: []byte(rtpmap), Timescale: uint32(rate), SampleRate: uint32(rate), Channels: 1,
	}}}
	r := rand.New(rand.NewPCG(1, uint64(len(rtpmap))))
	for n := range seconds * 50 {
		data := make([]byte, 1+r.IntN(400))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		at := int64(n * rate / 50)
		c.Units = append(c.Units, camsim.Unit{Track: schemas.AudioTrack, PTS: at, DTS: at, Duration: uint32(rate / 50), Sync: true, Data: data})
	}
	return c
}

// soundProblem is what was told last of the sound; ok is false where nothing was.
func (s *sink) soundProblem() (problem string, ok bool) {
	for _, e := range s.observed() {
		if e.Kind == ingest.EventSound {
			problem, ok = e.Problem, true
		}
	}
	return problem, ok
}

// Whatever a camera sends as sound, its pictures come without a hole, and
// either sound comes or its lack is named.
func TestNoiseAsSoundHarmsNothing(t *testing.T) {
	testenv.SkipShort(t, "seconds of real time")
	engines(t, func(t *testing.T, engine string) {
		video := clip(t, testenv.Clip{Seconds: 3})
		kinds := []string{
			"AC3/48000", "AMR/8000", "AMR-WB/16000", "G722/8000", "G723/8000", "G726-32/8000", "G729/8000", "GSM/8000", "ILBC/8000",
			"L8/8000", "L16/44100/2", "L24/48000/2", "MP4A-LATM/48000", "MPA/90000", "MPA-ROBUST/90000", "MPEG4-GENERIC/48000", "OPUS/48000/2",
			"PCMA/8000", "QCELP/8000", "SBC/16000", "SIREN/16000", "SPEEX/16000", "VORBIS/48000/2", "X-UNKNOWN/8000",
		}
		if engine == rtsp.EngineNative { // the rest is left to GStreamer
			kinds = []string{"MPEG4-GENERIC/48000", "OPUS/48000/2", "X-UNKNOWN/8000"}
		}
		for _, rtpmap := range kinds {
			t.Run(strings.ReplaceAll(rtpmap, "/", "-"), func(t *testing.T) {
				t.Parallel()
				srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: joined(t, video, noise(rtpmap, 3)).With(true, 1)}}})
				s, _, wait := start(t, rtsp.Config{Engine: engine, URL: fixed(t, srv.URL("c")), AudioWait: time.Second})
				eventually(t, "sound, or a problem of it", func() bool {
					p, _ := s.soundProblem()
					return p != "" || len(s.of(schemas.AudioTrack)) > 0
				})
				n := len(s.of(schemas.VideoTrack))
				eventually(t, "more pictures", func() bool { return len(s.of(schemas.VideoTrack)) > n+60 })
				units := s.of(schemas.VideoTrack)
				for i, u := range units[1:] {
					if d := u.PTS - units[i].PTS; d != 3000 {
						t.Fatalf("picture %d is %d ticks after the one before", i+1, d)
					}
				}
				if st := s.states(); st[len(st)-1] != ingest.EventDelivering {
					t.Errorf("%v, %v", st, wait())
				}
				p, _ := s.soundProblem()
				t.Logf("%d frames of sound; problem %q", len(s.of(schemas.AudioTrack)), p)
			})
		}
	})
}

// Sound that comes before the pictures, and never enough of it for its decoder, holds back
// no picture.
func TestNoiseBeforePictures(t *testing.T) {
	t.Parallel()
	video := *clip(t, testenv.Clip{Seconds: 3})
	video.Units = slices.Clone(video.Units)
	for i := range video.Units {
		video.Units[i].PTS += 90000
		video.Units[i].DTS += 90000
	}
	srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: joined(t, &video, noise("MPA/90000", 4))}}})
	s, _, _ := start(t, rtsp.Config{URL: fixed(t, srv.URL("c")), AudioWait: time.Second})
	eventually(t, "all pictures", func() bool { return len(s.of(schemas.VideoTrack)) == len(video.Units) })
}

// waited is how long the first picture that a sink got was held back.
func (s *sink) waited() time.Duration {
	u := s.of(schemas.VideoTrack)[0]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.came[0].Sub(u.Captured)
}

// A camera that announces sound and sends none makes only the first connection
// wait for it. One that announces none makes no connection wait, and if it
// announces sound later, that is waited for.
func TestWaitForAnnouncedSound(t *testing.T) {
	testenv.SkipShort(t, "seconds of real time")
	engines(t, func(t *testing.T, engine string) {
		const wait = 3 * time.Second
		sound := clip(t, testenv.Clip{Seconds: 3, Audio: "aac"}).With(true, 1)
		srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{
			{Path: "mute", Feed: sound},
			{Path: "video", Feed: clip(t, testenv.Clip{Seconds: 3}).With(true, 1)},
			{Path: "late", Feed: sound, AudioAfter: 500 * time.Millisecond},
		}})
		srv.Camera("mute").Mute(true)
		type connection struct {
			path   string
			waits  bool // the first pictures, for all of the time
			tracks int  // told first
		}
		for name, all := range map[string][]connection{
			"announced, never comes": {{"mute", true, 1}, {"mute", false, 1}},
			"announced later":        {{"video", false, 1}, {"late", false, 2}},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				at := 0
				src := rtsp.New(rtsp.Config{Engine: engine, AudioWait: wait, URL: func(ctx context.Context) (*url.URL, error) { return fixed(t, srv.URL(all[at].path))(ctx) }})
				for i, c := range all {
					at = i
					s := &sink{}
					ctx, stop := context.WithCancel(t.Context())
					done := make(chan error, 1)
					go func() { done <- src.Run(ctx, s) }()
					eventually(t, "pictures for longer than the wait", func() bool {
						us := s.of(schemas.VideoTrack)
						return len(us) > 0 && us[len(us)-1].Captured.Sub(us[0].Captured) > wait+500*time.Millisecond
					})
					if got := s.waited(); c.waits != (got >= wait) {
						t.Errorf("connection %d: the first picture waited %v of %v", i, got, wait)
					}
					if n := len(s.sessions()[0]); n != c.tracks {
						t.Errorf("connection %d begins with %d tracks, want %d", i, n, c.tracks)
					}
					stop()
					if err := <-done; !errors.Is(err, context.Canceled) {
						t.Errorf("connection %d: %v", i, err)
					}
				}
			})
		}
	})
}

// Of a camera that is recorded without sound none is asked for, and so none is
// waited for.
func TestNoAudio(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, engine string) {
		srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: clip(t, testenv.Clip{Seconds: 3, Audio: "aac"}).With(true, 1)}}})
		srv.Camera("c").Mute(true)
		s, _, _ := start(t, rtsp.Config{Engine: engine, URL: fixed(t, srv.URL("c")), NoAudio: true})
		eventually(t, "pictures", func() bool { return len(s.of(schemas.VideoTrack)) > 0 })
		if got := s.waited(); got > testenv.Patience/4 { // of half of it
			t.Errorf("the first picture waited %v", got)
		}
		srv.Camera("c").Mute(false)
		eventually(t, "a second of pictures", func() bool { return len(s.of(schemas.VideoTrack)) > 30 })
		if len(s.of(schemas.AudioTrack)) > 0 || len(s.sessions()) != 1 || len(s.sessions()[0]) != 1 {
			t.Errorf("%d frames of sound, tracks %v", len(s.of(schemas.AudioTrack)), s.sessions())
		}
		for _, e := range s.observed() {
			if e.Kind == ingest.EventSound && e.Problem != "" {
				t.Errorf("told a problem of sound that is not wanted: %s", e.Problem)
			}
		}
	})
}

// otherwise stands before a camera and has its SDP name another payload type of the
// sound.
func otherwise(t *testing.T, camera string) string {
	t.Helper()
	u, err := url.Parse(camera)
	if err != nil {
		t.Fatal(err)
	}
	return listen(t, func(c net.Conn) {
		up, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", u.Host)
		if err != nil {
			return
		}
		change := regexp.MustCompile(`(m=audio 0 RTP/AVP |a=rtpmap:)97`)
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _ = io.Copy(up, c) // until either end hangs up
			up.Close()
		})
		b := make([]byte, 1<<16)
		for {
			n, err := up.Read(b)
			if err != nil {
				break
			}
			if _, err := c.Write(change.ReplaceAll(b[:n], []byte("${1}98"))); err != nil {
				break
			}
		}
		c.Close()
		up.Close()
		wg.Wait()
	})
}

// Sound that comes with another payload type than SDP announces is named after
// ten seconds.
func TestSoundOfAnotherPayloadTypeIsNamed(t *testing.T) {
	testenv.Long(t)
	engines(t, func(t *testing.T, engine string) {
		feed := joined(t, clip(t, testenv.Clip{Seconds: 3}), noise("PCMU/8000", 3)).With(true, 1)
		srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed}}})
		s, _, _ := start(t, rtsp.Config{Engine: engine, URL: fixed(t, otherwise(t, srv.URL("c"))), AudioWait: time.Second})
		eventually(t, "the problem", func() bool {
			p, _ := s.soundProblem()
			return p == "the sound is announced as G.711 and cannot be read as that: recorded without sound; set another kind of sound on the camera"
		})
		if len(s.of(schemas.AudioTrack)) > 0 || len(s.of(schemas.VideoTrack)) < 60 {
			t.Errorf("%d frames of sound, %d of video", len(s.of(schemas.AudioTrack)), len(s.of(schemas.VideoTrack)))
		}
	})
}
