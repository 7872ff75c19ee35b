package compat

import (
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/testenv"
)

var (
	inChromium = []string{"hls.js low latency", "hls.js", "Shaka", "video.js"}
	inFirefox  = []string{"hls.js low latency"}
	programs   = []string{"ffmpeg", "mpv", "GStreamer", "VLC"}
)

// lead is how long a camera sends before its first change, long enough for players
// to begin.
const lead = 20 * time.Second

// change is something that happens to a camera.
type change struct {
	name  string
	scene func(t *testing.T) scene
	check func(t *testing.T, s *shown)
}

// onward checks that all of a scene's players play to its end, and that video.js has buffered
// all footage.
func onward(except ...string) func(t *testing.T, s *shown) {
	return func(t *testing.T, s *shown) {
		for _, w := range s.players {
			if !slices.Contains(except, w.name) {
				s.plays(t, w, 2*time.Second)
			}
			if !isVideoJS(w.name) {
				continue
			}
			// Under a hole in the pictures alone, Chromium plays sound for 3 s. A busy machine
			// is allowed as long a freeze, but no hole.
			if buffered := w.page.report().Buffered; hasHole(t, buffered) {
				t.Errorf("%s: there is a hole in its buffer: %s", w.name, buffered)
			}
		}
	}
}

func isVideoJS(player string) bool { return strings.HasPrefix(player, "video.js") }

// hasHole reports whether something is missing in a page's buffer around a change. Before,
// at a player's start, holes are its own. Times in a buffer count from the player's start of
// the playlist, which is less than 2 s behind that of the footage.
func hasHole(t *testing.T, buffered string) bool {
	t.Helper()
	end := 0.0
	for _, r := range strings.Fields(buffered) {
		var from, to float64
		if _, err := fmt.Sscanf(r, "%f-%f", &from, &to); err != nil {
			t.Fatalf("buffer %q: %v", buffered, err)
		}
		if end > 0 && from > (settle-2*time.Second).Seconds() {
			return true
		}
		end = to
	}
	return end == 0
}

// plays checks that a player came to the footage's end. A player in a browser must
// not freeze for longer than freeze, and must not begin again. Any other must show
// every picture.
func (s *shown) plays(t *testing.T, w *watched, freeze time.Duration) {
	t.Helper()
	if w.page == nil {
		if !s.ended(w) || w.missed > 0 || w.double > 0 || w.bad > 0 || w.wrong > 0 {
			t.Errorf("%s: the last picture is that of %v, of %v; %d missing, %d again, %d unreadable, %d damaged", w.name, w.end, s.long(), w.missed, w.double, w.bad, w.wrong)
		}
		return
	}
	limit := s.patience(freeze)
	if !s.ended(w) {
		t.Errorf("%s: the last picture is that of %v, of %v", w.name, w.end, s.long())
	}
	if w.freeze > limit {
		t.Errorf("%s: froze for %v at %v, limit %v", w.name, w.freeze, w.at, limit)
	}
	if w.opened != 1 || w.page.loads != 1 {
		t.Errorf("%s: asked for the page %d times and for the multivariant playlist %d times", w.name, w.page.loads, w.opened)
	}
}

// patience returns how long a picture may stand still on this machine if d is
// allowed on an idle one.
func (s *shown) patience(d time.Duration) time.Duration {
	return s.strain.Stretch(d) + s.pauses.Longest(time.Time{}, time.Now())
}

// class returns the table's cell for a player.
func (s *shown) class(w *watched) string {
	switch {
	case len(w.all) == 0:
		return "no picture"
	case w.page == nil && w.name != "VLC":
		switch {
		case !s.ended(w):
			return "stops"
		case w.missed > 0 || w.bad > 0 || w.wrong > 0:
			return "plays on, pictures missing"
		}
		return "every picture"
	case !s.ended(w):
		return "stops"
	case w.page == nil:
		return "plays on"
	case w.freeze > s.patience(2*time.Second+s.longestHole()):
		return "freezes and plays on, " + about(w.freeze)
	}
	return "plays on, " + about(w.freeze)
}

func one(sound bool, pieces ...piece) func(t *testing.T) scene {
	return func(t *testing.T) scene {
		s := scene{clips: []clip{makeClip(t, 0, 0, pieces...)}, sound: sound, chromium: inChromium, decoders: programs}
		if sound {
			s.firefox = inFirefox
		}
		return s
	}
}

var (
	keyframes  = []piece{{GOP: 2 * time.Second, Long: lead}, {GOP: 6 * time.Second, Long: 18 * time.Second}, {GOP: time.Second, Long: 10 * time.Second}}
	pictures   = []piece{{Long: lead}, {FPS: 15, Long: 12 * time.Second}, {Long: 10 * time.Second}}
	resolution = []piece{{Long: lead}, {Size: "320x180", Long: 12 * time.Second}, {Long: 10 * time.Second}}
)

var changes = []change{
	{"a keyframe every 2, 6, 1 s", one(false, keyframes...), onward("VLC")},
	{"the same with sound", one(true, keyframes...), onward("VLC")},
	{"30, 15, 30 pictures/s", one(false, pictures...), onward("VLC")},
	{"the same with sound", one(true, pictures...), onward("VLC")},
	{"640, 320, 640 wide", one(false, resolution...), onward("VLC")},
	{"the same with sound", one(true, resolution...), onward("VLC")},
	{"H.264, then H.265", func(t *testing.T) scene {
		c := makeClip(t, 0, 0, piece{Long: lead})
		return scene{clips: []clip{c, c.then(t, piece{Codec: "h265", Long: 16 * time.Second})}, firefox: inFirefox, decoders: programs, anew: programs[:3]}
	}, checkCodec},
	{"away for 4 s", func(t *testing.T) scene {
		c := makeClip(t, 0, 0, piece{Long: lead})
		return scene{
			clips: []clip{c, c.then(t, piece{Long: 20 * time.Second})}, outage: 4 * time.Second,
			chromium: []string{"hls.js low latency", "hls.js", "Shaka"}, firefox: inFirefox, decoders: programs,
		}
	}, checkOutage},
	{"sound, none, sound", func(t *testing.T) scene {
		c := makeClip(t, 0, 0, piece{Long: lead})
		d := c.then(t, piece{Long: 10 * time.Second})
		return scene{
			clips: []clip{c, d, d.then(t, piece{Long: 10 * time.Second})}, sound: true, silent: 1,
			chromium: inChromium, firefox: inFirefox, decoders: programs,
		}
	}, func(*testing.T, *shown) {}},
}

// checkCodec checks that Firefox plays on over a change of the codec, and that
// programs play the new codec when they are started again. None of them goes on
// alone: ffmpeg (and mpv, which uses it) applies the first initialization segment
// of a playlist to all segments, and GStreamer 1.22 ends.
func checkCodec(t *testing.T, s *shown) {
	for _, w := range s.players {
		if w.page != nil || strings.HasSuffix(w.name, anew) {
			s.plays(t, w, 2*time.Second+s.longestHole())
		}
	}
}

// shakaEdge is where the seek range of Shaka ends here, behind live. Shaka begins nearer to live,
// but jumps over a hole only to a time within the range, and never catches up.
const shakaEdge = 1250 * time.Millisecond

// checkOutage checks that players freeze for little longer than footage is missing,
// and are as far behind live afterwards as before (Shaka: or at the end of its seek range).
func checkOutage(t *testing.T, s *shown) {
	hole := s.longestHole()
	t.Logf("no footage for %v", hole)
	second := s.clips[1].from
	for _, w := range s.players {
		if w.page == nil {
			if w.name == "ffmpeg" || w.name == "mpv" {
				s.plays(t, w, 0)
			}
			continue
		}
		s.plays(t, w, hole+1500*time.Millisecond)
		before, after := w.behind(second-5*time.Second, second), w.behind(s.long()-6*time.Second, s.long())
		if w.page.name == "Shaka" {
			before = max(before, shakaEdge)
		}
		if d := after - before; d > s.strain.Stretch(500*time.Millisecond) {
			t.Errorf("%s: %v behind live before, %v afterwards", w.name, before, after)
		}
	}
}

// The one change that make test has: keyframes come every 2 s, then every 6 s, then
// every second.
func TestKeyframesComeLessOften(t *testing.T) {
	if testenv.IsLong() {
		t.Skip("TestPlayers has this change with every player")
	}
	s := scene{
		clips: []clip{makeClip(t, 0, 0, keyframes...)}, chromium: []string{"hls.js low latency"}, decoders: []string{"ffmpeg"},
	}.play(t)
	onward()(t, s)
}

var onlyPlayers = flag.String("players", "", "try these players of docs/players.md alone: a regular expression. A small machine then has more time for each")

// Every change with every player. docs/players.md has the results.
func TestPlayers(t *testing.T) {
	testenv.Long(t)
	players, err := regexp.Compile(*onlyPlayers)
	if err != nil {
		t.Fatal(err)
	}
	x := table{file: "players.md", name: "players", head: []string{"player", "first picture after", "behind live"}}
	rows := map[string][]string{}
	for i, c := range changes {
		head := c.name
		if i > 0 && head == "the same with sound" {
			head = changes[i-1].name + ", with sound"
		}
		x.head = append(x.head, head)
		t.Run(head, func(t *testing.T) {
			all := c.scene(t).only(players)
			chromium, others := all, all
			chromium.firefox, chromium.decoders, chromium.anew = nil, nil, nil
			video := chromium
			chromium.chromium = slices.DeleteFunc(slices.Clone(all.chromium), isVideoJS)
			video.chromium = slices.DeleteFunc(slices.Clone(all.chromium), func(n string) bool { return !isVideoJS(n) })
			others.chromium = nil
			// Two cores are too few for all players at once: then each one's pictures stand still
			// because of the others. So the groups play one after another. A slow video.js has
			// holes in its buffer (docs/players.md), so it plays alone.
			for name, sc := range map[string]scene{"Chromium": chromium, "video.js": video, "others": others} {
				if len(sc.chromium)+len(sc.firefox)+len(sc.decoders) == 0 {
					continue
				}
				t.Run(name, func(t *testing.T) {
					s := sc.play(t)
					c.check(t, s)
					for name, w := range s.players {
						if strings.HasSuffix(name, anew) {
							continue
						}
						if rows[name] == nil {
							rows[name] = []string{name, about(w.start), about(w.behind(lead-6*time.Second, lead))}
						}
						for len(rows[name]) < i+3 {
							rows[name] = append(rows[name], untried)
						}
						rows[name] = append(rows[name], s.class(w))
					}
				})
			}
		})
	}
	var names []string
	for _, n := range inChromium {
		names = append(names, n+" in Chromium")
	}
	for _, n := range inFirefox {
		names = append(names, n+" in Firefox")
	}
	for _, n := range append(names, programs...) {
		r := rows[n]
		if r == nil {
			continue
		}
		for len(r) < len(x.head) {
			r = append(r, untried)
		}
		x.rows = append(x.rows, r)
	}
	if len(x.rows) == 0 {
		t.Fatal("nothing was tried")
	}
	x.check(t)
}

// hls.js shows a camera with a keyframe every 8 s before its first segment is
// whole. Shaka needs a whole segment to begin (docs/players.md).
func TestLongKeyframeIntervalBegins(t *testing.T) {
	testenv.Long(t)
	c := makeClip(t, 0, 0, piece{GOP: 8 * time.Second, Long: 32 * time.Second})
	s := scene{clips: []clip{c}, atOnce: true, chromium: []string{"hls.js low latency"}}.play(t)
	for _, w := range s.players {
		if len(w.all) == 0 {
			t.Errorf("%s: no picture", w.name)
			continue
		}
		first := w.all[0].At.Sub(s.runs[0].began)
		t.Logf("%s: first picture %v after the camera's, that of %v", w.name, first.Round(10*time.Millisecond), w.all[0].Shown)
		// A player that connects within the first interval waits for the second.
		if limit := s.strain.Stretch(8*time.Second + 4*time.Second); first > limit {
			t.Errorf("%s: the first picture came %v after the camera's, limit %v", w.name, first, limit)
		}
	}
}
