package hlscheck

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// watch watches o for a minute of the bubble's time.
func watch(t *testing.T, o *origin, lowLatency bool) *Watcher {
	t.Helper()
	w := New(Config{URL: "http://origin/index.m3u8", Client: &http.Client{Transport: o}, LowLatency: lowLatency, Strict: true})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := w.Run(ctx); err != nil && o.doc == nil && o.text == nil {
		t.Logf("run: %v", err)
	}
	return w
}

// A correct server gets no violations, and the watcher has checked everything.
func TestCorrectServer(t *testing.T) {
	for name, c := range map[string]struct {
		low         bool
		ends        uint64
		age         time.Duration // how long the stream runs when the watch begins
		refusesGaps bool
	}{
		"low latency":                {true, 0, 0, false},
		"low latency, old stream":    {true, 0, time.Minute, false},
		"low latency, that ends":     {true, 40, 0, false},
		"low latency, parts of gaps": {true, 0, 0, true},
		"polling":                    {false, 0, 30 * time.Second, false},
		"polling a stream's start":   {false, 0, 2 * time.Second, false},
		"polling, that ends":         {false, 30, time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOrigin(t)
				o.ends, o.refusesGaps = c.ends, c.refusesGaps
				time.Sleep(c.age) // of the bubble's time
				w := watch(t, o, c.low)
				for _, v := range w.Violations() {
					t.Errorf("%v", v)
				}
				s := w.Stats()
				want := 55
				if c.ends > 0 {
					want = int(c.ends)
				}
				if s.Segments < want || s.SegmentsFetched < want*8/10 || s.Refetched < want/4 || s.Gaps < 2 || s.Discontinuities < 2 {
					t.Errorf("%+v", s)
				}
				if c.low && (s.PartsFetched < 100 || s.Hints < 100 || s.HintsTrue != s.Hints || s.HintsFetched < 5 || s.Deltas < 10 || s.Blocking < 100) {
					t.Errorf("%+v", s)
				}
				if c.low && len(s.Latency) > 0 && s.Latency[len(s.Latency)-1] > 300*time.Millisecond {
					t.Errorf("latency %v", s.Latency[len(s.Latency)-1])
				}
			})
		})
	}
}

// Each rule is broken by a server, and the watcher finds that.
func TestPlantedFaults(t *testing.T) {
	from := func(n int, fn func(d *doc)) func(o *origin) {
		return func(o *origin) {
			o.doc = func(d *doc, i int) {
				if i >= n {
					fn(d)
				}
			}
		}
	}
	each := func(fn func(s *dsegment)) func(o *origin) {
		return from(1, func(d *doc) {
			for i := range d.segments {
				fn(&d.segments[i])
			}
			fn(&d.open)
		})
	}
	spoil := func(old, by string) func(o *origin) {
		return func(o *origin) {
			o.text = func(s string, n int) string {
				if n < 5 {
					return s
				}
				return strings.Replace(s, old, by, 1)
			}
		}
	}
	bytesOf := func(prefix string, nth int, fn func(b []byte) []byte) func(o *origin) {
		return func(o *origin) {
			o.file = func(path string, n int, b []byte) []byte {
				if strings.HasPrefix(path, prefix) && n >= nth {
					return fn(b)
				}
				return b
			}
		}
	}
	faults := []struct {
		name  string
		rule  Rule
		spoil func(o *origin)
	}{
		{"not a playlist", Syntax, spoil("#EXTM3U", "<html>")},
		{"a multivariant in its place", Syntax, spoil("#EXT-X-TARGETDURATION:2", "#EXT-X-STREAM-INF:BANDWIDTH=1")},
		{"tag twice", Syntax, spoil("#EXT-X-VERSION:9", "#EXT-X-VERSION:9\n#EXT-X-VERSION:9")},
		{"attribute twice", Syntax, spoil("PART-TARGET=", "PART-TARGET=0.22,PART-TARGET=")},
		{"unquoted URI", Syntax, spoil(`URI="part/3.0.m4s"`, `URI=part/3.0.m4s`)},
		{"negative duration", Syntax, spoil("#EXTINF:0", "#EXTINF:-0")},
		{"no target duration", Syntax, spoil("#EXT-X-TARGETDURATION:2\n", "")},
		{"no variant", Syntax, func(o *origin) { o.multi = func(s string) string { return strings.ReplaceAll(s, "v.m3u8", "") } }},
		{"no codecs", Multi, func(o *origin) {
			o.multi = func(s string) string { return strings.ReplaceAll(s, `CODECS="avc1.64001f",`, "") }
		}},
		{"plain text", Type, func(o *origin) { o.kind = "text/plain" }},
		{"version too low for SKIP", Version, from(1, func(d *doc) { d.version = 8 })},
		{"version too low for MAP", Version, from(1, func(d *doc) { d.version = 5 })},
		{"segment longer than the target", Target, from(1, func(d *doc) {
			if len(d.segments) > 3 {
				d.segments[3].dur = 2.6
			}
		})},
		{"open segment longer than the target", Target, from(9, func(d *doc) {
			for range 10 {
				d.open.parts = append(d.open.parts, dpart{uri: "x", dur: 0.2})
			}
		})},
		{"target duration falls", Constant, func(o *origin) {
			o.doc = func(d *doc, n int) {
				if n >= 20 && n < 40 {
					d.target = 4
				}
			}
		}},
		{"part target changes", Constant, from(20, func(d *doc) { d.partInf = "0.21" })},
		{"part above the target", PartLength, from(1, func(d *doc) { d.partInf = "0.19" })},
		{"parts below 85 %", PartLength, from(1, func(d *doc) { d.partInf, d.control = "0.24", "CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1" })},
		{"parts without PART-INF", PartLength, from(1, func(d *doc) { d.partInf = "" })},
		{"first part not independent", PartLength, each(func(s *dsegment) {
			if len(s.parts) > 0 {
				s.parts[0].indep = false
			}
		})},
		{"a part is missing", PartSum, each(func(s *dsegment) {
			if len(s.parts) == fragParts {
				s.parts = s.parts[:fragParts-1]
			}
		})},
		{"part changes its duration", PartChanged, each(func(s *dsegment) {
			if len(s.parts) == 3 {
				s.parts[1].dur = 0.21
			}
		})},
		{"a listed part goes", PartChanged, from(10, func(d *doc) {
			if len(d.open.parts) == 4 {
				d.open.parts, d.hint = d.open.parts[:2], ""
			}
		})},
		{"hold-back too short", HoldBack, from(1, func(d *doc) { d.control += ",HOLD-BACK=5" })},
		{"part hold-back too short", PartHoldBack, from(1, func(d *doc) { d.control = "CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.4" })},
		{"no part hold-back", PartHoldBack, from(1, func(d *doc) { d.control = "CAN-BLOCK-RELOAD=YES" })},
		{"no server control", PartHoldBack, from(1, func(d *doc) { d.control = "" })},
		{"skip boundary too near", SkipUntil, from(1, func(d *doc) { d.control = "CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.66,CAN-SKIP-UNTIL=6" })},
		{"no map", NoMap, each(func(s *dsegment) { s.mapURI = "" })},
		{"sequence goes back", Sequence, from(60, func(d *doc) { d.seq -= 2 })},
		{"sequence does not count", Sequence, from(1, func(d *doc) { d.seq = firstSeq })},
		{"sequence counts twice", Sequence, from(1, func(d *doc) { d.seq += d.seq - firstSeq })},
		{"sequence starts over", Sequence, from(120, func(d *doc) { d.seq = 0 })},
		{"the last segment goes again", Sequence, func(o *origin) {
			o.doc = func(d *doc, n int) {
				if n%10 == 9 && len(d.segments) > 3 {
					d.segments, d.open.parts, d.hint = d.segments[:len(d.segments)-2], nil, ""
				}
			}
		}},
		{"discontinuity sequence stands", DiscSequence, from(1, func(d *doc) { d.disc = 7 })},
		{"discontinuity sequence counts too much", DiscSequence, from(90, func(d *doc) { d.disc++ })},
		{"discontinuity sequence goes back", DiscSequence, from(140, func(d *doc) { d.disc = 1 })},
		{"discontinuity appears later", DiscSequence, from(50, func(d *doc) {
			if len(d.segments) > 5 {
				d.segments[4].disc = true
			}
		})},
		{"segment changes its URI", Changed, from(50, func(d *doc) {
			for i := range d.segments {
				d.segments[i].uri = strings.Replace(d.segments[i].uri, "seg/", "seg/0", 1)
			}
		})},
		{"segment changes its duration", Changed, from(50, func(d *doc) { d.segments[2].dur += 0.001 })},
		{"segment changes its date", Changed, from(50, func(d *doc) {
			for i := range d.segments {
				d.segments[i].pdt = d.segments[i].pdt.Add(time.Millisecond)
			}
		})},
		{"segment becomes a gap", Changed, from(50, func(d *doc) { d.segments[2].gap = true })},
		{"segment changes its map", Changed, from(50, func(d *doc) { d.segments[2].mapURI = "init-1.mp4" })},
		{"window too short", Window, from(1, func(d *doc) {
			if cut := len(d.segments) - 3; cut > 0 && d.skipped == 0 {
				for _, s := range d.segments[:cut] {
					if s.disc {
						d.disc++
					}
				}
				d.segments, d.seq = d.segments[cut:], d.seq+uint64(cut)
			}
		})},
		{"no dates", Date, each(func(s *dsegment) { s.noPDT = true })},
		{"no date at a discontinuity", Date, each(func(s *dsegment) { s.noPDT = s.disc })},
		{"dates drift from durations", Date, each(func(s *dsegment) { s.pdt = s.pdt.Add(time.Duration(s.seq) * 5 * time.Millisecond) })},
		{"gap with parts that are there", Gap, each(func(s *dsegment) {
			for i := range s.parts {
				s.parts[i].gap = false
			}
		})},
		{"goes on after ENDLIST", Ended, func(o *origin) {
			o.ends = 20
			o.doc = func(d *doc, _ int) { d.extra = "#EXT-X-ENDLIST\n"; d.end = false }
		}},
		{"stands still", Stalled, func(o *origin) {
			frozen := ""
			o.early = true
			o.text = func(s string, n int) string {
				if n == 50 {
					frozen = s
				}
				if n > 50 {
					return frozen
				}
				return s
			}
		}},
		{"hint of another part", HintRule, from(1, func(d *doc) { d.hint = strings.Replace(d.hint, ".m4s", ".x.m4s", 1) })},
		{"hint of a part that is there", HintRule, from(10, func(d *doc) {
			if len(d.open.parts) > 0 {
				d.hint = d.open.parts[0].uri
			}
		})},
		{"answers too early", Blocking, func(o *origin) { o.early = true }},
		{"waits for nonsense", Blocking, func(o *origin) { o.lenient = true }},
		{"does not block", Blocking, from(1, func(d *doc) { d.control = "PART-HOLD-BACK=0.66" })},
		{"skips one too many", Delta, func(o *origin) { o.deltaOff = 1 }},
		{"skips one too few", Delta, func(o *origin) { o.deltaOff = -1 }},
		{"skips what is near", Delta, from(1, func(d *doc) {
			if d.skipped > 0 {
				d.skipped = len(d.segments) - 1
			}
		})},
		{"delta differs", Delta, from(30, func(d *doc) {
			if d.skipped > 0 {
				d.segments[d.skipped+1].dur += 0.01
			}
		})},
		{"delta unasked", Delta, from(60, func(d *doc) {
			if d.skipped == 0 {
				d.skipped = 3
			}
		})},
		{"report without a number", ReportRule, from(1, func(d *doc) { d.extra = "#EXT-X-RENDITION-REPORT:URI=\"x.m3u8\"\n" })},
		{"segment is not there", Fetch, bytesOf("/seg/7.", 1, func([]byte) []byte { return nil })},
		{"part is not there", Fetch, bytesOf("/part/7.2.", 1, func([]byte) []byte { return nil })},
		{"hinted part is refused, and comes", Fetch, func(o *origin) { o.hasty = true }},
		{"segment changes its bytes", Bytes, bytesOf("/seg/", 2, func(b []byte) []byte { return append(b[:len(b)-1:len(b)-1], 'x') })},
		{"part changes its bytes", Bytes, bytesOf("/part/", 2, func(b []byte) []byte { return append(b[:len(b)-1:len(b)-1], 'x') })},
		{"segment is not its parts", PartBytes, bytesOf("/seg/", 1, func(b []byte) []byte { return append(b[:len(b)-1:len(b)-1], 'x') })},
		{"segment is cut off", Container, bytesOf("/seg/", 1, func(b []byte) []byte { return b[:len(b)-10] })},
		{"mdat longer than its samples", Container, bytesOf("/part/", 1, func(b []byte) []byte {
			return append(b, 0, 0, 0, 9, 'm', 'd', 'a', 't', 0)
		})},
		{"rubbish behind a segment", Container, bytesOf("/seg/", 1, func(b []byte) []byte { return append(b, 1, 2, 3) })},
		{"init is no init", Container, bytesOf("/init-", 1, func([]byte) []byte { return []byte{0, 0, 0, 8, 'f', 'r', 'e', 'e'} })},
		{"media time goes back over a session", MediaTime, func(o *origin) {
			o.media = func(f uint64, _ int, dts uint64) uint64 { return dts - f/10*10*fragFrames*frameTicks }
		}},
		{"media time goes back in a segment", Container, func(o *origin) {
			o.media = func(_ uint64, p int, dts uint64) uint64 { return dts - uint64(p)*100 }
		}},
		{"media longer than it says", MediaLength, func(o *origin) {
			o.media = func(_ uint64, p int, dts uint64) uint64 { return dts + uint64(p)*90000 }
		}},
	}
	broken := map[Rule]bool{}
	for _, f := range faults {
		broken[f.rule] = true
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := newOrigin(t)
				f.spoil(o)
				all := watch(t, o, true).Violations()
				for _, v := range all {
					if v.Rule == f.rule {
						t.Logf("%v", v)
						return
					}
				}
				t.Errorf("no violation of %q among %d", f.rule, len(all))
				for i, v := range all {
					if i < 10 {
						t.Logf("%v", v)
					}
				}
			})
		})
	}
	for _, r := range []Rule{
		Syntax, Type, Version, Target, Constant, PartLength, PartSum, PartChanged, HoldBack, PartHoldBack, SkipUntil, NoMap,
		Sequence, DiscSequence, Changed, Window, Date, Gap, Ended, Stalled, HintRule, Blocking, Delta, ReportRule, Fetch, Bytes,
		PartBytes, Container, MediaTime, MediaLength, Multi,
	} {
		if !broken[r] {
			t.Errorf("no server breaks %q", r)
		}
	}
}
