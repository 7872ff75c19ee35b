package compat

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// scene is one camera, what happens to it, and the players that watch it.
type scene struct {
	clips  []clip        // each is published by a connection of its own, one after the other
	outage time.Duration // between them
	sound  bool
	silent int  // with sound: this clip has none, 0: all have
	atOnce bool // players begin as soon as there is a playlist
	// Players by name. All players of a browser share one page.
	chromium, firefox, decoders []string
	// anew are programs that are started in the last clip.
	anew []string
}

// watched is what one player showed.
type watched struct {
	name   string
	start  time.Duration // from its own start to its first picture
	all    []seen
	page   *page // nil for programs
	freeze time.Duration
	at     time.Duration // where in the footage it froze longest
	missed int           // pictures that are missing between the first and the last
	double int           // pictures that came again, or too early
	bad    int           // that could not be read
	wrong  int           // with ffmpeg: that differ from what the source decodes to
	end    time.Duration // the footage's time of its last picture
	delays []delay       // for each second of footage, how far behind
	opened int           // how often it asked for the multivariant playlist
	errors []string
}

type delay struct{ at, behind time.Duration }

// shown is everything by which a scene is judged.
type shown struct {
	scene
	runs    []run
	players map[string]*watched
	holes   []time.Duration // in the log, between one session and the next
	pauses  *testenv.Pauses
	strain  *testenv.Strain
	source  map[int]string // hashes of the source's pictures
}

// published returns when a picture of the footage was sent.
func (s *shown) published(at time.Duration) time.Time {
	i := 0
	for i+1 < len(s.clips) && i+1 < len(s.runs) && at >= s.clips[i+1].from {
		i++
	}
	return s.runs[i].began.Add(at - s.clips[i].from)
}

// long returns how long the footage is.
func (s *shown) long() time.Duration {
	last := s.clips[len(s.clips)-1]
	return last.from + last.long()
}

// anew is added to the name of a program that was started after a change.
const anew = ", opened again"

// put adds a camera by the API.
func put(t *testing.T, f *testenv.Framelog, id, url string) {
	t.Helper()
	putWith(t, f, id, url, "")
}

// putWith is put with an engine for RTSP; "": the default.
func putWith(t *testing.T, f *testenv.Framelog, id, url, engine string) {
	t.Helper()
	system.PutCamera(t, f.URL, id, fmt.Sprintf(`{"url":%q,"engine":%q}`, url, engine))
}

// only keeps the players whose names match.
func (sc scene) only(names *regexp.Regexp) scene {
	keep := func(players []string, in string) (kept []string) {
		for _, n := range players {
			if names.MatchString(n + in) {
				kept = append(kept, n)
			}
		}
		return kept
	}
	sc.chromium, sc.firefox = keep(sc.chromium, " in Chromium"), keep(sc.firefox, " in Firefox")
	sc.decoders, sc.anew = keep(sc.decoders, ""), keep(sc.anew, "")
	return sc
}

// play runs a scene to its end.
func (sc scene) play(t *testing.T) *shown {
	t.Helper()
	s := &shown{scene: sc, players: map[string]*watched{}, pauses: testenv.WatchPauses(t), strain: testenv.WatchStrain(t)}
	if slices.Contains(sc.decoders, "ffmpeg") {
		s.source = sourceHashes(t, sc.clips)
	}
	r := startRelay(t)
	f := testenv.Up(t, testenv.UpOptions{})
	var browser *testenv.Browser
	if len(sc.chromium) > 0 {
		browser = testenv.Chromium(t) // before the camera begins, because starting it takes time
	}
	sounds := make([]string, len(sc.clips))
	if sc.sound {
		for i, c := range sc.clips {
			if i == sc.silent && i > 0 {
				continue
			}
			sounds[i] = beeps(t, c.long(), "m4a", "-c:a", "aac", "-b:a", "64k")
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	published := make(chan struct{})
	t.Cleanup(func() {
		cancel()
		<-published
	})
	go func() {
		defer close(published)
		for i, c := range sc.clips {
			if i > 0 {
				select {
				case <-time.After(sc.outage): // the camera is away
				case <-ctx.Done():
					return
				}
			}
			p := r.publish(t, "cam", c, sounds[i])
			select {
			case <-p.Done():
			case <-ctx.Done():
				return
			}
		}
	}()
	testenv.Wait(t, testenv.Patience, "the publisher", func() bool { n := r.runs("cam"); return len(n) > 0 && !n[0].began.IsZero() })
	put(t, f, "cam", r.url("cam"))
	url := f.URL + "/hls/cam/index.m3u8"
	testenv.Wait(t, testenv.Patience, "the playlist", func() bool {
		status, _, err := testenv.Get(t, url)
		return err == nil && status == http.StatusOK
	})
	if !sc.atOnce {
		// Players that begin with the camera have no footage to buffer.
		testenv.Wait(t, testenv.Patience, "some footage", func() bool { return time.Since(r.runs("cam")[0].began) > 8*time.Second })
	}
	t.Logf("players begin after %v of footage", time.Since(r.runs("cam")[0].began).Round(time.Millisecond))

	pages := map[string][]*page{}
	for _, b := range []struct {
		browser string
		names   []string
	}{{"Chromium", sc.chromium}, {"Firefox", sc.firefox}} {
		for _, n := range b.names {
			pages[b.browser] = append(pages[b.browser], newPage(t, n, f.URL, "cam"))
		}
	}
	if all := pages["Chromium"]; len(all) > 0 {
		browser.Open(t, wall(t, all))
	}
	if all := pages["Firefox"]; len(all) > 0 {
		firefox(t, wall(t, all))
	}
	type program struct {
		*decoder
		began time.Time
	}
	var programs []program
	for _, n := range sc.decoders {
		at := time.Now()
		programs = append(programs, program{startDecoder(t, n, url), at})
	}

	if len(sc.anew) > 0 {
		testenv.Wait(t, 2*testenv.Patience, "the last clip", func() bool {
			n := r.runs("cam")
			return len(n) == len(sc.clips) && !n[len(n)-1].began.IsZero() && time.Since(n[len(n)-1].began) > 8*time.Second
		})
		for _, n := range sc.anew {
			d := startDecoder(t, n, url)
			d.name += anew
			programs = append(programs, program{d, time.Now()})
		}
	}
	<-published
	s.runs = r.runs("cam")
	if len(s.runs) != len(sc.clips) {
		t.Fatalf("%d of %d clips were published", len(s.runs), len(sc.clips))
	}
	// Players that play on show the last pictures soon; players that have stopped
	// never do.
	over := time.Now().Add(20 * time.Second)
	testenv.Wait(t, 2*testenv.Patience, "the players", func() bool {
		done := true
		for _, p := range programs {
			a := p.seen()
			done = done && len(a) > 0 && a[len(a)-1].Shown > s.long()-time.Second
		}
		for _, p := range append(append([]*page(nil), pages["Chromium"]...), pages["Firefox"]...) {
			a := p.seen()
			done = done && len(a) > 0 && a[len(a)-1].Shown > s.long()-time.Second
		}
		return done || time.Now().After(over)
	})
	s.holes = holes(t, f, "cam")

	for _, p := range programs {
		w := &watched{name: p.name, all: p.seen()}
		if len(w.all) > 0 {
			w.start = w.all[0].At.Sub(p.began)
		}
		w.errors = strings.Split(p.proc.Log.Tail(8), "\n")
		s.players[w.name] = s.judge(w)
	}
	for b, all := range pages {
		for _, p := range all {
			p.end()
			x := p.report()
			w := &watched{name: p.name + " in " + b, all: p.seen(), page: p, errors: x.Errors}
			if x.FirstAt > 0 {
				w.start = time.Duration(x.FirstAt-x.Began) * time.Millisecond
			}
			for _, r := range p.requests {
				if strings.HasSuffix(strings.SplitN(r.path, "?", 2)[0], "/index.m3u8") {
					w.opened++
				}
			}
			s.players[w.name] = s.judge(w)
		}
	}
	for _, w := range s.players {
		t.Log(w)
		if w.page != nil {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("%s: %s", w.name, w.page.tell())
				}
			})
		}
	}
	return s
}

// holes returns the times without footage in the playlist: gaps, and between
// sessions.
func holes(t *testing.T, f *testenv.Framelog, camera string) (all []time.Duration) {
	t.Helper()
	p := system.MediaPlaylist(t, system.Multivariant(f.URL, camera))
	if p == nil {
		t.Error("there is no playlist")
		return nil
	}
	last := -1
	for i, b := range p.Segments {
		if b.Gap || b.PDT.IsZero() {
			continue
		}
		if last >= 0 && (i > last+1 || b.DiscSeq != p.Segments[last].DiscSeq) {
			all = append(all, b.PDT.Sub(p.Segments[last].PDT.Add(p.Segments[last].Duration)))
		}
		last = i
	}
	return all
}

// Freezes count only if the footage before them ends later than settle. Earlier ones are
// of the player's start and not of a change: the first change comes after lead.
const settle = lead - 2*time.Second

// judge fills in what follows from a player's pictures.
func (s *shown) judge(w *watched) *watched {
	next := -1
	for _, x := range w.all {
		if x.Frame < 0 {
			w.bad++
			continue
		}
		w.end = x.Shown
		if h := s.source[x.Frame]; strings.HasPrefix(w.name, "ffmpeg") && x.Hash != h {
			w.wrong++
		}
		if next >= 0 && x.Frame > next {
			w.missed += s.lost(next, x.Frame)
		} else if x.Frame < next {
			w.double++
			continue
		}
		next = x.Frame + 1
		if n := len(w.delays); n == 0 || x.Shown >= w.delays[n-1].at+time.Second {
			w.delays = append(w.delays, delay{x.Shown, x.At.Sub(s.published(x.Shown))})
		}
	}
	if w.page == nil {
		for i := 1; i < len(w.all); i++ {
			w.froze(w.all[i-1].At, w.all[i].At, w.all[i-1].Shown)
		}
		return w
	}
	for _, f := range w.page.freezes {
		from, to := time.UnixMilli(f[0]), time.UnixMilli(f[1])
		at := time.Duration(0)
		for _, x := range w.all {
			if !x.At.After(from) {
				at = x.Shown
			}
		}
		for _, p := range w.page.still { // the page stood still, not the player
			if a, b := max(f[0], p[0]), min(f[1], p[1]); b > a {
				to = to.Add(-time.Duration(b-a) * time.Millisecond)
			}
		}
		w.froze(from, to, at)
	}
	return w
}

func (w *watched) froze(from, to time.Time, at time.Duration) {
	if d := to.Sub(from); d > w.freeze && at > settle {
		w.freeze, w.at = d, at
	}
}

// lost returns how many pictures are missing if the picture numbered to came
// instead of the one numbered from. It leaves out what a camera sent before
// Framelog had connected again.
func (s *shown) lost(from, to int) int {
	for _, c := range s.clips[1:] {
		if from <= c.first && c.first <= to {
			return c.first - from
		}
	}
	return to - from
}

// ended reports whether a player came to the footage's end. A decoder still holds
// the last pictures if a stream ends without saying so, as cameras do.
func (s *shown) ended(w *watched) bool { return w.end > s.long()-1500*time.Millisecond }

func (s *shown) longestHole() (d time.Duration) {
	for _, h := range s.holes {
		d = max(d, h)
	}
	return d
}

// sourceHashes returns the hashes of the clips' decoded pictures, by number.
func sourceHashes(t *testing.T, clips []clip) map[int]string {
	t.Helper()
	all := map[int]string{}
	for _, c := range clips {
		d := startDecoder(t, "ffmpeg", c.path)
		testenv.Wait(t, testenv.Patience, "the source's pictures", func() bool { return len(d.seen()) == c.frames() })
		for _, x := range d.seen() {
			all[x.Frame] = x.Hash
		}
	}
	return all
}

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	d = slices.Clone(d)
	slices.Sort(d)
	return d[len(d)/2]
}

// behind returns the median of how far behind live a player was between two times
// of the footage.
func (w *watched) behind(from, to time.Duration) time.Duration {
	var d []time.Duration
	for _, x := range w.delays {
		if x.at >= from && x.at < to {
			d = append(d, x.behind)
		}
	}
	return median(d)
}

func (w *watched) String() string {
	s := fmt.Sprintf("%-26s first picture after %v; %d pictures from %v to %v, %d missing, %d again, %d unread, %d damaged; longest freeze %v at %v; behind",
		w.name, w.start.Round(10*time.Millisecond), len(w.all), first(w.all), w.end, w.missed, w.double, w.bad, w.wrong, w.freeze.Round(10*time.Millisecond), w.at)
	for i := 0; i < len(w.delays); i += 4 {
		s += fmt.Sprintf(" %.1f", w.delays[i].behind.Seconds())
	}
	if w.page != nil {
		s += fmt.Sprintf("; %d requests, multivariant %d, %d bytes of sound decoded", len(w.page.requests), w.opened, w.page.report().Sound)
	}
	for _, e := range w.errors[:min(len(w.errors), 30)] {
		s += "\n    " + e
	}
	return s
}

func first(all []seen) time.Duration {
	for _, x := range all {
		if x.Frame >= 0 {
			return x.Shown
		}
	}
	return 0
}
