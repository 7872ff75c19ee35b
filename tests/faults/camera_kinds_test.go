package faults

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/oracle/hlscheck"
	"github.com/framelog/framelog/tests/testenv"
)

// resizes: another resolution is another session with another decoder
// configuration, and nothing is lost.
func resizes(t *testing.T, s *camScene, id string) {
	small, large := camLoad(t, camSmall), camLoad(t, camLarge)
	s.live(t, id)
	s.listed(t, id)
	w := camWatch(t, hlscheck.Config{URL: s.URL + "/hls/" + id + "/index.m3u8", LowLatency: true, Strict: true, MaxStall: testenv.Patience / 2})
	if !camWait(t, 2*testenv.Patience, func() bool { return w.Stats().Segments > 2 }) {
		t.Fatalf("%s: no playlist", id)
	}
	size := func(width, height uint16) func(camStatus) bool {
		return func(x camStatus) bool { return x.clean() && x.Width == width && x.Height == height }
	}
	s.named(t, id, time.Time{}, "320x240", size(320, 240))
	from := time.Now()
	s.cam(id).Switch(large)
	s.named(t, id, from, "480x360", size(480, 360))
	s.more(t, id, time.Now(), 3)
	from = time.Now()
	s.cam(id).Switch(small)
	s.named(t, id, from, "320x240 again", size(320, 240))
	all := s.more(t, id, time.Now(), 3)
	dense(t, id, all)
	if m := s.intact(t, id, all); len(m.missing) > 0 {
		t.Errorf("%s: %d pictures are missing", id, len(m.missing))
	}
	wantSessions(t, id, all, 3)
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
	w.lists(t, id, all)
	if stats := w.end(t, id); stats.Discontinuities < 2 || stats.Discontinuities > 2+corrections(all) || stats.Gaps > 0 || stats.Playlists != 1 {
		t.Errorf("%s: want two discontinuities in one playlist, saw %+v", id, stats)
	}
}

// stretches: a GOP of 20 s is one fragment of 20 s, with another layout: the
// playlist's target duration grows with its parts, and the playlist goes on.
func stretches(t *testing.T, s *camScene, id string) {
	w := camWatch(t, hlscheck.Config{URL: s.URL + "/hls/" + id + "/index.m3u8", LowLatency: true, Strict: true, Interruptions: true, MaxStall: -1})
	from := time.Now()
	s.problem(t, id, from, schemas.StateLive, "keyframes are more than 10s apart")
	var long schemas.Entry
	if !camWait(t, 2*testenv.Patience, func() bool {
		for _, e := range s.entries(t, id) {
			if schemas.FromTicks(e.Duration) > 19*time.Second {
				long = e
				return true
			}
		}
		return false
	}) {
		t.Fatalf("%s: no long fragment:\n%s", id, camIndex(s.entries(t, id)))
	}
	s.cleared(t, id)
	all := s.more(t, id, long.End(), 3)
	dense(t, id, all)
	if m := s.intact(t, id, all); len(m.missing) > 0 {
		t.Errorf("%s: %d pictures are missing", id, len(m.missing))
	}
	wantSessions(t, id, all, 1)
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
	m := s.playlist(t, id)
	if m == nil || m.EndList || m.Target != 30*time.Second || m.Sequence > long.Seq || m.Open.Seq <= long.Seq {
		t.Errorf("%s: the playlist does not go on over fragment %d: %+v", id, long.Seq, m)
	}
	w.lists(t, id, all)
	if stats := w.end(t, id); stats.Playlists != 1 || stats.Discontinuities > corrections(all) || stats.Gaps > 0 {
		t.Errorf("%s: want one playlist without a break, saw %+v", id, stats)
	}
}

// playlist is the media playlist of a camera, nil where there is none.
func (s *camScene) playlist(t *testing.T, id string) *hlscheck.Media {
	t.Helper()
	status, body, err := s.Get(t, "/hls/"+id+"/raw.m3u8")
	if err != nil || status != http.StatusOK {
		t.Errorf("%s: playlist: status %d, %v", id, status, err)
		return nil
	}
	m, err := hlscheck.ParseMedia(string(body))
	if err != nil {
		t.Errorf("%s: playlist: %v", id, err)
	}
	return m
}

// noKeyframe: 30 s without a keyframe are one long fragment, and no footage is
// lost.
func noKeyframe(t *testing.T, s *camScene, id string) {
	s.live(t, id)
	from := time.Now()
	s.cam(id).NoKeyframes(true)
	s.problem(t, id, from, schemas.StateLive, "no keyframe for 20s: set a shorter keyframe")
	named := time.Now()
	// By what was sent: a machine that stands still sends later.
	var last, newest camsim.Sent // keyframe; unit
	if !camWait(t, 2*testenv.Patience, func() bool {
		for _, u := range s.cam(id).Sent() {
			if newest = u; u.Sync {
				last = u
			}
		}
		return schemas.FromTicks(newest.DTS-last.DTS) >= 30*time.Second
	}) {
		t.Errorf("%s: the camera did not send 30 s without a keyframe", id)
	}
	s.cam(id).NoKeyframes(false)
	if d := named.Sub(last.At); d < 19*time.Second {
		t.Errorf("%s: named after %v", id, d)
	}
	s.cleared(t, id)
	all := s.more(t, id, time.Now(), 3)
	dense(t, id, all)
	if m := s.intact(t, id, all); len(m.missing) > 0 {
		t.Errorf("%s: %d pictures are missing", id, len(m.missing))
	}
	// The longest fragment is from the last keyframe before to the first after.
	longest, want, key := int64(0), int64(0), int64(-1)
	for _, e := range all {
		longest = max(longest, e.Duration)
	}
	for _, u := range s.cam(id).Sent() {
		if u.Sync {
			if key >= 0 {
				want = max(want, u.DTS-key)
			}
			key = u.DTS
		}
	}
	if longest != want || schemas.FromTicks(want) < 29*time.Second {
		t.Errorf("%s: the longest fragment has %v, the camera sent no keyframe for %v:\n%s",
			id, schemas.FromTicks(longest), schemas.FromTicks(want), camIndex(all))
	}
	wantSessions(t, id, all, 1)
}

// neverKeyframe: a camera that has sent none yet is not live, and is named.
func neverKeyframe(t *testing.T, s *camScene, id string) {
	// Unusable, for nothing is recorded.
	s.problem(t, id, time.Time{}, schemas.StateUnusable, "no keyframe for 20s: set a shorter keyframe")
	if all := s.entries(t, id); len(all) > 0 {
		t.Errorf("%s: footage without a keyframe:\n%s", id, camIndex(all))
	}
	s.cam(id).NoKeyframes(false)
	s.cleared(t, id)
	all := s.more(t, id, time.Now(), 3)
	dense(t, id, all)
	if m := s.intact(t, id, all); len(m.missing) > 0 {
		t.Errorf("%s: %d pictures are missing", id, len(m.missing))
	}
}

// loses: of what is lost on the way over UDP the entries tell how much; units
// that lack a part are left out, and all others are there.
func loses(t *testing.T, s *camScene, id string) {
	drops := testenv.UDPDrops(t)
	s.live(t, id)
	from := time.Now()
	s.cam(id).Lose(0.05, 7)
	s.problem(t, id, from, schemas.StateLive, "lost")
	lasts(t, time.Until(from.Add(12*time.Second)))
	s.cam(id).Lose(0, 0)
	s.cleared(t, id)
	all := s.more(t, id, time.Now(), 4)
	dense(t, id, all)
	m := s.intactBut(t, id, all)
	var told schemas.Lost
	for _, e := range all {
		told.Packets += e.Lost.Packets
		told.Units += e.Lost.Units
	}
	lost, broken := 0, 0
	for _, u := range s.cam(id).Sent() {
		lost += u.Lost
		if u.Lost > 0 && u.Lost < u.Count {
			broken++
		}
	}
	t.Logf("%d packets lost, %d pictures damaged; the log tells of %+v; %d pictures are missing", lost, broken, told, len(m.missing))
	// Beside what the camera left out the machine may have thrown packets away.
	drops = testenv.UDPDrops(t) - drops
	if n := int(told.Packets); lost == 0 || n < lost || n > lost+drops {
		t.Errorf("%s: %d packets were lost, the entries tell of %d, and the machine has thrown %d away", id, lost, n, drops)
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
			t.Errorf("%s: fragment %d, after the fault, tells of %+v", id, e.Seq, e.Lost)
		}
	}
	wantSessions(t, id, all, 1)
}

// intactBut checks that the log holds nothing that was not sent; something may
// be missing.
func (s *camScene) intactBut(t *testing.T, id string, entries []schemas.Entry) matched {
	t.Helper()
	got := s.footage(t, id, entries, schemas.VideoTrack)
	m := match(t, s.cam(id), schemas.H264, schemas.VideoTrack, got)
	if len(m.strange) > 0 {
		t.Errorf("%s: %d of %d pictures in the log were never sent, the first in fragment %d", id, len(m.strange), len(got), m.strange[0].entry.Seq)
	}
	return m
}

// babbles: packets that are no media.
func babbles(t *testing.T, s *camScene, id string) {
	s.live(t, id)
	from := time.Now()
	// Either the connection goes on without what is damaged, or it ends for what
	// it says that it sends.
	wrong := func(x camStatus) bool {
		return x.State == schemas.StateUnusable && x.Error != "" ||
			strings.Contains(x.Problem, "damaged") || strings.Contains(x.Problem, "packets are lost") // by their numbers
	}
	// Until it is seen: each time the camera may be well again within a second.
	for n := 0; n < 6 || n < 120 && !slices.ContainsFunc(s.since(id, from), wrong); n++ {
		s.cam(id).GarbagePackets(40)
		lasts(t, 500*time.Millisecond)
	}
	end := time.Now()
	s.named(t, id, from, "what is wrong", wrong)
	s.cleared(t, id)
	s.named(t, id, end, "320x240 again", func(x camStatus) bool { return x.clean() && x.Width == 320 && x.Height == 240 })
	all := s.more(t, id, time.Now(), 4)
	dense(t, id, all)
	if all[0].Config != all[len(all)-1].Config {
		// Where the connection outlived it, garbage may have been taken for a
		// parameter set that the camera has none of: it goes with the connection.
		s.cam(id).Drop()
		end = time.Now()
		all = s.more(t, id, end, 4)
		dense(t, id, all)
	}
	if a, b := all[0].Config, all[len(all)-1].Config; a != b {
		t.Errorf("%s: the configuration was %s before the fault and is %s after it", id, a, b)
	}
	s.onlyBetween(t, id, all, from, end)
}

// corrupts: packets whose payload is damaged on the way to the camera's own
// network. No header tells of it, so it stands in the log as it came.
func corrupts(t *testing.T, s *camScene, id string) {
	s.live(t, id)
	from := time.Now()
	s.cam(id).Corrupt(0.3, 11)
	lasts(t, 5*time.Second)
	s.cam(id).Corrupt(0, 0)
	end := time.Now()
	s.cleared(t, id)
	all := s.more(t, id, time.Now(), 4)
	dense(t, id, all)
	s.onlyBetween(t, id, all, from, end)
}

// noise: bytes between two messages of the RTSP connection.
func noise(t *testing.T, s *camScene, id string) {
	s.live(t, id)
	from := time.Now()
	s.cam(id).Refuse(true) // who was cut off stays away until that has been seen
	s.cam(id).GarbageBytes(4096)
	said := s.named(t, id, from, "what ended the connection", func(x camStatus) bool { return x.State == schemas.StateAway && x.Error != "" })
	t.Logf("the API said %v", said)
	s.cam(id).Refuse(false)
	end := time.Now()
	s.cleared(t, id)
	all := s.more(t, id, time.Now(), 4)
	dense(t, id, all)
	s.onlyBetween(t, id, all, from, end)
}

// onlyBetween checks that what differs from what was sent lies in the fault,
// but for a few fragments around it: what came before it may be on its way when
// it begins, and what it has begun ends later.
func (s *camScene) onlyBetween(t *testing.T, id string, all []schemas.Entry, from, to time.Time) {
	t.Helper()
	const before, after = 3 * time.Second, 10 * time.Second
	got := s.footage(t, id, all, schemas.VideoTrack)
	m := match(t, s.cam(id), schemas.H264, schemas.VideoTrack, got)
	t.Logf("%d pictures recorded, %d never sent as they are, %d missing, %d sessions", len(got), len(m.strange), len(m.missing), sessions(all))
	for _, r := range m.strange {
		if r.entry.End().Before(from.Add(-before)) || r.entry.Start.After(to.Add(after)) {
			t.Errorf("%s: fragment %d, which is not of the fault's time, holds a picture that was never sent", id, r.entry.Seq)
		}
	}
	for _, u := range m.missing {
		// Where nobody was connected nobody could have it.
		if u.Peers > 0 && (u.At.Before(from.Add(-before)) || u.At.After(to.Add(after))) {
			t.Errorf("%s: a picture sent at %s, not in the fault's time, is missing", id, u.At.Format("15:04:05.000"))
		}
	}
}

// lateReport: the camera's clock becomes known in the middle of a session. It
// stands beside the footage then, and moves nothing.
func lateReport(t *testing.T, s *camScene, id string) {
	s.live(t, id)
	if !camWait(t, 2*testenv.Patience, func() bool {
		all := s.entries(t, id)
		got := s.footage(t, id, all[max(0, len(all)-1):], schemas.VideoTrack)
		return len(got) > 0 && got[0].camera
	}) {
		t.Errorf("%s: the camera's clock is in no chunk", id)
	}
	all := s.more(t, id, time.Now(), 4)
	dense(t, id, all)
	if m := s.intact(t, id, all); len(m.missing) > 0 {
		t.Errorf("%s: %d pictures are missing", id, len(m.missing))
	}
	got := s.footage(t, id, all, schemas.VideoTrack)
	if got[0].camera {
		t.Errorf("%s: the camera's clock was known from the start", id)
	}
	for i := range got[1:] {
		if got[i+1].entry.Session != got[i].entry.Session {
			continue // one too many, or a correction
		}
		if d := got[i+1].DTS - got[i].DTS; d != schemas.MediaTimescale/15 || got[i+1].PTSOffset != 0 {
			t.Errorf("%s: picture %d comes %d ticks after the one before, offset %d", id, i+1, d, got[i+1].PTSOffset)
		}
	}
	sound := s.footage(t, id, all, schemas.AudioTrack)
	if m := match(t, s.cam(id), schemas.AAC, schemas.AudioTrack, sound); len(m.strange) > 0 || len(m.missing) > 0 {
		t.Errorf("%s: sound: %d frames never sent, %d missing", id, len(m.strange), len(m.missing))
	}
	for i := range sound[1:] {
		if sound[i+1].entry.Session != sound[i].entry.Session {
			continue
		}
		if d := sound[i+1].DTS - sound[i].DTS; d != 1024 {
			t.Errorf("%s: frame %d of sound comes %d ticks after the one before", id, i+1, d)
		}
	}
	wantSessions(t, id, all, 1)
	s.cleared(t, id)
}
