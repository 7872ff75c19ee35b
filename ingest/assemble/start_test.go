package assemble

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/codec/codectest"
	"github.com/framelog/framelog/schemas"
)

// pictures makes units of a text with a letter a picture, in decoding order:
//
//	I IDR, B BLA, C CRA, R recovery point, P any other,
//	l leading (RASL in H.265), d RADL, b leading B picture to which others refer
//	f recovery point of 9 frames, i an I picture without one
//
// Pictures are shown in this order, but leading ones before the picture that
// they follow.
func pictures(c schemas.Codec, text string) []ingest.Unit {
	shown := make([]int, len(text))
	for i := 0; i < len(text); {
		n := 0
		for i+1+n < len(text) && strings.ContainsRune("ldb", rune(text[i+1+n])) {
			shown[i+1+n] = i + n
			n++
		}
		shown[i] = i + n
		i += 1 + n
	}
	us := make([]ingest.Unit, len(text))
	for i, kind := range text {
		n := uint64(i)
		var data []byte
		if c == schemas.H264 {
			switch kind {
			case 'I':
				data = codectest.Unit264(true, n, 40)
			case 'R':
				data = codectest.Recovery264(0, true, n, 40)
			case 'f':
				data = codectest.Recovery264(9, false, n, 40)
			default:
				data = codectest.Slice264(kind == 'i', n, 40)
				if kind == 'b' {
					data[5] = 0x9e // slice_type 6
				}
			}
		} else {
			types := map[rune]byte{'I': 20, 'B': 16, 'C': 21, 'l': 8, 'd': 6, 'P': 1}
			data = codectest.Unit265(types[kind], n, 40)
		}
		us[i] = ingest.Unit{Track: 1, PTS: 1<<40 + int64(shown[i])*3600, Data: data, Captured: epoch.Add(time.Duration(i) * 40 * time.Millisecond)}
	}
	return us
}

func reordering(c schemas.Codec) []schemas.Track {
	t := schemas.Track{ID: 1, Codec: c, Timescale: 90000, Width: 64, Height: 64, Config: codectest.H265Config()}
	if c == schemas.H264 {
		t.Config = codectest.H264{Reorder: 2}.Config()
	}
	return []schemas.Track{t}
}

// gop is n pictures (25 a second) that begin as told.
func gop(begin string, n int) string { return begin + strings.Repeat("P", n-len(begin)) }

// starting is where the fragments of m start among us, with + where open.
func starting(m *memory, us []ingest.Unit) string {
	var all []string
	for _, f := range m.fragments {
		first := f.chunks[0].Video()[0]
		at := fmt.Sprint(slices.IndexFunc(us, func(u ingest.Unit) bool { return string(u.Data) == string(first.Data) }))
		if f.chunks[0].OpenGOP {
			at += "+"
		}
		all = append(all, at)
	}
	return strings.Join(all, " ")
}

func TestStarts(t *testing.T) {
	h264, h265 := schemas.H264, schemas.H265
	for _, c := range []struct {
		name  string
		codec schemas.Codec
		gops  []string
		want  string // where fragments start, + where open
		out   []int  // units that are left out
	}{
		{"IDR", h264, []string{gop("I", 25), gop("I", 25)}, "0 25", nil},
		{"CRA, none leads", h265, []string{gop("C", 25), gop("C", 25)}, "0 25", nil},
		{"CRA, RASL", h265, []string{gop("I", 25), gop("Cll", 25), gop("Cl", 25)}, "0 25+ 50+", nil},
		{"CRA, RADL", h265, []string{gop("I", 25), gop("Cd", 25), gop("Cdl", 25)}, "0 25+ 50+", nil},
		{"recovery point, none leads", h264, []string{gop("R", 25), gop("R", 25)}, "0 25", nil},
		{"recovery point, leading", h264, []string{gop("I", 25), gop("Rll", 25), gop("Rl", 25)}, "0 25+ 50+", nil},
		{"joined at a CRA", h265, []string{gop("P", 5), gop("Clld", 25), gop("Cll", 25)}, "5 30+", []int{0, 1, 2, 3, 4, 6, 7}},
		{"joined at a recovery point", h264, []string{gop("P", 5), gop("Rll", 25), gop("Rll", 25)}, "5 30+", []int{0, 1, 2, 3, 4, 6, 7}},
		{"joined at a BLA", h265, []string{gop("Bd", 25), gop("Cll", 25)}, "0 25+", nil},
		{"too soon", h265, []string{gop("I", 25), gop("Cll", 10), gop("Cll", 15), gop("Cll", 25)}, "0 25+ 50+", nil},
		{"an I picture is no start", h264, []string{gop("I", 25), gop("i", 25), gop("I", 25)}, "0 50", nil},
		{"a gradual refresh is no start", h264, []string{gop("I", 25), gop("f", 25), gop("I", 25)}, "0 50", nil},
		{"the last picture is none", h265, []string{gop("I", 25), gop("C", 25), "C"}, "0 25", nil},
		// IDR 2 s apart: from the second on there is no need of what is between.
		{"IDR often", h265, []string{gop("I", 25), gop("Cll", 25), gop("I", 25), gop("Cll", 25), gop("I", 25), gop("Cll", 25)}, "0 25+ 50 100", nil},
		{"IDR often, none leads", h264, []string{gop("I", 25), gop("R", 25), gop("I", 25), gop("R", 25), gop("I", 25)}, "0 25 50 75 100", nil},
		{"IDR 7 s apart", h264, []string{
			gop("I", 25), gop("Rll", 50), gop("Rll", 50), gop("Rll", 50), gop("I", 25), gop("Rll", 25),
		}, "0 25+ 75+ 125+ 175 200+", nil},
		// For 5 s behind the last one the next is waited for.
		{"IDR no more", h265, []string{
			gop("I", 25), gop("I", 25), gop("Cll", 25), gop("Cll", 75), gop("Cll", 25), gop("Cll", 25), gop("Cll", 25),
		}, "0 25 175+ 200+", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Join(c.gops, "")
			us := pictures(c.codec, text)
			var m memory
			run(t, Config{Live: true}, reordering(c.codec), us, &m)
			if got := starting(&m, us); got != c.want {
				t.Errorf("fragments start at %s, want %s", got, c.want)
			}
			kept := slices.Clone(us)
			for i := len(c.out) - 1; i >= 0; i-- {
				kept = slices.Delete(kept, c.out[i], c.out[i]+1)
			}
			got := m.samples(1)
			wantAll(t, got, kept)
			wantPTS(t, got, kept)
			first := map[int64]bool{}
			for _, f := range m.fragments {
				first[f.chunks[0].MediaStart()] = true
			}
			for i, s := range got {
				if s.PTSOffset < 0 {
					t.Errorf("sample %d is decoded %d ticks after it is shown", i, -s.PTSOffset)
				}
				at := slices.IndexFunc(us, func(u ingest.Unit) bool { return string(u.Data) == string(s.Data) })
				alone := strings.ContainsRune("IBCR", rune(text[at])) && at+1 < len(text) && !strings.ContainsRune("ld", rune(text[at+1]))
				if want := first[s.DTS] || alone || text[at] == 'B'; s.Sync != want {
					t.Errorf("unit %d (%c) is a sync sample: %v, want %v", at, text[at], s.Sync, want)
				}
			}
			if m.sessions != 1 || m.lost != (schemas.Lost{}) || len(m.gaps) != 0 {
				t.Errorf("%d sessions, lost %v, gaps %v", m.sessions, m.lost, m.gaps)
			}
		})
	}
}

// The second field of a picture has the same time as the first: what leads
// comes behind it.
func TestStartsWithFields(t *testing.T) {
	us := pictures(schemas.H264, gop("I", 25)+gop("RP", 25))
	us[26].PTS = us[25].PTS
	var m memory
	run(t, Config{Live: true}, reordering(schemas.H264), us, &m)
	if got := starting(&m, us); got != "0 25+" {
		t.Errorf("fragments start at %s", got)
	}
}

// If the camera goes on in another session, the pictures that lead to its
// first one are lost, and said to be.
func TestSessionStartsOpen(t *testing.T) {
	for _, c := range []schemas.Codec{schemas.H264, schemas.H265} {
		begin := map[schemas.Codec]string{schemas.H264: "Rll", schemas.H265: "Cll"}[c]
		us := pictures(c, gop("I", 25)+gop(begin, 25)+gop(begin, 25)+gop(begin, 25))
		for i := range us[50:] {
			us[50+i].PTS += 3600 * schemas.MediaTimescale // its clock is set: a new session
		}
		var m memory
		run(t, Config{Live: true}, reordering(c), us, &m)
		if got := starting(&m, us); m.sessions != 2 || got != "0 25+ 50 75+" {
			t.Errorf("%s: %d sessions, fragments start at %s", c, m.sessions, got)
		}
		if m.lost.Units != 2 {
			t.Errorf("%s: lost %v, want the 2 leading pictures", c, m.lost)
		}
		wantAll(t, m.samples(1), slices.Delete(slices.Clone(us), 51, 53))
	}
}

// Behind a gap there is nothing that leading pictures could need.
func TestStartsOpenBehindGap(t *testing.T) {
	us := pictures(schemas.H265, gop("I", 100)+gop("Cll", 25)+gop("Cll", 25))
	var m memory
	run(t, Config{Live: true, MaxFragmentDuration: 2 * time.Second}, reordering(schemas.H265), us, &m)
	if got := starting(&m, us); got != "0 100 125+" || len(m.gaps) == 0 || m.lost.Units != 2 {
		t.Errorf("fragments start at %s, gaps %v, lost %v", got, m.gaps, m.lost)
	}
}

// If no picture can begin a fragment, the remedy that helps is told.
func TestRemedies(t *testing.T) {
	repeat := func(gop string) string { return strings.Repeat(gop, 30) }
	for _, c := range []struct {
		name, text, want, not string
	}{
		{"intra refresh, joined", repeat(gop("f", 25)), "turn intra refresh off and IDR on", "shorter"},
		{"intra refresh from an IDR on", gop("I", 25) + repeat(gop("f", 25)), "turn intra refresh off and IDR on", "shorter"},
		{"I pictures", repeat(gop("i", 25)), "turn IDR on", "shorter"},
		{"an IDR and I pictures", gop("I", 25) + repeat(gop("i", 25)), "turn IDR on", "shorter"},
		{"none at all", gop("I", 25*30), "interval", "damaged"},
	} {
		var problems []string
		var m memory
		m.t = t
		a := New(Config{Live: true, Problem: func(p string) { problems = append(problems, p) }}, &m, nil)
		feed(t, a, reordering(schemas.H264), pictures(schemas.H264, c.text))
		if len(problems) == 0 {
			t.Errorf("%s: no problem is told", c.name)
			continue
		}
		for _, p := range problems {
			if !strings.Contains(p, c.want) || strings.Contains(p, c.not) {
				t.Errorf("%s: problem %q, want %q", c.name, p, c.want)
			}
		}
		if last := problems[len(problems)-1]; !strings.Contains(last, "no keyframe for 20s") {
			t.Errorf("%s: in the end the problem is %q", c.name, last)
		}
		if b := a.Stats().Blocked; (b == "") != strings.HasPrefix(c.text, "I") {
			t.Errorf("%s: blocked %q", c.name, b)
		}
		a.Flush()
	}
}

// Streams with which a browser may not begin to play are recorded, and named.
func TestOpenGOPIsNamed(t *testing.T) {
	for text, want := range map[string]bool{"Rlb": true, "RPb": true, "Rll": false, "R": false, "Ilb": false} {
		var problems []string
		us := pictures(schemas.H264, gop("I", 25)+gop(text, 25)+gop(text, 25)+gop(text, 25))
		var m memory
		run(t, Config{Live: true, Problem: func(p string) { problems = append(problems, p) }}, reordering(schemas.H264), us, &m)
		wantAll(t, m.samples(1), us)
		if named := len(problems) > 0 && strings.Contains(problems[0], "turn closed GOPs (IDR) on"); named != want {
			t.Errorf("%s: problems %q", text, problems)
		}
	}
}
