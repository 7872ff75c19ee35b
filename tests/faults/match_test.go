package faults

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
)

// recorded is one picture or frame of sound in the log.
type recorded struct {
	schemas.Sample
	entry      *schemas.Entry
	cameraTime bool // the chunk has the camera's own time
	hash       [32]byte
}

// footage reads what the log holds of one track, in order.
func (r reader) footage(t *testing.T, id string, entries []schemas.Entry, track uint8) []recorded {
	t.Helper()
	return r.footageOf(t, schemas.Topic{Camera: id}, entries, track)
}

// footageOf is footage of a camera or one of its renditions.
func (r reader) footageOf(t *testing.T, topic schemas.Topic, entries []schemas.Entry, track uint8) []recorded {
	t.Helper()
	var out []recorded
	for i := range entries {
		e := &entries[i]
		codec := e.Layout.Video
		if track == schemas.AudioTrack {
			codec = e.Layout.Audio
		}
		r.chunks(t, topic, e, func(c *schemas.Chunk) {
			for _, run := range c.Runs {
				if run.Track != track {
					continue
				}
				for _, x := range run.Samples {
					out = append(out, recorded{x, e, !c.CameraTime.IsZero(), contentHash(codec, x.Data)})
				}
			}
		})
	}
	return out
}

// contentHash hashes what must come out as it went in: the slices of a picture, or
// a frame of sound.
func contentHash(codec schemas.Codec, data []byte) (sum [32]byte) {
	slices, err := camsim.Slices(codec, data)
	if err != nil {
		return sha256.Sum256(data) // not a picture; it equals none
	}
	h := sha256.New()
	for _, s := range slices {
		fmt.Fprintf(h, "%d:", len(s))
		h.Write(s)
	}
	h.Sum(sum[:0])
	return sum
}

// matched tells how the log's footage differs from what the camera sent.
type matched struct {
	got     int             // recorded samples
	strange []recorded      // recorded, and never sent
	missing []camsim.Sent   // sent between two recorded ones, and not recorded
	across  int             // how many of the missing lie between two sessions
	before  map[uint64]hole // what is missing before each session
}

// hole is what is missing between two sessions.
type hole struct {
	missing int           // samples
	away    time.Duration // from where the last recorded one ends to when the camera sent the next recorded one
}

// match finds each recorded sample of a track among what the camera sent, in
// order.
func (s *scene) match(t *testing.T, id string, entries []schemas.Entry, codec schemas.Codec, track uint8) (m matched) {
	t.Helper()
	return s.matchOf(t, schemas.Topic{Camera: id}, id, entries, codec, track)
}

// matchOf is match of a topic with what one of the servers' cameras sent.
func (s *scene) matchOf(t *testing.T, topic schemas.Topic, id string, entries []schemas.Entry, codec schemas.Codec, track uint8) (m matched) {
	t.Helper()
	cam := s.servers.camera(id)
	got := s.footageOf(t, topic, entries, track)
	if n := cam.Forgotten(); n > 0 {
		t.Fatalf("%s: the camera has forgotten %d units", id, n)
	}
	var sent []camsim.Sent
	var sums [][32]byte
	for _, u := range cam.Sent() {
		if u.Track == track {
			sent, sums = append(sent, u), append(sums, contentHash(codec, u.Data))
		}
	}
	m.got = len(got)
	m.before = map[uint64]hole{}
	at, session := 0, uint64(0)
	var last recorded
	for _, r := range got {
		j := at
		for j < len(sent) && sums[j] != r.hash {
			j++
		}
		if j == len(sent) {
			m.strange = append(m.strange, r)
			continue
		}
		if session != 0 {
			m.missing = append(m.missing, sent[at:j]...)
			if r.entry.Session != session {
				m.across += j - at
				m.before[r.entry.Session] = hole{j - at, sent[j].At.Sub(sent[at-1].At) - schemas.FromTicks(int64(last.Duration))}
			}
		}
		session, at, last = r.entry.Session, j+1, r
	}
	return m
}

// checkSent checks that all pictures in the log were sent. Pictures may be missing.
func (s *scene) checkSent(t *testing.T, id string, entries []schemas.Entry) matched {
	t.Helper()
	m := s.match(t, id, entries, schemas.H264, schemas.VideoTrack)
	if len(m.strange) > 0 {
		t.Errorf("%s: %d of %d pictures in the log were never sent, the first in fragment %d", id, len(m.strange), m.got, m.strange[0].entry.Seq)
	}
	return m
}

// checkIntact checks that all pictures in the log were sent, and that none is
// missing within a session.
func (s *scene) checkIntact(t *testing.T, id string, entries []schemas.Entry) {
	t.Helper()
	m := s.checkSent(t, id, entries)
	if n := len(m.missing) - m.across; n > 0 {
		t.Errorf("%s: %d pictures are missing within sessions (of %d recorded)", id, n, m.got)
	}
}

// checkComplete checks that all pictures in the log were sent, and that none is
// missing, not even between sessions. With sound it checks the same of that.
func (s *scene) checkComplete(t *testing.T, id string, entries []schemas.Entry) {
	t.Helper()
	if m := s.checkSent(t, id, entries); len(m.missing) > 0 {
		t.Errorf("%s: %d pictures are missing", id, len(m.missing))
	}
	if entries[0].Layout.Audio == "" {
		return
	}
	m := s.match(t, id, entries, schemas.AAC, schemas.AudioTrack)
	if len(m.strange) > 0 || len(m.missing) > 0 {
		t.Errorf("%s: sound: %d frames never sent, %d missing", id, len(m.strange), len(m.missing))
	}
}

// checkDuring checks that what differs from what was sent lies between from and
// to, or near: footage from before the fault may still be on its way when it
// begins, and what it has begun ends later.
func (s *scene) checkDuring(t *testing.T, id string, all []schemas.Entry, from, to time.Time) {
	t.Helper()
	const before, after = 3 * time.Second, 10 * time.Second
	m := s.match(t, id, all, schemas.H264, schemas.VideoTrack)
	t.Logf("%d pictures recorded, %d never sent as they are, %d missing, %d sessions", m.got, len(m.strange), len(m.missing), sessions(all))
	for _, r := range m.strange {
		if r.entry.End().Before(from.Add(-before)) || r.entry.Start.After(to.Add(after)) {
			t.Errorf("%s: fragment %d, which is not of the fault's time, holds a picture that was never sent", id, r.entry.Seq)
		}
	}
	for _, u := range m.missing {
		// A picture that was sent to no client cannot be recorded.
		if u.Peers > 0 && (u.At.Before(from.Add(-before)) || u.At.After(to.Add(after))) {
			t.Errorf("%s: a picture sent at %s, not in the fault's time, is missing", id, u.At.Format("15:04:05.000"))
		}
	}
}
