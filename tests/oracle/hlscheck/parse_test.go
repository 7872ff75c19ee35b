package hlscheck

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const good = `#EXTM3U
#EXT-X-VERSION:9
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.0,PART-HOLD-BACK=0.66
#EXT-X-PART-INF:PART-TARGET=0.22
#EXT-X-MEDIA-SEQUENCE:1700000000
#EXT-X-DISCONTINUITY-SEQUENCE:41

#EXT-X-MAP:URI="init-0123456789abcdef.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-01-02T03:04:05.678Z
#EXTINF:1.00000,
m1/1700000000.m4s
#EXT-X-DISCONTINUITY
#EXT-X-PROGRAM-DATE-TIME:2026-01-02T03:05:00Z
#EXT-X-GAP
#EXTINF:2,a title
m1/1700000001.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-01-02T03:05:02.000Z
#EXT-X-PART:DURATION=0.20000,URI="m1/1700000002.5.0.m4s",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="m1/1700000002.5.1.m4s"
`

func TestParseMedia(t *testing.T) {
	m, err := ParseMedia(good)
	if err != nil {
		t.Fatal(err)
	}
	m.Check(true, func(r Rule, format string, args ...any) { t.Errorf("%s: "+format, append([]any{r}, args...)...) })
	s := m.Segments
	switch {
	case len(s) != 2 || s[0].Seq != 1700000000 || s[1].DiscSeq != 42 || !s[1].Gap || s[1].Duration != 2*time.Second:
		t.Errorf("segments %+v", s)
	case m.Open.Seq != 1700000002 || m.Open.DiscSeq != 42 || len(m.Open.Parts) != 1 || !m.Open.Parts[0].Independent:
		t.Errorf("open segment %+v", m.Open)
	case m.Open.Map != "init-0123456789abcdef.mp4" || m.Control.SkipUntil != 12*time.Second || m.PartTarget != 220*time.Millisecond:
		t.Errorf("%+v", m)
	case m.Hint() != "m1/1700000002.5.1.m4s" || m.Skipped != -1 || m.EndList:
		t.Errorf("%+v", m)
	}
}

// Each edit of good makes a playlist that a strict parser must refuse.
func TestParseMediaRefuses(t *testing.T) {
	for name, edit := range map[string][2]string{
		"byte order mark":          {"#EXTM3U", "\ufeff#EXTM3U"},
		"blank in front":           {"#EXTM3U", " #EXTM3U"},
		"control character":        {"a title", "a\x00title"},
		"not UTF-8":                {"a title", "a \xff"},
		"NaN":                      {"DURATION=0.20000", "DURATION=NaN"},
		"exponent":                 {"DURATION=0.20000", "DURATION=2e-1"},
		"two dots":                 {"DURATION=0.20000", "DURATION=0.2.0"},
		"no whole part":            {"DURATION=0.20000", "DURATION=.2"},
		"hexadecimal":              {"SEQUENCE:1700000000", "SEQUENCE:0x10"},
		"too large":                {"SEQUENCE:1700000000", "SEQUENCE:99999999999999999999"},
		"signed":                   {"SEQUENCE:1700000000", "SEQUENCE:+1"},
		"NO where only YES":        {"CAN-BLOCK-RELOAD=YES", "CAN-BLOCK-RELOAD=NO"},
		"quoted enumeration":       {"INDEPENDENT=YES", `INDEPENDENT="YES"`},
		"space in a list":          {",CAN-SKIP-UNTIL", ", CAN-SKIP-UNTIL"},
		"lower-case attribute":     {"CAN-SKIP-UNTIL", "can-skip-until"},
		"quotation without end":    {`URI="init-0123456789abcdef.mp4"`, `URI="init`},
		"text behind quotation":    {`URI="init-0123456789abcdef.mp4"`, `URI="init"x`},
		"empty quotation":          {`URI="init-0123456789abcdef.mp4"`, `URI=""`},
		"URI without EXTINF":       {"#EXTINF:2,a title\n", ""},
		"EXTINF without URI":       {"#EXT-X-PRELOAD-HINT", "#EXTINF:1,\n#EXT-X-PRELOAD-HINT"},
		"EXTINF without comma":     {"#EXTINF:2,a title", "#EXTINF:2"},
		"EXTINF twice":             {"#EXTINF:2,", "#EXTINF:2,\n#EXTINF:2,"},
		"date that is none":        {"2026-01-02T03:05:00Z", "yesterday"},
		"date without zone":        {"2026-01-02T03:05:00Z", "2026-01-02T03:05:00"},
		"date twice":               {"#EXT-X-GAP", "#EXT-X-PROGRAM-DATE-TIME:2026-01-02T03:05:00Z\n#EXT-X-GAP"},
		"date behind a part":       {"#EXT-X-PRELOAD", "#EXT-X-PROGRAM-DATE-TIME:2026-01-02T03:05:00Z\n#EXT-X-PRELOAD"},
		"discontinuity twice":      {"#EXT-X-GAP", "#EXT-X-DISCONTINUITY\n#EXT-X-GAP"},
		"sequence too late":        {"#EXT-X-GAP", "#EXT-X-MEDIA-SEQUENCE:3\n#EXT-X-GAP"},
		"disc sequence too late":   {"#EXT-X-GAP", "#EXT-X-GAP\n#EXT-X-DISCONTINUITY-SEQUENCE:3"},
		"hint of no kind":          {"TYPE=PART", "TYPE=SEGMENT"},
		"segment behind a hint":    {"#EXT-X-PROGRAM-DATE-TIME:2026-01-02T03:05:02.000Z", "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"x\"\n#EXTINF:1,\ny"},
		"part target 0":            {"PART-TARGET=0.22", "PART-TARGET=0"},
		"target with a fraction":   {"TARGETDURATION:2", "TARGETDURATION:2.5"},
		"target 0":                 {"TARGETDURATION:2", "TARGETDURATION:0"},
		"skip too late":            {"#EXT-X-GAP", "#EXT-X-SKIP:SKIPPED-SEGMENTS=3"},
		"skip of nothing":          {"#EXT-X-MAP", "#EXT-X-SKIP:RECENTLY-REMOVED-DATERANGES=\"x\"\n#EXT-X-MAP"},
		"type of its own":          {"#EXT-X-MAP", "#EXT-X-PLAYLIST-TYPE:LIVE\n#EXT-X-MAP"},
		"key of a cipher":          {"#EXT-X-MAP", "#EXT-X-KEY:METHOD=NONE\n#EXT-X-MAP"},
		"flag with a value":        {"#EXT-X-INDEPENDENT-SEGMENTS", "#EXT-X-INDEPENDENT-SEGMENTS:YES"},
		"a second EXTM3U":          {"#EXT-X-GAP", "#EXTM3U"},
		"white space behind a URI": {"m1/1700000001.m4s", "m1/1700000001.m4s "},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, edit[0], edit[1], 1)
			if text == good {
				t.Fatal("nothing was replaced")
			}
			if m, err := ParseMedia(text); err == nil {
				t.Errorf("parsed: %+v", m)
			}
		})
	}
}

func TestKindsAreToldApart(t *testing.T) {
	const multi = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=640x360,FRAME-RATE=29.970\na.m3u8\n"
	m, err := ParseMultivariant(multi)
	if err != nil || len(m.Variants) != 1 || m.Variants[0].Codecs != "avc1.64001f,mp4a.40.2" || m.Variants[0].URI != "a.m3u8" {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := ParseMedia(multi); !errors.Is(err, ErrKind) {
		t.Errorf("a multivariant as media: %v", err)
	}
	if _, err := ParseMultivariant(good); !errors.Is(err, ErrKind) {
		t.Errorf("media as a multivariant: %v", err)
	}
}

// A delta update and the playlist before it make the full playlist.
func TestApply(t *testing.T) {
	before, err := ParseMedia(good)
	if err != nil {
		t.Fatal(err)
	}
	text := good[:strings.Index(good, "#EXT-X-MAP")] + "#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n" + good[strings.Index(good, "#EXT-X-DISCONTINUITY\n"):]
	delta, err := ParseMedia(text)
	if err != nil {
		t.Fatal(err)
	}
	full, err := delta.Apply(before)
	if err != nil {
		t.Fatal(err)
	}
	if len(full.Segments) != 2 || full.Segments[1].DiscSeq != 42 || full.Segments[1].Map != before.Segments[1].Map || full.Open.Map == "" {
		t.Errorf("%+v", full)
	}
	before.Segments = before.Segments[1:]
	if _, err := delta.Apply(before); err == nil {
		t.Error("skips what was never known")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Add("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na.m3u8\n")
	f.Add("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-SKIP:SKIPPED-SEGMENTS=18446744073709551615\n")
	f.Fuzz(func(t *testing.T, text string) {
		quiet := func(Rule, string, ...any) {}
		if m, err := ParseMedia(text); err == nil {
			m.Check(true, quiet)
			h := newHistory(true)
			h.take(m, false, quiet)
			h.take(m, true, quiet)
			if full, err := m.Apply(m); err == nil && full.Skipped > 0 {
				t.Error("applied and still skips")
			}
			m.Has(m.Open.Seq, 0)
			m.End()
		}
		_, _ = ParseMultivariant(text)
	})
}
