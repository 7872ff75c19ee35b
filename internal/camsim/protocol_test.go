package camsim_test

import (
	"math"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/headers"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testclip"
)

// TestUnits compares NAL units and times with the record of what was sent,
// over a loop and over the wrap of sequence numbers and timestamps.
func TestUnits(t *testing.T) {
	for name, tc := range map[string]struct {
		protocol gortsplib.Protocol
		cfg      camsim.Config
		spec     testclip.Spec
	}{
		"TCP":      {gortsplib.ProtocolTCP, camsim.Config{}, testclip.Spec{}},
		"UDP":      {gortsplib.ProtocolUDP, camsim.Config{}, testclip.Spec{BFrames: 2}},
		"TLS":      {gortsplib.ProtocolTCP, camsim.Config{TLS: true}, testclip.Spec{BFrames: 2, Audio: schemas.AAC}},
		"WithPCMA": {gortsplib.ProtocolTCP, camsim.Config{}, testclip.Spec{Audio: camsim.PCMA}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clip := loop(t, tc.spec)
			seq, ts := uint16(65530), uint32(math.MaxUint32-45000)
			var c *client
			var cam *camsim.Camera
			lossless(t, tc.protocol == gortsplib.ProtocolUDP, func(dropped func() bool) func() {
				var s *camsim.Server
				s, cam = serve(t, tc.cfg, camsim.CameraConfig{Path: "a", Feed: clip, RTPSeq: &seq, RTPTime: &ts})
				var err error
				if c, err = connect(t, s.URL("a"), tc.protocol); err != nil {
					t.Fatal(err)
				}
				eventually(t, "three seconds of video", func() bool { return len(c.seen()) >= 75 || dropped() })
				c.Close()
				return func() {}
			})
			sets, err := camsim.ParameterSets(clip.Media[0])
			if err != nil {
				t.Fatal(err)
			}
			sent := cam.Sent()
			match(t, c.seen(), sent, sets)

			var info headers.RTPInfo
			if err := info.Unmarshal(c.play.Header["RTP-Info"]); err != nil {
				t.Fatal(err)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			for i, track := range clip.Media {
				first := c.packets[i][0]
				if got := *info[i].SequenceNumber; got != first.SequenceNumber || got != seq {
					t.Errorf("track %d: RTP-Info names packet %d, the first is %d, configured %d", i, got, first.SequenceNumber, seq)
				}
				if d := int32(first.Timestamp - *info[i].Timestamp); d < 0 || d > int32(track.Timescale)/5 {
					t.Errorf("track %d: the first packet is %d ticks after RTP-Info", i, d)
				}
				var want []uint32
				var last camsim.Sent
				for _, u := range sent {
					if u.Track != track.ID {
						continue
					}
					if last.Count > 0 && u.DTS != last.DTS+int64(last.Duration) && track.ID == schemas.VideoTrack {
						t.Errorf("track %d: DTS %d after %d + %d", i, u.DTS, last.DTS, last.Duration)
					}
					for range u.Count {
						want = append(want, uint32(int64(ts)+u.PTS))
					}
					last = u
				}
				for n, p := range c.packets[i] {
					if p.Timestamp != want[n] || p.SequenceNumber != seq+uint16(n) {
						t.Fatalf("track %d: packet %d has number %d and time %d, want %d and %d", i, n, p.SequenceNumber, p.Timestamp, seq+uint16(n), want[n])
					}
				}
			}
		})
	}
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	clip := loop(t, testclip.Spec{})
	for name, method := range map[string]camsim.Auth{"Digest": camsim.AuthDigest, "Basic": camsim.AuthBasic} {
		s, _ := serve(t, camsim.Config{Auth: method}, camsim.CameraConfig{Path: "a", Feed: clip, User: "me", Password: "right"})
		if _, err := connect(t, s.URL("a"), gortsplib.ProtocolTCP); err == nil {
			t.Errorf("%s: let in without a password", name)
		}
		if _, err := connect(t, "rtsp://me:wrong@"+s.Addr()+"/a", gortsplib.ProtocolTCP); err == nil {
			t.Errorf("%s: let in with a wrong password", name)
		}
		mustConnect(t, s.LoginURL("a")).more(t, 0, 10)
	}
}

func TestOneClient(t *testing.T) {
	t.Parallel()
	s, cam := serve(t, camsim.Config{}, camsim.CameraConfig{Path: "a", Feed: loop(t, testclip.Spec{}), OneClient: true})
	first := mustConnect(t, s.URL("a"))
	if _, err := connect(t, s.URL("a"), gortsplib.ProtocolTCP); err == nil {
		t.Error("a second client was let in")
	}
	first.Close()
	eventually(t, "the first client is off", func() bool { return cam.Clients() == 0 })
	eventually(t, "the next client is let in", func() bool {
		_, err := connect(t, s.URL("a"), gortsplib.ProtocolTCP)
		return err == nil
	})
}

// TestSenderReports checks that reports map the track's time to the wall
// clock, alike for both tracks, and come when configured.
func TestSenderReports(t *testing.T) {
	clip := loop(t, testclip.Spec{Audio: schemas.Opus})
	reports := func(c *client, track int) int { c.mu.Lock(); defer c.mu.Unlock(); return len(c.reports[track]) }
	t.Run("on", func(t *testing.T) {
		t.Parallel()
		s, cam := serve(t, camsim.Config{}, camsim.CameraConfig{Path: "a", Feed: clip, SenderReports: camsim.SenderReports{Every: 200 * time.Millisecond}})
		c := mustConnect(t, s.URL("a"))
		eventually(t, "reports of both tracks", func() bool { return reports(c, 0) >= 3 && reports(c, 1) >= 3 })
		cam.NoSenderReports(true)
		c.Close()
		// Where the wall clock was at RTP time zero of the presentation, by
		// the n-th report.
		origin := func(track, n int) time.Time {
			r := c.reports[track][n]
			rate := float64(clip.Media[track].Timescale)
			var first camsim.Sent
			for _, u := range cam.Sent() {
				if u.Track == clip.Media[track].ID {
					first = u
					break
				}
			}
			since := float64(int32(r.RTPTime-first.RTP))/rate + float64(first.PTS)/rate
			at := time.Unix(int64(r.NTPTime>>32)-2208988800, int64(r.NTPTime&math.MaxUint32*1e9>>32))
			return at.Add(-time.Duration(since * 1e9))
		}
		// The wall clock may be set between two reports, but not each time.
		apart := time.Duration(math.MaxInt64)
		for n := range 3 {
			apart = min(apart, origin(0, n).Sub(origin(1, n)).Abs())
		}
		if apart > 2*time.Millisecond {
			t.Errorf("reports put picture and sound %v apart", apart)
		}
		if d := time.Since(origin(0, 2)); d.Abs() > 5*time.Minute {
			t.Errorf("reports put the beginning %v ago", d)
		}
	})
	t.Run("late", func(t *testing.T) {
		t.Parallel()
		s, _ := serve(t, camsim.Config{}, camsim.CameraConfig{Path: "a", Feed: clip, SenderReports: camsim.SenderReports{After: time.Second}})
		began := time.Now()
		c := mustConnect(t, s.URL("a"))
		eventually(t, "a report", func() bool { return reports(c, 0) > 0 })
		if d := time.Since(began); d < 900*time.Millisecond {
			t.Errorf("the first report came after %v", d)
		}
	})
	t.Run("off", func(t *testing.T) {
		t.Parallel()
		s, _ := serve(t, camsim.Config{}, camsim.CameraConfig{Path: "a", Feed: clip, SenderReports: camsim.SenderReports{Off: true, Every: time.Millisecond}})
		c := mustConnect(t, s.URL("a"))
		c.more(t, 0, 60)
		if n := reports(c, 0) + reports(c, 1); n > 0 {
			t.Errorf("%d reports", n)
		}
	})
}
