package camsim_test

import (
	"bytes"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/format"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testclip"
	"github.com/framelog/framelog/tests/testenv"
)

// TestSwitchFirst changes the feed before any client came.
func TestSwitchFirst(t *testing.T) {
	t.Parallel()
	s, cam := serve(t, camsim.Config{}, camsim.CameraConfig{Path: "a", Feed: loop(t, testclip.Spec{})})
	if !cam.Switch(testclip.Make(t, testclip.Spec{Video: schemas.H264, Audio: schemas.AAC, Duration: time.Second})) {
		t.Fatal("the camera did not switch")
	}
	c := mustConnect(t, s.URL("a"))
	eventually(t, "the end of the clip", cam.Over)
	if n := len(c.desc.Medias); n != 2 || !cam.Sent()[0].Sync || cam.Sent()[0].Feed != 1 {
		t.Errorf("%d tracks, first unit %+v", n, cam.Sent()[0])
	}
}

func TestSpeed(t *testing.T) {
	t.Parallel()
	clip := testclip.Make(t, testclip.Spec{Video: schemas.H264, Duration: 10 * time.Second})
	pauses := testenv.WatchPauses(t)
	s, cam := serve(t, camsim.Config{}, camsim.CameraConfig{Path: "a", Feed: clip.With(false, 5)})
	began := time.Now()
	c := mustConnect(t, s.URL("a"))
	eventually(t, "the end of the clip", cam.Over)
	sent := cam.Sent()
	first, last := sent[0], sent[len(sent)-1]
	// It takes 2 s, and never less; late it may be, but not by another 7 s,
	// unless the machine stood still.
	if d := last.At.Sub(began); d < 1950*time.Millisecond {
		t.Errorf("10 s of footage took %v", d)
	}
	if d := last.At.Sub(first.At) - pauses.Sum(first.At, last.At); d > 9*time.Second {
		t.Errorf("10 s of footage took %v beside the machine's pauses", d)
	}
	if d := last.PTS - first.PTS; d != 249*3600 {
		t.Errorf("timestamps span %d ticks", d)
	}
	eventually(t, "all of it at the client", func() bool { return len(c.seen()) == 250 })
}

func TestDownAndUp(t *testing.T) {
	t.Parallel()
	s, _ := serve(t, camsim.Config{}, camsim.CameraConfig{Path: "a", Feed: loop(t, testclip.Spec{})})
	open := mustConnect(t, s.URL("a"))
	s.Down()
	if c, err := net.Dial("tcp", s.Addr()); err == nil {
		c.Close()
		t.Error("the port accepts while it is down")
	}
	open.more(t, 0, 10)
	if err := s.Up(); err != nil {
		t.Fatal(err)
	}
	mustConnect(t, s.URL("a")).more(t, 0, 10)
}

func TestRefuseAndDrop(t *testing.T) {
	t.Parallel()
	s, cam := serve(t, camsim.Config{}, camsim.CameraConfig{Path: "a", Feed: loop(t, testclip.Spec{})},
		camsim.CameraConfig{Path: "b", Feed: loop(t, testclip.Spec{})})
	a, b := mustConnect(t, s.URL("a")), mustConnect(t, s.URL("b"))
	a.more(t, 0, 10)
	cam.Refuse(true)
	cam.Drop()
	<-a.gone
	if _, err := connect(t, s.URL("a"), gortsplib.ProtocolTCP); err == nil {
		t.Error("a refusing camera let a client in")
	}
	b.more(t, 0, 10)
	cam.Refuse(false)
	mustConnect(t, s.URL("a")).more(t, 0, 10)
}

func TestStallAndMute(t *testing.T) {
	t.Parallel()
	s, cam := serve(t, camsim.Config{},
		camsim.CameraConfig{Path: "a", Feed: loop(t, testclip.Spec{Audio: schemas.AAC}), AudioAfter: 500 * time.Millisecond},
		camsim.CameraConfig{Path: "b", Feed: loop(t, testclip.Spec{})})
	other := mustConnect(t, s.URL("b"))
	began := time.Now()
	c := mustConnect(t, s.URL("a"))
	eventually(t, "sound", func() bool { return c.count(1) > 0 })
	if d := time.Since(began); d < 450*time.Millisecond {
		t.Errorf("sound came after %v", d)
	}
	cam.Mute(true)
	mark := len(cam.Sent())
	c.more(t, 0, 30)
	for _, u := range cam.Sent()[mark:] {
		if u.Track == schemas.AudioTrack {
			t.Error("a muted camera sent sound")
		}
	}
	cam.Mute(false)
	c.more(t, 1, 10)
	cam.Stall(true)
	mark = len(cam.Sent())
	other.more(t, 0, 12) // a packet or more each 40 ms
	if n := len(cam.Sent()); n != mark {
		t.Errorf("a stalled camera sent %d units", n-mark)
	}
	cam.Stall(false)
	c.more(t, 0, 10)
}

// TestStallBehindKey stalls with a keyframe as the last that is sent, and ends
// the connection when that is out of the queue: the client has it.
func TestStallBehindKey(t *testing.T) {
	t.Parallel()
	s, cam := serve(t, camsim.Config{}, camsim.CameraConfig{Path: "a", Feed: loop(t, testclip.Spec{Audio: schemas.AAC})})
	c := mustConnect(t, s.URL("a"))
	for range 3 {
		c.more(t, 0, 10)
		c.more(t, 1, 1)
		<-cam.StallBehindKey()
		sent := cam.Sent()
		last := sent[len(sent)-1]
		if last.Track != schemas.VideoTrack || !last.Sync {
			t.Errorf("the last unit is of track %d, sync: %v", last.Track, last.Sync)
		}
		eventually(t, "all that was sent is out", cam.Flushed)
		cam.Drop()
		<-c.gone
		if n := len(cam.Sent()); n != len(sent) {
			t.Errorf("a stalled camera sent %d units", n-len(sent))
		}
		c.mu.Lock()
		packets := c.packets[0]
		c.mu.Unlock()
		if got, want := packets[len(packets)-1].SequenceNumber, last.Seq+uint16(last.Count-1); got != want {
			t.Errorf("the last packet that came is %d, that was sent %d", got, want)
		}
		cam.Stall(false)
		c = mustConnect(t, s.URL("a"))
	}
}

func TestNoKeyframes(t *testing.T) {
	t.Parallel()
	s, cam := serve(t, camsim.Config{}, camsim.CameraConfig{Path: "a", Feed: loop(t, testclip.Spec{})})
	c := mustConnect(t, s.URL("a"))
	eventually(t, "a keyframe", func() bool { u := c.seen(); return len(u) > 1 && isKey(u[0]) })
	cam.NoKeyframes(true)
	mark := video(cam) // what was sent before may be under way still
	eventually(t, "two GOPs", func() bool { return len(c.seen()) > mark+20 })
	cam.NoKeyframes(false)
	seen := c.seen()
	for _, u := range seen[mark : mark+18] {
		if isKey(u) {
			t.Error("a keyframe came")
		}
	}
	eventually(t, "a keyframe again", func() bool {
		for _, u := range c.seen()[mark+20:] {
			if isKey(u) {
				return true
			}
		}
		return false
	})
}

func TestJump(t *testing.T) {
	t.Parallel()
	s, cam := serve(t, camsim.Config{}, camsim.CameraConfig{Path: "a", Feed: loop(t, testclip.Spec{Audio: schemas.AAC})})
	c := mustConnect(t, s.URL("a"))
	c.more(t, 0, 20)
	c.more(t, 1, 1)
	cam.Jump(time.Hour)
	// What was sent before may be under way still: it is the jump that is
	// waited for, and what comes behind it.
	rates := map[int]uint32{0: 90000, 1: 48000}
	for track, rate := range rates {
		eventually(t, "the jump", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			p := c.packets[track]
			return p[len(p)-1].Timestamp-p[0].Timestamp > 3500*rate
		})
		c.more(t, track, 20)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for track, rate := range rates {
		jumps := 0
		for i, p := range c.packets[track][1:] {
			if d := p.Timestamp - c.packets[track][i].Timestamp; d > 3500*rate {
				jumps++
				if d > 3601*rate {
					t.Errorf("track %d jumped by %d s", track, d/rate)
				}
			}
		}
		if jumps != 1 {
			t.Errorf("track %d: %d jumps", track, jumps)
		}
	}
}

func TestLoss(t *testing.T) {
	t.Parallel()
	for name, protocol := range map[string]gortsplib.Protocol{"UDP": gortsplib.ProtocolUDP, "TCP": gortsplib.ProtocolTCP} {
		seq := uint16(1000)
		s, cam := serve(t, camsim.Config{}, camsim.CameraConfig{Path: "a", Feed: loop(t, testclip.Spec{Bitrate: "1500k"}), RTPSeq: &seq})
		cam.Lose(0.05, 7)
		drops := testenv.UDPDrops(t)
		c, err := connect(t, s.URL("a"), protocol)
		if err != nil {
			t.Fatal(err)
		}
		c.more(t, 0, 400)
		c.mu.Lock()
		packets := c.packets[0]
		c.mu.Unlock()
		drops = testenv.UDPDrops(t) - drops
		end := int(packets[len(packets)-1].SequenceNumber - seq) // number of the last that came
		missing := end + 1 - len(packets)
		// What was lost of the units before the one that the last packet is
		// of, and at most of that one.
		sent, lost, most := 0, 0, 0
		for _, u := range cam.Sent() {
			if sent > end {
				break
			}
			if sent += u.Count; sent <= end {
				lost += u.Lost
			}
			most += u.Lost
		}
		if share := float64(most) / float64(sent); share < 0.02 || share > 0.09 {
			t.Errorf("%s: %d of %d packets were lost", name, most, sent)
		}
		// Over UDP a busy machine may throw packets of its own away.
		if name == "UDP" {
			most += drops
		}
		if missing < lost || missing > most {
			t.Errorf("%s: %d packets are missing, %d to %d were left out", name, missing, lost, most)
		}
	}
}

func TestGarbage(t *testing.T) {
	t.Parallel()
	s, cam := serve(t, camsim.Config{}, camsim.CameraConfig{Path: "a", Feed: loop(t, testclip.Spec{})})
	bad := func(c *client) int { c.mu.Lock(); defer c.mu.Unlock(); return c.errors }

	c := mustConnect(t, s.URL("a"))
	c.more(t, 0, 10)
	cam.GarbagePackets(50)
	eventually(t, "errors of the depacketizer", func() bool { return bad(c) > 0 })
	c.more(t, 0, 10)

	mark, seen := len(cam.Sent()), len(c.seen())+1 // one may be under way
	cam.Corrupt(0.2, 3)
	c.more(t, 0, 60)
	// What came and was never sent is what was corrupted. How much of that is
	// under way still nobody knows.
	eventually(t, "units that were corrupted", func() bool {
		broken, strange := 0, 0
		came := c.seen()
		all := cam.Sent() // which has all that came
		for _, u := range all[mark:] {
			broken += u.Broken
		}
		if broken == 0 || len(came) <= seen {
			return false
		}
		sent := map[string]bool{}
		for _, u := range all {
			nalus, err := camsim.NALUnits(u.Data)
			if err != nil {
				t.Fatal(err)
			}
			sent[string(bytes.Join(nalus, nil))] = true
		}
		for _, u := range came[seen:] {
			if !isKey(u) && !sent[string(bytes.Join(u, nil))] {
				strange++
			}
		}
		return strange > 0
	})
	cam.Corrupt(0, 0)

	noise := cam.GarbageBytes(4096)
	eventually(t, "noise on the connection", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return bytes.Contains(c.raw.Bytes(), noise)
	})
	mustConnect(t, s.URL("a")).more(t, 0, 10)
}

// TestSwitch goes on with another size, then with another GOP, then with
// another codec.
func TestSwitch(t *testing.T) {
	t.Parallel()
	small := loop(t, testclip.Spec{})
	large := loop(t, testclip.Spec{Size: "640x480", BFrames: 2})
	s, cam := serve(t, camsim.Config{}, camsim.CameraConfig{Path: "a", Feed: small})
	c := mustConnect(t, s.URL("a"))
	c.more(t, 0, 20)
	if !cam.Switch(large) {
		t.Fatal("the camera did not switch")
	}
	want, err := camsim.ParameterSets(large.Media[0])
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new parameter sets in band", func() bool {
		return slices.ContainsFunc(c.seen(), func(u [][]byte) bool { return isKey(u) && string(u[0]) == string(want[0]) })
	})
	c.more(t, 0, 20)
	var before, after []camsim.Sent
	for _, u := range cam.Sent() {
		if u.Feed == 0 {
			before = append(before, u)
		} else {
			after = append(after, u)
		}
	}
	if last, first := before[len(before)-1], after[0]; first.DTS != last.DTS+int64(last.Duration) || !first.Sync {
		t.Errorf("the new feed begins at %d (sync: %v), the old one ended at %d", first.DTS, first.Sync, last.DTS+int64(last.Duration))
	}
	next := mustConnect(t, s.URL("a"))
	if f := next.desc.Medias[0].Formats[0].(*format.H264); string(f.SPS) != string(want[0]) {
		t.Error("the SDP holds the old parameter sets")
	}

	other := testclip.Make(t, testclip.Spec{Video: schemas.H265, Duration: time.Second}).With(true, 1)
	if !cam.Switch(other) {
		t.Fatal("the camera did not switch")
	}
	<-c.gone // the tracks are others: clients have to come again
	again := mustConnect(t, s.URL("a"))
	again.more(t, 0, 10)
	if _, ok := again.desc.Medias[0].Formats[0].(*format.H265); !ok {
		t.Errorf("the SDP says %T", again.desc.Medias[0].Formats[0])
	}
}
