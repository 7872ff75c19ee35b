package forward

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/processorstest"
	"github.com/framelog/framelog/schemas"
)

// fakeServer takes connections and keeps what they send.
type fakeServer struct {
	down  error                           // why it takes no connection
	dials []time.Duration                 // when it was dialled, since the test began
	write func(ctx context.Context) error // what comes before a sample is taken; nil: nothing
	conns []*fakeConn
	began time.Time
	takes time.Duration // to close a connection
}

type fakeConn struct {
	s       *fakeServer
	tracks  []schemas.Track
	samples []string
	closed  atomic.Bool
	ended   chan struct{}
}

func (s *fakeServer) dial(_ context.Context, _ string, tracks []schemas.Track, _ int64) (connection, error) {
	s.dials = append(s.dials, time.Since(s.began))
	if s.down != nil {
		return nil, s.down
	}
	c := &fakeConn{s: s, tracks: tracks, ended: make(chan struct{})}
	s.conns = append(s.conns, c)
	return c, nil
}

func (c *fakeConn) write(ctx context.Context, t *schemas.Track, s schemas.Sample, _ time.Time) error {
	if c.s.write != nil {
		if err := c.s.write(ctx); err != nil {
			return err
		}
	}
	c.samples = append(c.samples, fmt.Sprintf("%s %s", t.Codec, s.Data))
	return nil
}

func (c *fakeConn) flush(ctx context.Context) error { return ctx.Err() }
func (c *fakeConn) gone() <-chan struct{}           { return c.ended }
func (c *fakeConn) err() error                      { return errors.New("it has hung up") }

func (c *fakeConn) close() {
	time.Sleep(c.s.takes)
	c.closed.Store(true)
}

// sent is what all connections were sent.
func (s *fakeServer) sent() (all []string) {
	for _, c := range s.conns {
		all = append(all, c.samples...)
	}
	return all
}

func newFake(t *testing.T) (*fakeServer, *forwarder) {
	t.Helper()
	s := &fakeServer{began: time.Now()}
	f, err := newForwarder("push", Settings{URL: "rtmp://127.0.0.1/live/{camera}", MaxDelay: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	f.dial = s.dial
	return s, f
}

// fragment makes fragment seq: one second, a picture in each of four chunks, and sound.
func fragment(seq uint64, edit func(c *schemas.Chunk)) *processors.Fragment {
	const picture = schemas.MediaTimescale / 4
	media := int64(seq) * schemas.MediaTimescale
	start := time.Date(2026, 3, 1, 12, 0, int(seq), 0, time.UTC)
	var chunks []*schemas.Chunk
	for i := range uint32(4) {
		at := media + int64(i)*picture
		c := &schemas.Chunk{
			Session: 1, Seq: seq, Index: i, Last: i == 3, Start: start.Add(time.Duration(i) * time.Second / 4),
			Runs: []schemas.Run{
				{Track: schemas.VideoTrack, Samples: []schemas.Sample{{DTS: at, Duration: picture, Sync: i == 0, Data: fmt.Appendf(nil, "%d.%d", seq, i)}}},
				{Track: schemas.AudioTrack, Samples: []schemas.Sample{
					{DTS: schemas.Rescale(at, schemas.MediaTimescale, 8000) - 100, Duration: 1000, Sync: true, Data: fmt.Appendf(nil, "%d.%d", seq, i)},
				}},
			},
		}
		if i == 0 {
			c.Tracks = []schemas.Track{
				{ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale, Config: []byte{1}},
				{ID: schemas.AudioTrack, Codec: schemas.AAC, Timescale: 8000},
			}
		}
		if edit != nil {
			edit(c)
		}
		chunks = append(chunks, c)
	}
	e := schemas.Entry{Kind: schemas.KindWhole, Seq: seq, Session: 1, Media: media, Duration: schemas.MediaTimescale, Start: start, Chunks: 4}
	return processors.NewFragment("door", e, chunks...)
}

// push processes a fragment and returns its note.
func push(t *testing.T, f *forwarder, in *processors.Fragment) Note {
	t.Helper()
	p := processors.Processor{Name: f.name, Process: f.process}
	r, err := p.Collect(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	var n Note
	if err := json.Unmarshal([]byte(r.Notes[f.name]), &n); err != nil {
		t.Fatalf("note %q: %v", r.Notes[f.name], err)
	}
	return n
}

// pushAt is push at the time at which the fragment's last chunk comes.
func pushAt(t *testing.T, s *fakeServer, f *forwarder, seq uint64) Note {
	t.Helper()
	time.Sleep(time.Until(s.began.Add(time.Duration(seq) * time.Second)))
	return push(t, f, fragment(seq, nil))
}

func want(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// A connection takes fragment after fragment, pictures and sound in the order of their times.
func TestPush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFake(t)
		for seq := uint64(1); seq <= 2; seq++ {
			want(t, "note", pushAt(t, s, f, seq), Note{Sent: 4})
		}
		want(t, "connections", len(s.conns), 1)
		want(t, "sent", s.sent()[:5], "[aac 1.0 h264 1.0 aac 1.1 h264 1.1 aac 1.2]")
		want(t, "samples", len(s.sent()), 16)
	})
}

// While the server is away, footage is dropped and attempts become rarer. It goes on with
// the keyframe of the newest fragment.
func TestServerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFake(t)
		want(t, "note", pushAt(t, s, f, 1), Note{Sent: 4})
		close(s.conns[0].ended)
		s.down = errors.New("no route")
		const until = 200
		for seq := uint64(2); seq < until; seq++ {
			n := pushAt(t, s, f, seq)
			if n.Sent != 0 || n.Dropped != 4 || n.Reason != "it has hung up" && n.Reason != "no route" {
				t.Fatalf("note of %d: %+v", seq, n)
			}
		}
		s.down = nil
		seq := uint64(until)
		for ; len(s.conns) == 1; seq++ {
			pushAt(t, s, f, seq)
		}
		want(t, "first of the new connection", s.conns[1].samples[1], fmt.Sprintf("h264 %d.0", seq-1))
		longest := time.Duration(0)
		for i, at := range s.dials[2:] {
			gap := at - s.dials[i+1]
			longest = max(longest, gap)
			if gap < backoffFirst/2 || gap > backoffMax+time.Second {
				t.Errorf("attempt %d comes %v after the one before", i+2, gap)
			}
		}
		if longest < backoffMax/2 || len(s.dials) > 30 {
			t.Errorf("%d attempts, at most %v from one to the next", len(s.dials), longest)
		}
		// After a fragment that was sent as a whole the first attempt comes soon again.
		close(s.conns[1].ended)
		pushAt(t, s, f, seq)
		pushAt(t, s, f, seq+1)
		want(t, "connections", len(s.conns), 3)
	})
}

// If the server is slower than MaxDelay allows, the rest of the fragment is dropped, and
// each one that comes too late. It goes on with a keyframe, on the same connection.
func TestServerIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFake(t)
		pushAt(t, s, f, 1)
		writes := 0
		s.write = func(context.Context) error {
			if writes++; writes == 4 { // the second picture of fragment 2
				time.Sleep(4 * time.Second)
			}
			return nil
		}
		var notes []Note
		for seq := uint64(2); seq <= 8; seq++ {
			notes = append(notes, pushAt(t, s, f, seq))
		}
		slow := Note{Dropped: 4, Reason: errLate.Error()}
		want(t, "notes", notes, []Note{{Sent: 2, Dropped: 2, Reason: errLate.Error()}, slow, slow, slow, {Sent: 4}, {Sent: 4}, {Sent: 4}})
		want(t, "connections", len(s.conns), 1)
		want(t, "after the drop", s.sent()[8:13], "[aac 2.0 h264 2.0 aac 2.1 h264 2.1 aac 6.0]")
	})
}

// Clocks of cameras and hosts drift. That alone drops nothing.
func TestDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFake(t)
		for seq := uint64(1); seq <= 60; seq++ {
			time.Sleep(time.Until(s.began.Add(time.Duration(seq) * 900 * time.Millisecond))) // the camera's second is short
			want(t, "note", push(t, f, fragment(seq, nil)), Note{Sent: 4})
		}
		// A new session begins where the wall clock is.
		later := fragment(61, func(c *schemas.Chunk) { c.Session = 2 })
		time.Sleep(time.Minute)
		want(t, "note", push(t, f, later), Note{Sent: 4})
	})
}

// What the server has, or was left out, is not sent later: a backlog, another attempt.
func TestOldFootageIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFake(t)
		pushAt(t, s, f, 5)
		for _, seq := range []uint64{5, 4} {
			want(t, "note", push(t, f, fragment(seq, nil)), Note{Dropped: 4, Reason: errStale.Error()})
		}
		want(t, "samples", len(s.sent()), 8)
	})
}

// Another decoder configuration needs another connection.
func TestTracksChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFake(t)
		pushAt(t, s, f, 1)
		push(t, f, fragment(2, func(c *schemas.Chunk) {
			if c.Index == 0 {
				c.Tracks[0].Config = []byte{2}
			}
		}))
		want(t, "connections", len(s.conns), 2)
		want(t, "the first is closed", s.conns[0].closed.Load(), true)
		want(t, "tracks", s.conns[1].tracks[0].Config, []byte{2})
	})
}

// What the protocol cannot carry is left out.
func TestOtherTracks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFake(t) // RTMP
		push(t, f, fragment(1, func(c *schemas.Chunk) {
			if c.Index == 0 {
				c.Tracks[1].Codec = schemas.Opus
			}
		}))
		want(t, "tracks", len(s.conns[0].tracks), 1)
		want(t, "sent", s.sent(), "[h264 1.0 h264 1.1 h264 1.2 h264 1.3]")
	})
}

// The leading pictures of an open GOP are left out where the server lacks the GOP before.
func TestOpenGOP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFake(t)
		open := func(seq uint64) *processors.Fragment {
			in := fragment(seq, func(c *schemas.Chunk) {
				c.OpenGOP = true
				c.Runs = c.Runs[:1]
				c.Runs[0].Samples[0].PTSOffset = []int32{67500, -22500, -22500, 22500}[c.Index]
			})
			in.OpenGOP = true
			return in
		}
		want(t, "note", push(t, f, open(1)), Note{Sent: 2, Dropped: 2})
		want(t, "note", push(t, f, open(2)), Note{Sent: 4})
		want(t, "note behind a fragment that was left out", push(t, f, open(4)), Note{Sent: 2, Dropped: 2})
		want(t, "sent", s.sent(), "[h264 1.0 h264 1.3 h264 2.0 h264 2.1 h264 2.2 h264 2.3 h264 4.0 h264 4.3]")
	})
}

// When the context ends, a write that blocks ends, and so does its connection: the server
// has a part of a picture.
func TestContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFake(t)
		blocked := make(chan struct{})
		s.write = func(ctx context.Context) error {
			close(blocked)
			<-ctx.Done()
			return ctx.Err()
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-blocked
			cancel()
		}()
		p := processors.Processor{Name: f.name, Process: f.process}
		_, err := p.Collect(ctx, fragment(1, nil))
		if !errors.Is(err, context.Canceled) || !s.conns[0].closed.Load() {
			t.Errorf("%v, the connection is closed: %v", err, s.conns[0].closed.Load())
		}
		want(t, "a new one needs no wait", s.dials, "[0s]")
		s.write = nil
		want(t, "note", push(t, f, fragment(2, nil)), Note{Sent: 4})
	})
}

// A server that takes nothing for long counts as away.
func TestServerIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFake(t)
		pushAt(t, s, f, 1)
		s.write = func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		want(t, "note", pushAt(t, s, f, 2), Note{Dropped: 4, Reason: errStuck.Error()})
		want(t, "time", time.Since(s.began), 2*time.Second+writeTimeout)
		want(t, "closed", s.conns[0].closed.Load(), true)
		s.write = nil
		want(t, "note", pushAt(t, s, f, 20), Note{Sent: 4})
	})
}

// A camera that is away, or that another process pushes, has no connection here.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFake(t)
		pushAt(t, s, f, 1)
		time.Sleep(idleTimeout - time.Second)
		synctest.Wait()
		want(t, "closed before", s.conns[0].closed.Load(), false)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		want(t, "closed", s.conns[0].closed.Load(), true)
		want(t, "note", pushAt(t, s, f, 30), Note{Sent: 4})
		want(t, "connections", len(s.conns), 2)
	})
}

// Close ends all connections at the same time, and waits for one that ends already.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFake(t)
		s.takes = 2 * time.Second
		for i, pause := range []time.Duration{0, idleTimeout + time.Second} {
			for _, camera := range []string{"door", "gate"} {
				in := fragment(uint64(i)+1, nil)
				in.Camera = camera
				push(t, f, in)
			}
			time.Sleep(pause)
			began := time.Now()
			_ = f.close()
			for _, c := range s.conns {
				want(t, "closed", c.closed.Load(), true)
			}
			want(t, "it is quick", time.Since(began) <= s.takes, true)
		}
	})
}

// While the server is away, a fragment's note depends on the fragment alone, and nothing is
// left behind.
func TestConformance(t *testing.T) {
	p, err := New("push", Settings{URL: "rtsp://127.0.0.1:1/{camera}"}) // no server has this port
	if err != nil {
		t.Fatal(err)
	}
	processorstest.Run(t, p)
}

// Several fragments of a camera at a time: one after another is sent.
func TestConcurrently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFake(t)
		s.write = func(context.Context) error {
			time.Sleep(time.Millisecond)
			return nil
		}
		done := make(chan Note)
		for seq := uint64(1); seq <= 2; seq++ {
			go func() { done <- push(t, f, fragment(seq, nil)) }()
		}
		notes := []Note{<-done, <-done}
		var seqs []string
		for _, sample := range s.sent() {
			seqs = append(seqs, strings.Fields(sample)[1][:1])
		}
		if seqs = slices.Compact(seqs); !slices.Equal(seqs, []string{"1", "2"}) && !slices.Equal(seqs, []string{"2"}) {
			t.Errorf("samples are of %v", seqs)
		}
		if !slices.Contains(notes, Note{Sent: 4}) || len(s.conns) != 1 {
			t.Errorf("%+v, %d connections", notes, len(s.conns))
		}
	})
}
