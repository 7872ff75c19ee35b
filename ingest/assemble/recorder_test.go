package assemble

import (
	"fmt"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
)

// memory is a recorder that keeps everything and holds every call against
// what the log demands.
type memory struct {
	t testing.TB

	fragments []*recorded
	gaps      []gapped
	lost      schemas.Lost // of all fragments
	sessions  int          // begun
	absent    []string     // why nothing was recorded before each session
	pending   bool         // a session begins with what comes next
	open      *recorded
	lastDTS   int64
	lastEnd   map[uint8]int64
	loose     bool // parts may be shorter than 85 per cent
	parts     int
	maxChunk  int // bytes of pictures, if there is more than one; 0: any
}

type recorded struct {
	session int
	chunks  []*schemas.Chunk
	closed  bool
	reason  string // of a truncation
	lost    schemas.Lost
}

type gapped struct {
	session         int
	media, duration int64
	reason          string
}

func (m *memory) fail(format string, args ...any) {
	m.t.Helper()
	m.t.Errorf("session %d, fragment %d: %s", m.sessions, len(m.fragments), fmt.Sprintf(format, args...))
}

func (m *memory) NewSession(reason string) {
	m.t.Helper()
	m.absent = append(m.absent, reason)
	if m.open != nil {
		m.fail("a session begins inside a fragment")
	}
	m.pending = true
}

// begin takes account of a new session.
func (m *memory) begin() {
	if m.pending {
		m.pending = false
		m.sessions++
		m.lastDTS, m.lastEnd = -1<<62, map[uint8]int64{}
	}
}

func (m *memory) Write(c *schemas.Chunk) error {
	m.t.Helper()
	m.begin()
	b, err := schemas.EncodeChunk(c)
	if err != nil {
		m.fail("chunk %d is refused: %v", c.Index, err)
	} else if _, err := schemas.DecodeChunk(b); err != nil {
		m.fail("chunk %d does not decode: %v", c.Index, err)
	}
	if c.Index == 0 {
		if m.open != nil {
			m.fail("a fragment begins inside another")
		}
		if len(c.Tracks) == 0 || c.Tracks[0].ID != schemas.VideoTrack {
			m.fail("chunk 0 has no tracks")
		}
		m.open = &recorded{session: m.sessions}
		m.fragments = append(m.fragments, m.open)
	} else if len(c.Tracks) != 0 {
		m.fail("chunk %d has tracks", c.Index)
	}
	if m.open == nil {
		m.fail("chunk %d without a fragment", c.Index)
		return nil
	}
	if int(c.Index) != len(m.open.chunks) {
		m.fail("chunk %d, want %d", c.Index, len(m.open.chunks))
	}
	m.open.chunks = append(m.open.chunks, c)
	m.checkVideo(c)
	m.checkAudio(c)
	if c.Last {
		m.open.closed = true
		m.open = nil
	}
	return nil
}

// ended counts the sessions whose last chunk tells that the source ended.
func (m *memory) ended() (n int) {
	m.t.Helper()
	for i, f := range m.fragments {
		for k, c := range f.chunks {
			if !c.Ended {
				continue
			}
			n++
			last := i == len(m.fragments)-1 || m.fragments[i+1].session != f.session
			if !last || k != len(f.chunks)-1 || !c.Last {
				m.fail("chunk %d of fragment %d says that the source ended, and is not its session's last", k, i)
			}
		}
	}
	return n
}

func (m *memory) checkVideo(c *schemas.Chunk) {
	m.t.Helper()
	v := c.Video()
	if len(v) == 0 {
		m.fail("chunk %d has no picture", c.Index)
		return
	}
	if c.Index == 0 && !v[0].Sync {
		m.fail("fragment begins with no keyframe")
	}
	for _, s := range v {
		if s.DTS <= m.lastDTS {
			m.fail("DTS %d after %d", s.DTS, m.lastDTS)
		}
		m.lastDTS = s.DTS
		if s.Duration == 0 {
			m.fail("duration 0")
		}
	}
	size := 0
	for _, s := range v {
		size += len(s.Data)
	}
	if m.maxChunk > 0 && len(v) > 1 && size > m.maxChunk {
		m.fail("chunk %d has %d bytes", c.Index, size)
	}
	if v[0].DTS < m.lastEnd[1] {
		m.fail("chunk %d begins at %d inside the one before, which ends at %d", c.Index, v[0].DTS, m.lastEnd[1])
	}
	m.lastEnd[1] = c.MediaEnd()
	d, part := c.MediaEnd()-c.MediaStart(), int64(c.Layout.Part)
	if part == 0 {
		return
	}
	if first := m.open.chunks[0].Layout; c.Layout != first {
		m.fail("chunk %d has layout %+v, chunk 0 %+v", c.Index, c.Layout, first)
	}
	m.parts++
	if d > part || (!c.Last && !m.loose && d*100 < part*85) {
		m.fail("chunk %d of %d pictures lasts %d of a part target of %d", c.Index, len(v), d, part)
	}
}

func (m *memory) checkAudio(c *schemas.Chunk) {
	m.t.Helper()
	for _, r := range c.Runs {
		if r.Track == schemas.VideoTrack {
			continue
		}
		if c.Layout.Audio == "" {
			m.fail("sound in a session without")
		}
		for i, s := range r.Samples {
			if i == 0 && s.DTS < m.lastEnd[r.Track] {
				m.fail("sound at %d inside the frame before, which ends at %d", s.DTS, m.lastEnd[r.Track])
			}
			m.lastEnd[r.Track] = s.DTS + int64(s.Duration)
		}
	}
}

func (m *memory) Truncate(reason string) {
	m.t.Helper()
	if m.open == nil {
		m.fail("truncated without a fragment")
		return
	}
	m.open.closed, m.open.reason = true, reason
	m.open = nil
}

func (m *memory) Gap(_ time.Time, media, duration int64, reason string) {
	m.t.Helper()
	m.begin()
	if m.open != nil {
		m.fail("a gap inside a fragment")
	}
	if duration <= 0 {
		m.fail("a gap of %d", duration)
	}
	m.gaps = append(m.gaps, gapped{m.sessions, media, duration, reason})
}

func (m *memory) Lost(l schemas.Lost) {
	m.lost.Packets += l.Packets
	m.lost.Units += l.Units
	if m.open != nil {
		m.open.lost.Packets += l.Packets
		m.open.lost.Units += l.Units
	}
}

// samples is all samples of a track in their order.
func (m *memory) samples(track uint8) []schemas.Sample {
	var all []schemas.Sample
	for _, f := range m.fragments {
		for _, c := range f.chunks {
			for _, r := range c.Runs {
				if r.Track == track {
					all = append(all, r.Samples...)
				}
			}
		}
	}
	return all
}
