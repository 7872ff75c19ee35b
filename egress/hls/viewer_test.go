package hls

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/egress/parts"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// relative names a seq by its place behind the first of the tests.
func relative(seq uint64) int64 { return int64(seq - testPlace.Seq) }

// describe makes a line of a step: "2.1" is part 1 of fragment 2. The beginning of a fragment has
// no epoch.
func describe(s parts.Step) string {
	if l := s.LeftOut; l != nil {
		line := strings.TrimSpace(fmt.Sprintf("%s %d.%d to %d %s", l.Reason, relative(l.From.Seq), l.From.Part, relative(l.To), l.Cause))
		if l.From.Part == 0 && l.From.Epoch != 0 {
			line += fmt.Sprintf(", of epoch %d", l.From.Epoch)
		}
		return line
	}
	return fmt.Sprintf("%d.%d", relative(s.Fragment.Seq), s.Part)
}

// steps takes all that a cursor can get. A part that the caller has to read counts too.
func steps(m *model, c *cursor) (all []string) {
	for range 100 {
		s, stored, found, err := m.step(c)
		switch {
		case err != nil:
			return append(all, err.Error())
		case !found:
			return all
		case stored != nil:
			s.Fragment, s.Part = entryFacts(stored), c.Part
			c.took(stored.Epoch)
		}
		all = append(all, describe(s))
	}
	return append(all, "there is no end")
}

func complete(m *model, f testmedia.Fragment) {
	m.entry(f.Entry, m.confirms(&f.Entry))
}

// TestSteps: what a viewer gets of what happens in the log.
func TestSteps(t *testing.T) {
	f := testmedia.Synthetic(testPlace, 8) // 5 chunks each
	after := func(fragment int, part uint32) *cursor {
		return &cursor{resumes: true, Position: parts.Position{Seq: f[fragment].Entry.Seq, Epoch: 9, Part: part + 1}}
	}
	whole := func(t *testing.T, m *model, n ...int) {
		for _, i := range n {
			feed(t, m, f[i].Chunks...)
			complete(m, f[i])
		}
	}
	gap := testmedia.GapAt(f[1].Entry, time.Second)
	data := f[0].Entry
	data.Layout.Part = 0
	for _, c := range []struct {
		name string
		at   *cursor
		// each is followed by what the viewer gets
		happens []func(t *testing.T, m *model)
		want    []string
	}{
		{"nothing yet", nil, []func(*testing.T, *model){func(*testing.T, *model) {}}, []string{""}},
		{"the newest fragment, from its keyframe", nil, []func(*testing.T, *model){
			func(t *testing.T, m *model) { whole(t, m, 0, 1); feed(t, m, f[2].Chunks[:2]...) },
			func(t *testing.T, m *model) { feed(t, m, f[2].Chunks[2:]...) },
			func(_ *testing.T, m *model) { complete(m, f[2]) },
			func(t *testing.T, m *model) { feed(t, m, f[3].Chunks[:1]...) },
		}, []string{"2.0 2.1", "2.2 2.3 2.4", "", "3.0"}},
		{"the newest complete one while no other has begun", nil, []func(*testing.T, *model){
			func(t *testing.T, m *model) { whole(t, m, 0, 1) },
			func(t *testing.T, m *model) { feed(t, m, f[2].Chunks[:1]...) },
		}, []string{"1.0 1.1 1.2 1.3 1.4", "2.0"}},
		{"entries that are late", nil, []func(*testing.T, *model){
			func(t *testing.T, m *model) { whole(t, m, 0); feed(t, m, f[1].Chunks[:1]...) },
			func(t *testing.T, m *model) {
				feed(t, m, slices.Concat(f[1].Chunks[1:], f[2].Chunks, f[3].Chunks, f[4].Chunks[:1])...)
			},
		}, []string{"1.0", "1.1 1.2 1.3 1.4 2.0 2.1 2.2 2.3 2.4 3.0 3.1 3.2 3.3 3.4 4.0"}},
		{"slow: the rest of the newest complete fragment", nil, []func(*testing.T, *model){
			func(t *testing.T, m *model) { whole(t, m, 0); feed(t, m, f[1].Chunks[:2]...) },
			func(t *testing.T, m *model) {
				feed(t, m, f[1].Chunks[2:]...)
				complete(m, f[1])
				feed(t, m, f[2].Chunks[:2]...)
			},
		}, []string{"1.0 1.1", "1.2 1.3 1.4 2.0 2.1"}},
		{"slower: the newest keyframe", nil, []func(*testing.T, *model){
			func(t *testing.T, m *model) { whole(t, m, 0); feed(t, m, f[1].Chunks[:2]...) },
			func(t *testing.T, m *model) {
				feed(t, m, f[1].Chunks[2:]...)
				complete(m, f[1])
				whole(t, m, 2)
				feed(t, m, f[3].Chunks[:1]...)
			},
		}, []string{"1.0 1.1", "behind 1.2 to 3 3.0"}},
		{"a gap", nil, []func(*testing.T, *model){
			func(t *testing.T, m *model) { whole(t, m, 0, 1) },
			func(_ *testing.T, m *model) { m.entry(gap, nil) },
			func(t *testing.T, m *model) { feed(t, m, f[3].Chunks[:1]...) },
		}, []string{"1.0 1.1 1.2 1.3 1.4", "gap 2.0 to 3 budget", "3.0"}},
		{"the last picture before a gap, for a new viewer", nil, []func(*testing.T, *model){
			func(t *testing.T, m *model) { whole(t, m, 0, 1); m.entry(gap, nil) },
		}, []string{"1.0 1.1 1.2 1.3 1.4 gap 2.0 to 3 budget"}},
		{"a hole", nil, []func(*testing.T, *model){
			func(t *testing.T, m *model) { whole(t, m, 0, 1) },
			func(t *testing.T, m *model) {
				m.open(&schemas.Entry{Kind: schemas.KindOpen, Offset: 20, From: f[5].Entry.Seq})
				g := again(f[5], 20, 5)
				feed(t, m, g.Chunks...)
				complete(m, g)
			},
		}, []string{"1.0 1.1 1.2 1.3 1.4", "hole 2.0 to 5 5.0 5.1 5.2 5.3 5.4"}},
		{"a hole before the first entry", nil, []func(*testing.T, *model){
			func(t *testing.T, m *model) { feed(t, m, f[1].Chunks[:1]...) },
			func(t *testing.T, m *model) {
				m.open(&schemas.Entry{Kind: schemas.KindOpen, Offset: 20, From: f[5].Entry.Seq})
				feed(t, m, again(f[5], 20, 1).Chunks...)
			},
		}, []string{"1.0", "hole 1.1 to 5 5.0"}},
		{"another copy counts", nil, []func(*testing.T, *model){
			func(t *testing.T, m *model) { whole(t, m, 0); feed(t, m, f[1].Chunks[:3]...) },
			func(t *testing.T, m *model) { feed(t, m, again(f[1], 20, 5).Chunks...) }, // it is not clear yet
			func(t *testing.T, m *model) {
				complete(m, again(f[1], 20, 5))
				feed(t, m, again(f[2], 20, 1).Chunks...)
			},
		}, []string{"1.0 1.1 1.2", "", "replaced 1.3 to 2 2.0"}},
		{"fewer chunks count than were sent", nil, []func(*testing.T, *model){
			func(t *testing.T, m *model) { whole(t, m, 0); feed(t, m, f[1].Chunks[:3]...) },
			func(t *testing.T, m *model) {
				complete(m, again(f[1], 9, 2))
				feed(t, m, again(f[2], 20, 1).Chunks...)
			},
		}, []string{"1.0 1.1 1.2", "2.0"}},
		{"data, which has no parts", nil, []func(*testing.T, *model){
			func(_ *testing.T, m *model) { m.entry(data, nil) },
		}, []string{parts.ErrUnplayable.Error()}},
		{"resumes in the unfinished fragment", after(2, 0), []func(*testing.T, *model){
			func(t *testing.T, m *model) { whole(t, m, 0, 1); feed(t, m, f[2].Chunks[:3]...) },
		}, []string{"2.1 2.2"}},
		{"resumes in the newest complete one", after(1, 3), []func(*testing.T, *model){
			func(t *testing.T, m *model) { whole(t, m, 0, 1); feed(t, m, f[2].Chunks[:1]...) },
		}, []string{"1.4 2.0"}},
		{"resumes behind its last part", after(1, 4), []func(*testing.T, *model){
			func(t *testing.T, m *model) { whole(t, m, 0, 1); feed(t, m, f[2].Chunks[:1]...) },
		}, []string{"2.0"}},
		{"was away for too long", after(0, 3), []func(*testing.T, *model){
			func(t *testing.T, m *model) { whole(t, m, 0, 1); feed(t, m, f[2].Chunks[:1]...) },
		}, []string{"behind 0.4 to 2 2.0"}},
		{"has another copy", &cursor{resumes: true, Position: parts.Position{Seq: f[1].Entry.Seq, Epoch: 8, Part: 1}}, []func(*testing.T, *model){
			func(t *testing.T, m *model) { whole(t, m, 0, 1); feed(t, m, f[2].Chunks[:1]...) },
		}, []string{"behind 1.1 to 2 2.0"}},
		{"has what does not exist", after(7, 1), []func(*testing.T, *model){
			func(t *testing.T, m *model) { whole(t, m, 0, 1) },
		}, []string{"behind 7.2 to 1 1.0 1.1 1.2 1.3 1.4"}},
	} {
		m, at := newModel(time.Minute, 1<<20), c.at
		if at == nil {
			at = &cursor{}
		}
		for i, happens := range c.happens {
			happens(t, m)
			if got := strings.Join(steps(m, at), " "); got != c.want[i] {
				t.Errorf("%s: after event %d: %q, want %q", c.name, i, got, c.want[i])
			}
		}
	}
}

// all takes what a viewer can get at once, and compares each part with its chunk.
func all(t *testing.T, v parts.Viewer, f []testmedia.Fragment) (got []string) {
	t.Helper()
	for {
		s, changed, err := v.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if changed != nil {
			return got
		}
		got = append(got, describe(s))
		if s.LeftOut == nil {
			of := f[relative(s.Fragment.Seq)]
			if !bytes.Equal(s.Data, blocks(t, of)[s.Part]) {
				t.Errorf("part %s has other bytes than its chunk", got[len(got)-1])
			}
			if e := of.Entry; s.Fragment.Media != e.Media || !s.Fragment.Start.Equal(e.Start) || s.Fragment.Session != e.Session || s.Fragment.Config != e.Config {
				t.Errorf("fragment %+v, its entry is %+v", s.Fragment, e)
			}
		}
	}
}

// TestViewer: a viewer gets each part once, with the bytes of HLS, wherever the server has it:
// in memory, in a file, or in the log alone.
func TestViewer(t *testing.T) {
	for name, cfg := range map[string]Config{
		"in memory": {}, "in files": {Mode: Always, Dir: "files", Reserve: 1}, "in the log": {CacheBytes: 1 << 10},
	} {
		synctest.Test(t, func(t *testing.T) {
			if cfg.Dir != "" {
				cfg.Dir = t.TempDir()
			}
			log := newFakeLog()
			f := testmedia.Synthetic(testPlace, 12)
			log.add("cam", f[:3]...)
			s := run(t, cfg, log)
			v, err := s.View(t.Context(), liveCam, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			synctest.Wait()
			got := all(t, v, f)
			for i := 3; i < 12; i++ {
				log.chunk("cam", f[i].Chunks[0])
				log.chunk("cam", f[i].Chunks[1])
				synctest.Wait()
				got = append(got, all(t, v, f)...)
				for _, c := range f[i].Chunks[2:] {
					log.chunk("cam", c)
				}
				log.entry("cam", f[i].Entry) // it comes before the viewer has taken the last parts
				synctest.Wait()
				got = append(got, all(t, v, f)...)
				time.Sleep(time.Minute) // far longer than Linger: a viewer alone keeps the tail
				synctest.Wait()
			}
			var want []string
			for i := 2; i < 12; i++ {
				for part := range 5 {
					want = append(want, fmt.Sprintf("%d.%d", i, part))
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: got %v", name, got)
			}
			init, err := v.Init(t.Context())
			if err != nil || init.Codecs != "avc1.4D400D,mp4a.40.2" || string(init.Data) != initAt(t, s, f[2].Entry.Config) {
				t.Errorf("%s: init: %v, codecs %s", name, err, init.Codecs)
			}
		})
	}
}

// asWritten is a ResponseWriter that keeps the slices that it is given.
type asWritten struct {
	*httptest.ResponseRecorder
	all [][]byte
}

func (w *asWritten) Write(b []byte) (int, error) {
	w.all = append(w.all, b)
	return w.ResponseRecorder.Write(b)
}

// TestPartIsMadeOnce: viewers and clients of HLS get a part from the same memory, whenever they
// ask for it: before the fragment has its entry, and after it.
func TestPartIsMadeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		f := testmedia.Synthetic(testPlace, 4)
		log.add("cam", f[:3]...)
		s := run(t, Config{}, log)
		view := func() parts.Viewer {
			v, err := s.View(t.Context(), liveCam, nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(v.Close)
			synctest.Wait()
			return v
		}
		fast, slow := view(), view()
		all(t, fast, f)
		all(t, slow, f)

		made := make([][]byte, len(f[3].Chunks)) // the parts of the last fragment, as the first viewer gets them
		same := func(who string, part int, b []byte) {
			t.Helper()
			if len(b) != len(made[part]) || &b[0] != &made[part][0] {
				t.Errorf("%s gets part %d, %d bytes, from other memory than the first viewer", who, part, len(b))
			}
		}
		next := func(v parts.Viewer, part int) []byte {
			t.Helper()
			step, changed, err := v.Next(t.Context())
			if err != nil || changed != nil || describe(step) != fmt.Sprintf("3.%d", part) {
				t.Fatalf("%s, %v, %v; want part %d", describe(step), changed != nil, err, part)
			}
			return step.Data
		}
		overHLS := func(name string) [][]byte {
			t.Helper()
			w := &asWritten{ResponseRecorder: httptest.NewRecorder()}
			s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, fmt.Sprintf("/hls/cam/raw/m1/%d%s.m4s", f[3].Entry.Seq, name), nil))
			want(t, w.ResponseRecorder, 200)
			return w.all
		}
		for part, c := range f[3].Chunks {
			log.chunk("cam", c)
			synctest.Wait()
			made[part] = next(fast, part)
			if !bytes.Equal(made[part], blocks(t, f[3])[part]) {
				t.Fatalf("part %d has other bytes than its chunk", part)
			}
			same("a client of HLS", part, overHLS(fmt.Sprintf(".%d.%d", f[3].Entry.Epoch, part))[0])
		}
		same("a second viewer", 0, next(slow, 0))
		same("a viewer that begins later", 0, next(view(), 0))
		log.entry("cam", f[3].Entry)
		synctest.Wait()
		for part, b := range overHLS("") {
			same("a client of HLS, of the whole segment,", part, b)
			if part > 0 {
				same("a viewer, after the entry,", part, next(slow, part))
			}
			same("a client of HLS, after the entry,", part, overHLS(fmt.Sprintf(".%d.%d", f[3].Entry.Epoch, part))[0])
		}
	})
}

// initAt is the init segment at its URL.
func initAt(t *testing.T, s *Server, config string) string {
	t.Helper()
	return want(t, get(s, "/hls/cam/raw/m1/init-"+config+".mp4"), 200)
}

// TestViewerLost: what cannot be read is left out, and the viewer goes on.
func TestViewerLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		f := testmedia.Synthetic(testPlace, 4)
		log.add("cam", f[:2]...)
		s := run(t, Config{CacheBytes: 1 << 10}, log)
		v, err := s.View(t.Context(), liveCam, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		synctest.Wait()
		log.expire("cam", f[2].Entry.Seq)
		got := all(t, v, f)
		log.chunk("cam", f[2].Chunks[0])
		synctest.Wait()
		if got = append(got, all(t, v, f)...); strings.Join(got, ", ") != "lost 1.0 to 2, 2.0" {
			t.Errorf("got %v", got)
		}
	})
}

// TestViewerAway: while footage cannot be read, nothing is left out, and the viewer stays where it
// is.
func TestViewerAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		f := testmedia.Synthetic(testPlace, 2)
		log.add("cam", f...)
		s := run(t, Config{CacheBytes: 1 << 10, MaxWaiters: 1}, log)
		v, err := s.View(t.Context(), liveCam, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		synctest.Wait()
		next := func(want error) {
			t.Helper()
			if step, changed, err := v.Next(t.Context()); !errors.Is(err, parts.ErrAway) || !errors.Is(err, want) {
				t.Errorf("%+v %v %v, want %v", step, changed != nil, err, want)
			}
		}
		log.fail(errors.New("no broker answers"))
		next(context.DeadlineExceeded)
		synctest.Wait() // its last read of the index holds a place for a moment longer
		log.fail(nil)
		hold := make(chan struct{})
		log.mu.Lock()
		log.hold = hold
		log.mu.Unlock()
		other := make(chan struct{})
		go func() {
			defer close(other)
			get(s, fmt.Sprintf("/hls/cam/raw/m1/%d.m4s", f[0].Entry.Seq)) // takes the only place
		}()
		synctest.Wait()
		next(errBusy)
		close(hold)
		<-other
		if got := strings.Join(all(t, v, f), " "); got != "1.0 1.1 1.2 1.3 1.4" {
			t.Errorf("when it can be read again: %s", got)
		}
	})
}

// TestViewErrors: what cannot be followed.
func TestViewErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		log.add("cam", testmedia.Synthetic(testPlace, 1)...)
		s := run(t, Config{MaxTails: 1, Known: func(c string) bool { return c != "ghost" }}, log)
		v, err := s.View(t.Context(), liveCam, nil)
		if err != nil {
			t.Fatal(err)
		}
		for topic, want := range map[string]error{"ghost": parts.ErrNotFound, "cam/720p": parts.ErrNotFound, "other": parts.ErrBusy} {
			if _, err := s.View(t.Context(), topicOf(topic), nil); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", topic, err, want)
			}
		}
		v.Close()
		time.Sleep(time.Minute)
		if s.lookup(liveCam) != nil {
			t.Error("the camera is followed after its last viewer has gone")
		}
	})
}
