package faults

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/oracle/hlscheck"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// resizes: another resolution begins another session with another decoder
// configuration, and no picture goes missing.
func resizes(t *testing.T, s *cameraScene, id string) {
	first, second := system.Loop(t, small), system.Loop(t, large)
	s.waitRecorded(t, id)
	waitPlaylist(t, s.URL, id, nil)
	w := system.Watch(t, hlscheck.Config{URL: system.Multivariant(s.URL, id), LowLatency: true, Strict: true, MaxStall: testenv.Patience / 2})
	if !testenv.Poll(t, 2*testenv.Patience, func() bool { return w.Stats().Segments > 2 }) {
		t.Fatalf("%s: no playlist", id)
	}
	s.waitSaid(t, id, time.Time{}, "320x240", size(320, 240))
	from := time.Now()
	s.servers.camera(id).Switch(second)
	s.waitSaid(t, id, from, "480x360", size(480, 360))
	s.grown(t, id, time.Now(), 3)
	from = time.Now()
	s.servers.camera(id).Switch(first)
	s.waitSaid(t, id, from, "320x240 again", size(320, 240))
	all := s.grown(t, id, time.Now(), 3)
	checkWhole(t, id, all)
	s.checkComplete(t, id, all)
	checkSessions(t, id, all, 3)
	for i := range all[1:] {
		a, b := &all[i], &all[i+1]
		if (a.Config == b.Config) != (a.Session == b.Session || corrected(a, b)) || a.Layout != b.Layout {
			t.Errorf("%s: fragments %d and %d: configurations %s and %s, sessions %d and %d, layouts %v and %v",
				id, a.Seq, b.Seq, a.Config, b.Config, a.Session, b.Session, a.Layout, b.Layout)
		}
	}
	if all[0].Config != all[len(all)-1].Config {
		t.Errorf("%s: the first configuration came back as another", id)
	}
	waitListed(t, w, id, all)
	if stats := w.End(t, id); stats.Discontinuities < 2 || stats.Discontinuities > 2+corrections(all) || stats.Gaps > 0 || stats.Playlists != 1 {
		t.Errorf("%s: want two discontinuities in one playlist, saw %+v", id, stats)
	}
}

// stretches: a GOP of 20 s becomes one fragment of 20 s, with another layout. The
// playlist's target duration grows, and the playlist goes on.
func stretches(t *testing.T, s *cameraScene, id string) {
	w := system.Watch(t, hlscheck.Config{URL: system.Multivariant(s.URL, id), LowLatency: true, Strict: true, Interruptions: true, MaxStall: -1})
	from := time.Now()
	s.waitProblem(t, id, from, schemas.StateLive, "keyframes are more than 10s apart")
	var long schemas.Entry
	if !testenv.Poll(t, 2*testenv.Patience, func() bool {
		for _, e := range s.entries(t, id) {
			if schemas.FromTicks(e.Duration) > 19*time.Second {
				long = e
				return true
			}
		}
		return false
	}) {
		t.Fatalf("%s: no long fragment:\n%s", id, table(s.entries(t, id)))
	}
	s.waitClean(t, id)
	all := s.grown(t, id, long.End(), 3)
	checkWhole(t, id, all)
	s.checkComplete(t, id, all)
	checkSessions(t, id, all, 1)
	if d := schemas.FromTicks(long.Duration); d != 20*time.Second {
		t.Errorf("%s: the long fragment has %v, want 20s", id, d)
	}
	for _, e := range all {
		layout, target := uint32(0), uint32(2)
		if e.Seq >= long.Seq {
			layout, target = 1, 30
		}
		if e.Layout.ID != layout || e.Layout.Target != target {
			t.Errorf("%s: fragment %d has layout %d with target %d, want %d with %d", id, e.Seq, e.Layout.ID, e.Layout.Target, layout, target)
		}
	}
	m := system.MediaPlaylist(t, system.Multivariant(s.URL, id))
	if m == nil || m.EndList || m.Target != 30*time.Second || m.Sequence > long.Seq || m.Open.Seq <= long.Seq {
		t.Errorf("%s: the playlist does not go on over fragment %d: %+v", id, long.Seq, m)
	}
	waitListed(t, w, id, all)
	if stats := w.End(t, id); stats.Playlists != 1 || stats.Discontinuities > corrections(all) || stats.Gaps > 0 {
		t.Errorf("%s: want one playlist without a break, saw %+v", id, stats)
	}
}

// noKeyframe: 30 s without a keyframe become one long fragment, and no picture
// goes missing.
func noKeyframe(t *testing.T, s *cameraScene, id string) {
	s.waitRecorded(t, id)
	from := time.Now()
	s.servers.camera(id).NoKeyframes(true)
	s.waitProblem(t, id, from, schemas.StateLive, "no keyframe for 20s: set a shorter keyframe")
	named := time.Now()
	// Judged by what was sent, because a machine that stands still sends later.
	var last, newest camsim.Sent // keyframe; unit
	if !testenv.Poll(t, 2*testenv.Patience, func() bool {
		for _, u := range s.servers.camera(id).Sent() {
			if newest = u; u.Sync {
				last = u
			}
		}
		return schemas.FromTicks(newest.DTS-last.DTS) >= 30*time.Second
	}) {
		t.Errorf("%s: the camera did not send 30 s without a keyframe", id)
	}
	s.servers.camera(id).NoKeyframes(false)
	if d := named.Sub(last.At); d < 19*time.Second {
		t.Errorf("%s: named after %v", id, d)
	}
	all := s.waitRecovered(t, id, 3)
	s.checkComplete(t, id, all)
	// The longest fragment is from the last keyframe before to the first after.
	longest, want, key := int64(0), int64(0), int64(-1)
	for _, e := range all {
		longest = max(longest, e.Duration)
	}
	for _, u := range s.servers.camera(id).Sent() {
		if u.Sync {
			if key >= 0 {
				want = max(want, u.DTS-key)
			}
			key = u.DTS
		}
	}
	if longest != want || schemas.FromTicks(want) < 29*time.Second {
		t.Errorf("%s: the longest fragment has %v, the camera sent no keyframe for %v:\n%s",
			id, schemas.FromTicks(longest), schemas.FromTicks(want), table(all))
	}
	checkSessions(t, id, all, 1)
}

// neverKeyframe: a camera that has never sent a keyframe is not live, and the API
// says why.
func neverKeyframe(t *testing.T, s *cameraScene, id string) {
	// Unusable, because nothing is recorded.
	s.waitProblem(t, id, time.Time{}, schemas.StateUnusable, "no keyframe for 20s: set a shorter keyframe")
	if all := s.entries(t, id); len(all) > 0 {
		t.Errorf("%s: footage without a keyframe:\n%s", id, table(all))
	}
	s.servers.camera(id).NoKeyframes(false)
	all := s.waitRecovered(t, id, 3)
	s.checkComplete(t, id, all)
}

// loses: packets get lost over UDP. The entries tell how many. Pictures of which a
// packet is lost are left out, and all others are there.
func loses(t *testing.T, s *cameraScene, id string) {
	drops := testenv.UDPDrops(t)
	s.waitRecorded(t, id)
	from := time.Now()
	s.servers.camera(id).Lose(0.05, 7)
	s.waitProblem(t, id, from, schemas.StateLive, "lost")
	lasts(t, time.Until(from.Add(12*time.Second)))
	s.servers.camera(id).Lose(0, 0)
	all := s.waitRecovered(t, id, 4)
	m := s.checkSent(t, id, all)
	var told schemas.Lost
	for _, e := range all {
		told.Packets += e.Lost.Packets
		told.Units += e.Lost.Units
	}
	lost, broken := 0, 0
	for _, u := range s.servers.camera(id).Sent() {
		lost += u.Lost
		if u.Lost > 0 && u.Lost < u.Count {
			broken++
		}
	}
	t.Logf("%d packets lost, %d pictures damaged; the entries count %+v; %d pictures are missing", lost, broken, told, len(m.missing))
	// The machine may have dropped packets too, beside those that the camera left out.
	drops = testenv.UDPDrops(t) - drops
	if n := int(told.Packets); lost == 0 || n < lost || n > lost+drops {
		t.Errorf("%s: %d packets were lost, the entries count %d, and the machine has dropped %d", id, lost, n, drops)
	}
	for _, u := range m.missing {
		if u.Lost > 0 {
			continue
		}
		if drops--; drops < 0 {
			t.Errorf("%s: a picture of which no packet was lost is missing (sent %s)", id, u.At.Format("15:04:05.000"))
		}
	}
	for _, e := range all[len(all)-3:] {
		if e.Lost != (schemas.Lost{}) && drops <= 0 {
			t.Errorf("%s: fragment %d, after the fault, counts %+v", id, e.Seq, e.Lost)
		}
	}
	checkSessions(t, id, all, 1)
}

// babbles: the camera sends packets that are no media.
func babbles(t *testing.T, s *cameraScene, id string) {
	s.waitRecorded(t, id)
	from := time.Now()
	// Either the connection goes on without what is damaged, or it ends because
	// packets announce a format that they do not have.
	wrong := func(x status) bool {
		return x.State == schemas.StateUnusable && x.Error != "" ||
			strings.Contains(x.Problem, "damaged") || strings.Contains(x.Problem, "packets are lost") // by their numbers
	}
	// Until the API has said so: each time the camera may recover within a second.
	for n := 0; n < 6 || n < 120 && !slices.ContainsFunc(s.since(id, from), wrong); n++ {
		s.servers.camera(id).GarbagePackets(40)
		lasts(t, 500*time.Millisecond)
	}
	end := time.Now()
	s.waitSaid(t, id, from, "what is wrong", wrong)
	s.waitClean(t, id)
	s.waitSaid(t, id, end, "320x240 again", size(320, 240))
	all := s.grown(t, id, time.Now(), 4)
	checkWhole(t, id, all)
	if all[0].Config != all[len(all)-1].Config {
		// If the connection has survived, garbage may have been taken for a parameter
		// set of a kind that the camera does not send. Then it stays until the
		// connection ends.
		s.servers.camera(id).Drop()
		end = time.Now()
		all = s.grown(t, id, end, 4)
		checkWhole(t, id, all)
	}
	if a, b := all[0].Config, all[len(all)-1].Config; a != b {
		t.Errorf("%s: the configuration was %s before the fault and is %s after it", id, a, b)
	}
	s.checkDuring(t, id, all, from, end)
}

// corrupts: payloads are damaged before the camera sends them. No header tells of
// it, so the log has them as they came.
func corrupts(t *testing.T, s *cameraScene, id string) {
	s.waitRecorded(t, id)
	from := time.Now()
	s.servers.camera(id).Corrupt(0.3, 11)
	lasts(t, 5*time.Second)
	s.servers.camera(id).Corrupt(0, 0)
	end := time.Now()
	all := s.waitRecovered(t, id, 4)
	s.checkDuring(t, id, all, from, end)
}

// noise: bytes come between two messages of the RTSP connection. GStreamer ends it. The
// native engine looks for the next message, and misses what it skips.
func noise(t *testing.T, s *cameraScene, id string) {
	s.waitRecorded(t, id)
	from := time.Now()
	s.servers.camera(id).Refuse(true) // so that it stays away until the API has said so
	s.servers.camera(id).GarbageBytes(4096)
	said := s.waitSaid(t, id, from, "what ended the connection, or that packets are lost", func(x status) bool {
		return x.State == schemas.StateAway && x.Error != "" || strings.Contains(x.Problem, "packets are lost")
	})
	t.Logf("the API said %v", said)
	s.servers.camera(id).Refuse(false)
	end := time.Now()
	all := s.waitRecovered(t, id, 4)
	s.checkDuring(t, id, all, from, end)
}

// lateReport: the camera's clock becomes known in the middle of a session. From
// then on chunks have the camera's time too, and no timestamp moves.
func lateReport(t *testing.T, s *cameraScene, id string) {
	s.waitRecorded(t, id)
	if !testenv.Poll(t, 2*testenv.Patience, func() bool {
		all := s.entries(t, id)
		got := s.footage(t, id, all[max(0, len(all)-1):], schemas.VideoTrack)
		return len(got) > 0 && got[0].cameraTime
	}) {
		t.Errorf("%s: the camera's clock is in no chunk", id)
	}
	all := s.grown(t, id, time.Now(), 4)
	checkWhole(t, id, all)
	s.checkComplete(t, id, all)
	got := s.footage(t, id, all, schemas.VideoTrack)
	if got[0].cameraTime {
		t.Errorf("%s: the camera's clock was known from the start", id)
	}
	for i := range got[1:] {
		if got[i+1].entry.Session != got[i].entry.Session {
			continue // checked below, except for corrections
		}
		if d := got[i+1].DTS - got[i].DTS; d != schemas.MediaTimescale/15 || got[i+1].PTSOffset != 0 {
			t.Errorf("%s: picture %d comes %d ticks after the one before, offset %d", id, i+1, d, got[i+1].PTSOffset)
		}
	}
	sound := s.footage(t, id, all, schemas.AudioTrack)
	for i := range sound[1:] {
		if sound[i+1].entry.Session != sound[i].entry.Session {
			continue
		}
		if d := sound[i+1].DTS - sound[i].DTS; d != 1024 {
			t.Errorf("%s: frame %d of sound comes %d ticks after the one before", id, i+1, d)
		}
	}
	checkSessions(t, id, all, 1)
	s.waitClean(t, id)
}
