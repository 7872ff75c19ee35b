package faults

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// camScene is one Framelog with many cameras, each on an RTSP server of its
// own, and what the API has said of them.
type camScene struct {
	*testenv.Framelog
	log     *medialog.Log
	servers map[string]*camsim.Server
	pauses  *testenv.Pauses

	mu      sync.Mutex
	history map[string][]camStatus // each change of what the API says
}

// camStatus is what the API says of a camera.
type camStatus struct {
	schemas.Status
	Stale bool
	At    time.Time `json:"-"`
}

func (s camStatus) String() string {
	return fmt.Sprintf("%s %s error=%q problem=%q %dx%d", s.At.Format("15:04:05.000"), s.State, s.Error, s.Problem, s.Width, s.Height)
}

// clean says that the camera is live and nothing is wrong with it.
func (s camStatus) clean() bool {
	return s.State == schemas.StateLive && s.Error == "" && s.Problem == "" && !s.Stale
}

// list fetches what the API says of all cameras.
func (s *camScene) list(ctx context.Context) (map[string]camStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, testenv.Patience/2)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/v1/cameras", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var list struct {
		Cameras []struct {
			ID     string
			Status *camStatus
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		return nil, err
	}
	all := map[string]camStatus{}
	for _, c := range list.Cameras {
		if c.Status != nil {
			c.Status.At = time.Now()
			all[c.ID] = *c.Status
		}
	}
	return all, nil
}

// follow keeps the history of all cameras until ctx ends.
func (s *camScene) follow(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if all, err := s.list(ctx); err == nil {
			s.mu.Lock()
			for id, now := range all {
				h := s.history[id]
				if n := len(h); n == 0 || h[n-1].State != now.State || h[n-1].Error != now.Error || h[n-1].Problem != now.Problem ||
					h[n-1].Stale != now.Stale || h[n-1].Width != now.Width || h[n-1].Height != now.Height {
					s.history[id] = append(h, now)
				}
			}
			s.mu.Unlock()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// said is what the API has said of a camera so far.
func (s *camScene) said(id string) []camStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]camStatus(nil), s.history[id]...)
}

// named waits until the API says, from the moment from on, something of the
// camera that cond takes, and returns it.
func (s *camScene) named(t *testing.T, id string, from time.Time, what string, cond func(camStatus) bool) (found camStatus) {
	t.Helper()
	const timeout = 2 * testenv.Patience
	if !camWait(t, timeout, func() bool {
		said := s.since(id, from)
		i := slices.IndexFunc(said, cond)
		if i >= 0 {
			found = said[i]
		}
		return i >= 0
	}) {
		t.Errorf("%s: the API did not say %s within %v; it said:\n%s", id, what, timeout, camLines(s.said(id)))
	}
	return found
}

// since is what the API has said of a camera from the moment from on. What was
// said before holds until the next word.
func (s *camScene) since(id string, from time.Time) []camStatus {
	h := s.said(id)
	for len(h) > 1 && !h[1].At.After(from) {
		h = h[1:]
	}
	return h
}

// problem is named with a state, and a text of error or problem.
func (s *camScene) problem(t *testing.T, id string, from time.Time, state schemas.State, text string) {
	t.Helper()
	re := regexp.MustCompile(text)
	s.named(t, id, from, fmt.Sprintf("%s, %q", state, text), func(x camStatus) bool {
		return x.State == state && (re.MatchString(x.Error) || re.MatchString(x.Problem))
	})
}

// cleared waits until the API says that the camera is well.
func (s *camScene) cleared(t *testing.T, id string) {
	t.Helper()
	const timeout = 2 * testenv.Patience
	if !camWait(t, timeout, func() bool {
		h := s.said(id)
		return len(h) > 0 && h[len(h)-1].clean()
	}) {
		t.Errorf("%s: the API still finds fault after %v; it said:\n%s", id, timeout, camLines(s.said(id)))
	}
}

func camLines(h []camStatus) string {
	var b strings.Builder
	for _, s := range h {
		fmt.Fprintf(&b, "\t%v\n", s)
	}
	return b.String()
}

// camWait polls cond, and says whether it came true; the test goes on.
func camWait(t *testing.T, timeout time.Duration, cond func() bool) bool {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(timeout)
	defer end.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-end.C:
			return cond()
		case <-t.Context().Done():
			return false
		}
	}
	return true
}

// lasts waits for d to pass: a fault must last so long to be one. It is no
// synchronisation.
func lasts(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

// connect opens the log of a scene.
func (s *camScene) connect(t *testing.T) {
	t.Helper()
	l, err := medialog.Connect(medialog.Config{Kafka: kafka.Config{Brokers: []string{s.Broker}, ClientID: "test"}}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	s.log = l
}

// entries is the index of a camera; nil where it has none yet.
func (s *camScene) entries(t *testing.T, id string) []schemas.Entry {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	var out []schemas.Entry
	for e, err := range s.log.Entries(ctx, schemas.Topic{Camera: id}, medialog.Range{}) {
		if err != nil {
			if ctx.Err() != nil {
				t.Fatalf("%s: read index: %v", id, err)
			}
			return out
		}
		out = append(out, e)
	}
	return out
}

// more waits for n fragments more, all from the moment from on, and returns
// all entries.
func (s *camScene) more(t *testing.T, id string, from time.Time, n int) (all []schemas.Entry) {
	t.Helper()
	if !camWait(t, 2*testenv.Patience, func() bool {
		all = s.entries(t, id)
		return len(all) >= n && all[len(all)-n].Start.After(from)
	}) {
		t.Fatalf("%s: no %d fragments after %s; the log has:\n%s\nthe API said:\n%s",
			id, n, from.Format("15:04:05.000"), camIndex(all), camLines(s.said(id)))
	}
	return all
}

// listed waits until a camera has a playlist. Who comes first may wait for it for
// longer than egress lets him, and a strict client takes that for a fault.
func (s *camScene) listed(t *testing.T, id string) {
	t.Helper()
	testenv.Wait(t, 2*testenv.Patience, "a playlist of "+id, func() bool {
		p, _ := procPlaylist(t, s.URL, id)
		return p != nil
	})
}

func camIndex(entries []schemas.Entry) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "\t%d %s session %d layout %d/%d %s +%v lost %+v %s\n", e.Seq, e.Kind, e.Session, e.Layout.ID, e.Layout.Target,
			e.Start.Format("15:04:05.000"), schemas.FromTicks(e.Duration).Round(time.Millisecond), e.Lost, e.Reason)
	}
	return b.String()
}

// recorded is one picture or frame of sound of the log.
type recorded struct {
	schemas.Sample
	entry  *schemas.Entry
	camera bool // the chunk has the camera's own time
	hash   [32]byte
}

// footage is what the log holds of one track, in order.
func (s *camScene) footage(t *testing.T, id string, entries []schemas.Entry, track uint8) []recorded {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*testenv.Patience)
	defer cancel()
	var out []recorded
	for i := range entries {
		e := &entries[i]
		chunks := 0
		for c, err := range s.log.Chunks(ctx, schemas.Topic{Camera: id}, *e) {
			if err != nil {
				t.Fatalf("%s: read fragment %d: %v", id, e.Seq, err)
			}
			chunks++
			for _, r := range c.Runs {
				if r.Track != track {
					continue
				}
				for _, x := range r.Samples {
					codec := e.Layout.Video
					if track == schemas.AudioTrack {
						codec = e.Layout.Audio
					}
					out = append(out, recorded{x, e, !c.CameraTime.IsZero(), camHash(t, codec, x.Data)})
				}
			}
		}
		if chunks != int(e.Chunks) {
			t.Errorf("%s: fragment %d has %d chunks, its entry says %d", id, e.Seq, chunks, e.Chunks)
		}
	}
	return out
}

// camHash is of what must come out as it went in: slices, frames of sound.
func camHash(t *testing.T, codec schemas.Codec, data []byte) (sum [32]byte) {
	t.Helper()
	slices, err := camsim.Slices(codec, data)
	if err != nil {
		return sha256.Sum256(data) // it is no picture, and equals none
	}
	h := sha256.New()
	for _, s := range slices {
		fmt.Fprintf(h, "%d:", len(s))
		h.Write(s)
	}
	h.Sum(sum[:0])
	return sum
}

// absent says whether e tells of time in which nothing was recorded.
func absent(e schemas.Entry) bool {
	return e.Kind == schemas.KindGap && e.Reason == schemas.ReasonAbsent
}

// dense checks what holds of every camera: numbers without a hole, sessions
// that grow by one, fragments that are whole, time that does not go back.
func dense(t *testing.T, id string, entries []schemas.Entry) {
	t.Helper()
	bad := false
	wrong := func(format string, args ...any) {
		t.Helper()
		bad = true
		t.Errorf(id+": "+format, args...)
	}
	for i, e := range entries {
		switch {
		case absent(e):
			if i+1 < len(entries) && !absent(entries[i+1]) && entries[i+1].Session != e.Session+1 {
				wrong("no session begins behind the absence %d", e.Seq)
			}
		case e.Kind != schemas.KindWhole:
			wrong("fragment %d is %s (%s)", e.Seq, e.Kind, e.Reason)
		}
		if i == 0 {
			continue
		}
		p := entries[i-1]
		if e.Seq != p.Seq+1 {
			wrong("fragment %d comes after %d", e.Seq, p.Seq)
		}
		if e.Session != p.Session && e.Session != p.Session+1 {
			wrong("session %d comes after %d", e.Session, p.Session)
		}
		if e.Media < p.MediaEnd() {
			wrong("fragment %d starts %d ticks before the end of the one before", e.Seq, p.MediaEnd()-e.Media)
		}
		if e.Layout.ID < p.Layout.ID || e.Layout.Target < p.Layout.Target {
			wrong("layout %+v comes after %+v", e.Layout, p.Layout)
		}
	}
	if bad {
		t.Logf("%s: index:\n%s", id, camIndex(entries))
	}
}

// sessions is how many sessions entries have.
func sessions(entries []schemas.Entry) int {
	n := 0
	for i := range entries {
		if i == 0 || entries[i].Session != entries[i-1].Session {
			n++
		}
	}
	return n
}

// corrected says whether e, which follows p, begins a session because that of p
// began late: where the machine stands still while a session's first picture
// comes, its public time is ahead of the clock for good, and ingest soon begins
// another one (assemble.Config.MaxDrift). Nothing else has public time go back
// that far under one writer.
func corrected(p, e *schemas.Entry) bool {
	return e.Session != p.Session && e.Epoch == p.Epoch && p.End().Sub(e.Start) > 300*time.Millisecond
}

// corrections is how many of the sessions of entries began so.
func corrections(entries []schemas.Entry) (n int) {
	for i := 1; i < len(entries); i++ {
		if corrected(&entries[i-1], &entries[i]) {
			n++
		}
	}
	return n
}

// wantSessions checks how many sessions entries have, beside corrections.
func wantSessions(t *testing.T, id string, entries []schemas.Entry, want int) {
	t.Helper()
	if n := sessions(entries); n < want || n > want+corrections(entries) {
		t.Errorf("%s: %d sessions, want %d:\n%s", id, n, want, camIndex(entries))
	}
}

// matched is how the log's footage compares with what was sent.
type matched struct {
	strange []recorded    // recorded and never sent
	missing []camsim.Sent // sent between two recorded ones, and not recorded
	across  int           // how many of the missing lie between two sessions
	first   camsim.Sent
	last    camsim.Sent
}

// match finds each recorded sample among what the camera sent, in order.
func match(t *testing.T, cam *camsim.Camera, codec schemas.Codec, track uint8, got []recorded) (m matched) {
	t.Helper()
	if n := cam.Forgotten(); n > 0 {
		t.Fatalf("the camera has forgotten %d units", n)
	}
	var sent []camsim.Sent
	var sums [][32]byte
	for _, u := range cam.Sent() {
		if u.Track == track {
			sent, sums = append(sent, u), append(sums, camHash(t, codec, u.Data))
		}
	}
	at, session := 0, uint64(0)
	for _, r := range got {
		j := at
		for j < len(sent) && sums[j] != r.hash {
			j++
		}
		if j == len(sent) {
			m.strange = append(m.strange, r)
			continue
		}
		if session == 0 {
			m.first = sent[j]
		} else {
			m.missing = append(m.missing, sent[at:j]...)
			if r.entry.Session != session {
				m.across += j - at
			}
		}
		m.last, session, at = sent[j], r.entry.Session, j+1
	}
	return m
}

// intact checks that the pictures in the log are those that were sent, none
// missing within a session.
func (s *camScene) intact(t *testing.T, id string, entries []schemas.Entry) matched {
	t.Helper()
	got := s.footage(t, id, entries, schemas.VideoTrack)
	m := match(t, s.servers[id].Camera("cam"), schemas.H264, schemas.VideoTrack, got)
	if len(m.strange) > 0 {
		t.Errorf("%s: %d of %d pictures in the log were never sent, the first in fragment %d", id, len(m.strange), len(got), m.strange[0].entry.Seq)
	}
	if n := len(m.missing) - m.across; n > 0 {
		t.Errorf("%s: %d pictures are missing within sessions (of %d recorded)", id, n, len(got))
	}
	return m
}
