package rtsp_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/ingest/rtsp"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// expect matches units to what was sent by their RTP time, and returns those
// of the track, in order.
func sentOf(c *camsim.Camera, track uint8) []camsim.Sent {
	return slices.DeleteFunc(c.Sent(), func(s camsim.Sent) bool { return s.Track != track })
}

// RTP time passes 2^32 in the middle of a clip.
func TestTimeWraps(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, engine string) {
		feed := clip(t, testenv.Clip{Seconds: 3, BFrames: 2, Audio: "aac"})
		begin := uint32(1<<32 - 90000)
		srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed, RTPTime: &begin}}})
		s, _, _ := start(t, rtsp.Config{Engine: engine, URL: fixed(t, srv.URL("c"))})
		cam := srv.Camera("c")
		eventually(t, "the clip's end", func() bool {
			return len(s.of(1))+len(s.of(2)) >= len(feed.Units) && len(cam.Sent()) >= len(feed.Units)
		})
		for _, tr := range s.sessions()[0] {
			compare(t, tr, cam.Sent(), s.of(tr.ID), 0)
		}
		v := s.of(1)
		if v[0].PTS >= 1<<32 || v[len(v)-1].PTS < 1<<32 {
			t.Errorf("from %d to %d", v[0].PTS, v[len(v)-1].PTS)
		}
	})
}

// A camera that sets its clock comes through as it is, forth and back.
func TestTimeJumps(t *testing.T) {
	testenv.SkipShort(t, "seconds of real time")
	engines(t, func(t *testing.T, engine string) {
		for name, transport := range map[string]string{"tcp": rtsp.TransportTCP, "udp": rtsp.TransportUDP} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				feed := clip(t, testenv.Clip{Seconds: 3, BFrames: 2, Audio: "aac"}).With(true, 1)
				lossless(t, name == "udp", func(func() bool) func() {
					srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed, RTPTime: u32(1000)}}})
					s, stop, wait := start(t, rtsp.Config{Engine: engine, URL: fixed(t, srv.URL("c")), Transport: transport})
					cam := srv.Camera("c")
					for _, jump := range []time.Duration{0, time.Hour, -time.Hour, -time.Hour, 500 * time.Millisecond} {
						cam.Jump(jump)
						n := len(s.of(1))
						eventually(t, "more units", func() bool { return len(s.of(1)) >= n+30 })
					}
					stop()
					_ = wait()
					return func() {
						if got := s.sessions(); len(got) != 1 {
							t.Errorf("Tracks was called %d times", len(got))
						}
						for _, tr := range s.sessions()[0] {
							got := s.of(tr.ID)
							compare(t, tr, sentOf(cam, tr.ID)[:len(got)], got, 0)
						}
					}
				})
			})
		}
	})
}

// offset is how far sound is after the picture, in seconds of the camera's
// own time: 0 is as it was sent.
func offset(s *sink, cam *camsim.Camera) float64 {
	v, a := s.of(1), s.of(2)
	sv, sa := sentOf(cam, 1), sentOf(cam, 2)
	rate := float64(s.sessions()[0][1].Timescale)
	// Sound that was sent before the first picture is there too.
	return (float64(a[0].PTS)-float64(sa[0].PTS))/rate - (float64(v[0].PTS)-float64(sv[0].PTS))/90000
}

// lateness is how much later than the other track's, by the camera's schedule,
// the first packet of one track may have come, in seconds: somewhen between its
// being sent and its whole unit being here.
func lateness(s *sink, cam *camsim.Camera) float64 {
	v, a := s.of(1)[0], s.of(2)[0]
	sv, sa := sentOf(cam, 1)[0], sentOf(cam, 2)[0]
	apart := sa.Clock.Sub(sv.Clock)
	return max((a.Captured.Sub(sv.At) - apart).Abs(), (v.Captured.Sub(sa.At) + apart).Abs()).Seconds()
}

func TestSoundIsInTime(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		feed := clip(t, testenv.Clip{Seconds: 3, Audio: "aac"}).With(true, 1)
		for name, c := range map[string]struct {
			cfg   camsim.CameraConfig
			limit float64
		}{
			"RTP-Info":          {camsim.CameraConfig{SenderReports: camsim.SenderReports{Off: true}}, 1e-4},
			"both":              {camsim.CameraConfig{}, 1e-4},
			"late report":       {camsim.CameraConfig{NoRTPInfo: true, SenderReports: camsim.SenderReports{After: time.Second}}, 0.06},
			"arrival":           {camsim.CameraConfig{NoRTPInfo: true, SenderReports: camsim.SenderReports{Off: true}}, 0.06},
			"reports at once":   {camsim.CameraConfig{NoRTPInfo: true}, 0.06},
			"late with RTPInfo": {camsim.CameraConfig{SenderReports: camsim.SenderReports{After: time.Second}}, 1e-4},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c.cfg.Path, c.cfg.Feed = "c", feed
				c.cfg.SenderReports.Every = 500 * time.Millisecond
				srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{c.cfg}})
				s, _, _ := start(t, rtsp.Config{Engine: engine, URL: fixed(t, srv.URL("c"))})
				cam := srv.Camera("c")
				told := func(u ingest.Unit) bool { return !u.CameraTime.IsZero() }
				eventually(t, "2.5 s", func() bool {
					v := s.of(1)
					return len(v) >= 75 && len(s.of(2)) > 50 && (c.cfg.SenderReports.Off || slices.ContainsFunc(v, told))
				})
				// If arrival decides, sound is as far off as one of the first
				// units was late on its way.
				limit := c.limit
				if c.cfg.NoRTPInfo {
					limit += lateness(s, cam)
				}
				if o := offset(s, cam); math.Abs(o) > limit {
					t.Errorf("sound is %.4f s off, limit %.4f s", o, limit)
				} else {
					t.Logf("sound is %.6f s off, limit %.4f s", o, limit)
				}
				// Nothing moved on the way.
				for _, id := range []uint8{1, 2} {
					got := s.of(id)
					sent := sentOf(cam, id)
					for i, u := range got {
						if u.PTS-got[0].PTS != sent[i].PTS-sent[0].PTS {
							t.Fatalf("track %d, unit %d: PTS %d after the first, sent %d", id, i, u.PTS-got[0].PTS, sent[i].PTS-sent[0].PTS)
						}
					}
				}
				// The camera's time is that of its clock, however late a unit came.
				got := s.of(1)
				sent := sentOf(cam, 1)
				for i, u := range got {
					if !told(u) {
						continue
					}
					if c.cfg.SenderReports.Off {
						t.Fatal("there is a camera time, and no report")
					}
					if off := u.CameraTime.Sub(sent[i].Clock); off.Abs() > time.Millisecond {
						t.Fatalf("camera time of unit %d is %v off", i, off)
					}
				}
			})
		}
	})
}

// Sound that comes late finds the picture delivered.
func TestLateSound(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, engine string) {
		feed := clip(t, testenv.Clip{Seconds: 3, Audio: "aac"}).With(true, 1)
		srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed}}})
		cam := srv.Camera("c")
		cam.Mute(true)
		s, _, _ := start(t, rtsp.Config{Engine: engine, URL: fixed(t, srv.URL("c")), AudioWait: time.Second})
		eventually(t, "the picture, while there is no sound", func() bool { return len(s.of(1)) > 45 })
		cam.Mute(false)
		eventually(t, "sound", func() bool { return len(s.of(2)) > 10 })
		if got := s.sessions(); len(got) != 2 || len(got[0]) != 1 || len(got[1]) != 2 {
			t.Fatalf("tracks: %+v", got)
		}
		v := s.of(1)
		sent := sentOf(cam, 1)
		if v[0].PTS-sent[0].PTS != v[20].PTS-sent[20].PTS || uint32(v[0].PTS) != sent[0].RTP {
			t.Error("the first picture was not the first unit")
		}
	})
}

func TestFormatChanges(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, engine string) {
		a := clip(t, testenv.Clip{Seconds: 2, Size: "640x360"})
		b := clip(t, testenv.Clip{Seconds: 2, Size: "320x180"})
		srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: a}}})
		s, _, _ := start(t, rtsp.Config{Engine: engine, URL: fixed(t, srv.URL("c"))})
		cam := srv.Camera("c")
		eventually(t, "the first clip", func() bool { return len(s.of(1)) >= len(a.Units) })
		if !cam.Switch(b) {
			t.Fatal("no switch")
		}
		n := len(a.Units) + len(b.Units)
		eventually(t, "the second clip", func() bool { return len(s.of(1)) >= n })
		got := s.sessions()
		if len(got) != 2 || got[0][0].Width != 640 || got[1][0].Width != 320 || got[1][0].Height != 180 {
			t.Fatalf("tracks: %+v", got)
		}
		sent := cam.Sent()
		compare(t, got[0][0], sent[:len(a.Units)], s.of(1)[:len(a.Units)], 0)
		compare(t, got[1][0], sent[len(a.Units):], s.of(1)[len(a.Units):], 0)
		for i, at := range s.at {
			if want := 1 + min(1, i/len(a.Units)); at != want {
				t.Fatalf("unit %d came after %d calls of Tracks", i, at)
			}
		}
	})
}

func TestStall(t *testing.T) {
	testenv.SkipShort(t, "seconds of real time")
	engines(t, func(t *testing.T, engine string) {
		feed := clip(t, testenv.Clip{Seconds: 3}).With(true, 1)
		srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed}}})
		pauses := testenv.WatchPauses(t)
		const limit = 3 * time.Second // the default is 10 s
		s, _, wait := start(t, rtsp.Config{Engine: engine, URL: fixed(t, srv.URL("c")), StallTimeout: limit})
		eventually(t, "units", func() bool { return len(s.of(1)) > 10 })
		srv.Camera("c").Stall(true)
		if err := wait(); !errors.Is(err, rtsp.ErrStalled) {
			t.Error(err)
		}
		sent := sentOf(srv.Camera("c"), 1)
		d := time.Since(sent[len(sent)-1].At)
		t.Logf("ended %v after the last picture was sent", d)
		if d < limit || d > limit+6*time.Second+pauses.Sum(sent[len(sent)-1].At, time.Now()) {
			t.Errorf("after %v", d)
		}
		if got := fmt.Sprint(s.states()); got != "[connecting playing delivering ended]" {
			t.Error(got)
		}
	})
}

func TestDrops(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		for _, transport := range []string{rtsp.TransportTCP, rtsp.TransportUDP} {
			t.Run(transport, func(t *testing.T) {
				feed := clip(t, testenv.Clip{Seconds: 3}).With(true, 1)
				lossless(t, transport == rtsp.TransportUDP, func(func() bool) func() {
					srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed}}})
					s, _, wait := start(t, rtsp.Config{Engine: engine, URL: fixed(t, srv.URL("c")), Transport: transport, StallTimeout: 5 * time.Second})
					eventually(t, "units", func() bool { return len(s.of(1)) > 10 })
					srv.Camera("c").Drop()
					began := time.Now()
					err := wait()
					t.Logf("after %v: %v", time.Since(began), err)
					return func() {
						if !errors.Is(err, rtsp.ErrAway) && transport == rtsp.TransportTCP {
							t.Error(err)
						}
						got := s.of(1)
						compare(t, s.sessions()[0][0], sentOf(srv.Camera("c"), 1)[:len(got)], got, 0)
					}
				})
			})
		}
	})
}

// A camera that hangs up at its end: what it sent before is there.
func TestHangUp(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, engine string) {
		feed := clip(t, testenv.Clip{Seconds: 2, Audio: "aac"})
		srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed, HangUp: true}}})
		s, _, wait := start(t, rtsp.Config{Engine: engine, URL: fixed(t, srv.URL("c"))})
		if err := wait(); !errors.Is(err, rtsp.ErrAway) {
			t.Error(err)
		}
		for _, tr := range s.sessions()[0] {
			compare(t, tr, srv.Camera("c").Sent(), s.of(tr.ID), 0)
		}
	})
}

// What a camera says of its range ends nothing: one that sends more is heard to
// its end, and so are the last pictures of one whose clock is a little behind.
func TestRange(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, engine string) {
		feed := clip(t, testenv.Clip{Seconds: 3, BFrames: 2, Audio: "aac"})
		srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed, HangUp: true, Range: "npt=0-1.5"}}})
		s, _, wait := start(t, rtsp.Config{Engine: engine, URL: fixed(t, srv.URL("c"))})
		if err := wait(); !errors.Is(err, rtsp.ErrAway) {
			t.Error(err)
		}
		if len(s.sessions()) == 0 {
			t.Fatal("no tracks")
		}
		for _, tr := range s.sessions()[0] {
			compare(t, tr, srv.Camera("c").Sent(), s.of(tr.ID), 0)
			if got, want := len(s.of(tr.ID)), len(feed.Of(tr.ID)); got != want {
				t.Errorf("track %d: %d units of %d", tr.ID, got, want)
			}
		}
	})
}

// Over UDP lost packets are counted, damaged units are marked, and no other is.
func TestLoss(t *testing.T) {
	testenv.SkipShort(t, "seconds of real time")
	engines(t, func(t *testing.T, engine string) {
		feed := clip(t, testenv.Clip{Seconds: 3, KBits: 3000}).With(true, 1)
		srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed}}})
		s, _, _ := start(t, rtsp.Config{Engine: engine, URL: fixed(t, srv.URL("c")), Transport: rtsp.TransportUDP})
		cam := srv.Camera("c")
		drops := testenv.UDPDrops(t)
		eventually(t, "units", func() bool { return len(s.of(1)) > 30 })
		cam.Lose(0.05, 7)
		eventually(t, "units", func() bool { return len(s.of(1)) > 200 })
		cam.Lose(0, 7)
		n := len(s.of(1))
		eventually(t, "units", func() bool { return len(s.of(1)) > n+60 })

		got := s.of(1)
		sent := sentOf(cam, 1)
		byTime := map[int64]camsim.Sent{}
		base := got[0].PTS - sent[0].PTS
		lost := 0
		for _, u := range sent {
			byTime[u.PTS+base] = u
			if u.PTS+base <= got[len(got)-1].PTS {
				lost += u.Lost
			}
		}
		counted, wrong, missed, damaged := 0, 0, 0, 0
		for _, u := range got {
			counted += int(u.Lost)
			from, ok := byTime[u.PTS]
			if !ok {
				t.Fatalf("unit at %d was never sent", u.PTS)
			}
			if from.Lost > 0 {
				damaged++
			}
			if whole := slices.EqualFunc(essence(t, schemas.H264, from.Data), essence(t, schemas.H264, u.Data), slices.Equal); whole && u.Broken {
				wrong++
			} else if !whole && !u.Broken {
				missed++
				t.Logf("unit at %d: %d of %d packets lost, not marked", u.PTS, from.Lost, from.Count)
			}
		}
		t.Logf("%d packets lost, %d counted; %d of %d units came, %d damaged, %d of them unmarked, %d whole ones marked", lost, counted, len(got), len(sent), damaged, missed, wrong)
		// Nothing is counted that was not lost; beside what the camera left out
		// that is what the machine itself has thrown away.
		drops = testenv.UDPDrops(t) - drops
		if counted < lost || counted > lost+drops {
			t.Errorf("%d packets counted as lost, %d were, and the machine has thrown %d away", counted, lost, drops)
		}
		if missed > 0 || wrong > 0 {
			t.Errorf("%d damaged units are not marked, %d whole ones are", missed, wrong)
		}
	})
}

// Garbage from a camera harms no other: the stream goes on, or ends with an error
// by which one connects anew.
func TestGarbage(t *testing.T) {
	testenv.SkipShort(t, "seconds of real time")
	engines(t, func(t *testing.T, engine string) {
		feed := clip(t, testenv.Clip{Seconds: 3}).With(true, 1)
		for name, garbage := range map[string]func(c *camsim.Camera){
			"packets": func(c *camsim.Camera) { c.GarbagePackets(100) },
			"bytes":   func(c *camsim.Camera) { c.GarbageBytes(10000) },
			"corrupt": func(c *camsim.Camera) { c.Corrupt(0.3, 3) },
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed}}})
				cfg := rtsp.Config{Engine: engine, URL: fixed(t, srv.URL("c")), StallTimeout: 5 * time.Second}
				s, _, wait := start(t, cfg)
				cam := srv.Camera("c")
				eventually(t, "units", func() bool { return len(s.of(1)) > 10 })
				garbage(cam)
				n := len(s.of(1))
				eventually(t, "units or an end", func() bool {
					return len(s.of(1)) > n+60 || slices.Contains(s.states(), ingest.EventEnded)
				})
				cam.Corrupt(0, 3)
				if slices.Contains(s.states(), ingest.EventEnded) {
					err := wait()
					var e *rtsp.Error
					if !errors.As(err, &e) {
						t.Error(err)
					}
					t.Log(err)
					s, _, _ = start(t, cfg)
					eventually(t, "units again", func() bool { return len(s.of(1)) > 10 })
				}
			})
		}
	})
}

// What the queue had no room for is told, unit by unit, and so is a pipeline
// that does not stop in time.
func TestDropsAndFrozenPipelinesAreTold(t *testing.T) {
	testenv.SkipShort(t, "seconds of real time")
	engines(t, func(t *testing.T, engine string) {
		feed := clip(t, testenv.Clip{Seconds: 3}).With(true, 1)
		srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed}}})
		cfg := rtsp.Config{
			Engine: engine, URL: fixed(t, srv.URL("c")), Transport: rtsp.TransportTCP, QueueUnits: 1, CloseTimeout: time.Nanosecond,
		}
		s, stop, wait := start(t, cfg)
		told := func() (units uint64) {
			for _, e := range s.observed() {
				units += e.Units
			}
			return units
		}
		eventually(t, "pictures", func() bool { return len(s.of(1)) > 3 })
		n := told()
		eventually(t, "drops", func() bool { return told() > n })
		v := len(s.of(1))
		eventually(t, "pictures after them", func() bool { return len(s.of(1)) > v+3 })
		stop()
		_ = wait()
		if got := s.states(); got[len(got)-1] != ingest.EventEnded {
			t.Errorf("%v", got)
		}
		got, missing := s.of(1), 0
		at := map[int64]bool{}
		for _, u := range got {
			at[u.PTS-got[0].PTS] = true
		}
		sent := sentOf(srv.Camera("c"), 1)
		for _, u := range sent {
			if d := u.PTS - sent[0].PTS; d < got[len(got)-1].PTS-got[0].PTS && !at[d] {
				missing++
			}
		}
		if n := told(); missing == 0 || n < uint64(missing) || n > uint64(len(sent)-len(got)) {
			t.Errorf("%d units are told as dropped; %d are missing between those that came, %d in all", n, missing, len(sent)-len(got))
		}
		// A pipeline may stop before who waits for it gets to see that the time is
		// over, which is in time then.
		for try := 1; !slices.Contains(s.states(), ingest.EventUnreleased); try++ {
			if try == 20 {
				t.Fatalf("no pipeline is told as unreleased, the last time: %v", s.states())
			}
			s, stop, wait = start(t, cfg)
			eventually(t, "pictures", func() bool { return len(s.of(1)) > 3 })
			stop()
			_ = wait()
		}
	})
}

func TestRefusedTransport(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		feed := clip(t, testenv.Clip{Seconds: 3}).With(true, 1)
		srv := server(t, camsim.Config{NoUDP: true, Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed}}})
		_, _, wait := start(t, rtsp.Config{Engine: engine, URL: fixed(t, srv.URL("c")), Transport: rtsp.TransportUDP})
		err := wait()
		var e *rtsp.Error
		if !errors.Is(err, rtsp.ErrRefused) || !errors.As(err, &e) || !strings.Contains(e.Cause, "UDP") {
			t.Errorf("UDP is refused with %v", err)
		}
	})
}
