package hls

import (
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

const config1 = "aaaaaaaaaaaaaaaa"

// entryAt is an entry of d ticks.
func entryAt(seq, session uint64, config string, d int64) schemas.Entry {
	return schemas.Entry{
		Kind: schemas.KindWhole, Seq: seq, Session: session, Config: config, Epoch: 5, Chunks: 2, Duration: d, Bytes: 1000,
		Layout: testmedia.Layout, Start: testmedia.Start.Add(time.Duration(seq) * time.Second),
	}
}

func TestPlaylist(t *testing.T) {
	second := int64(schemas.MediaTimescale)
	gap := entryAt(11, 3, "", second)
	gap.Kind = schemas.KindGap
	entries := []schemas.Entry{
		entryAt(10, 3, config1, second), gap, entryAt(12, 4, config1, second*3003/3000), entryAt(13, 4, "bbbbbbbbbbbbbbbb", second),
	}
	parts := []PartInfo{{0, 45045, true, false}, {45045, 45045, false, false}}
	o := PlaylistOptions{
		Base:       "raw/",
		Parts:      map[uint64][]PartInfo{10: parts, 12: parts},
		Unfinished: &Unfinished{Seq: 14, Session: 5, Epoch: 8, Layout: testmedia.Layout, Config: config1, Start: testmedia.Start, Parts: []PartInfo{{0, 18000, true, false}}},
		Hint:       &Hint{14, 8, 1},
	}
	head := `#EXTM3U
#EXT-X-VERSION:9
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.0,HOLD-BACK=6.0,PART-HOLD-BACK=0.660000
#EXT-X-PART-INF:PART-TARGET=0.220000
#EXT-X-MEDIA-SEQUENCE:10
#EXT-X-DISCONTINUITY-SEQUENCE:3
`
	body := `#EXT-X-MAP:URI="raw/m1/init-aaaaaaaaaaaaaaaa.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:10.000Z
#EXT-X-PART:DURATION=0.500500,URI="raw/m1/10.5.0.m4s",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.500500,URI="raw/m1/10.5.1.m4s"
#EXTINF:1.000000,
raw/m1/10.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:11.000Z
#EXT-X-GAP
#EXTINF:1.000000,
raw/m1/11.m4s
#EXT-X-DISCONTINUITY
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:12.000Z
#EXT-X-PART:DURATION=0.500500,URI="raw/m1/12.5.0.m4s",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.500500,URI="raw/m1/12.5.1.m4s"
#EXTINF:1.001000,
raw/m1/12.m4s
#EXT-X-MAP:URI="raw/m1/init-bbbbbbbbbbbbbbbb.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:13.000Z
#EXTINF:1.000000,
raw/m1/13.m4s
`
	tail := `#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI="raw/m1/init-aaaaaaaaaaaaaaaa.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:00.000Z
#EXT-X-PART:DURATION=0.200000,URI="raw/m1/14.8.0.m4s",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="raw/m1/14.8.1.m4s"
`
	check := func(name string, got []byte, want string) {
		t.Helper()
		if string(got) != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
	}
	check("live", Playlist(entries, o), head+body+tail)
	o.Reports = []Report{{URI: "720p.m3u8", Seq: 13, Part: -1}, {URI: "480p.m3u8", Seq: 14, Part: 2}}
	check("with reports", Playlist(entries, o), head+body+tail+
		"#EXT-X-RENDITION-REPORT:URI=\"720p.m3u8\",LAST-MSN=13\n#EXT-X-RENDITION-REPORT:URI=\"480p.m3u8\",LAST-MSN=14,LAST-PART=2\n")
	o.Reports = nil

	// The unfinished fragment becomes longer than its layout says: the target
	// duration grows, and all parts stay listed.
	o.Unfinished.Parts = []PartInfo{{0, 18000, true, false}, {18000, 300_000, false, false}}
	grown := strings.NewReplacer("TARGETDURATION:2", "TARGETDURATION:4", "CAN-SKIP-UNTIL=12.0", "CAN-SKIP-UNTIL=24.0", "HOLD-BACK=6.0", "HOLD-BACK=12.0").Replace(head)
	if got := string(Playlist(entries, o)); !strings.HasPrefix(got, grown) || !strings.Contains(got, "raw/m1/14.8.1.m4s") {
		t.Errorf("a fragment of 3.5 s:\n%s\nwant\n%s", got, grown)
	}
	// So does a fragment of a later layout, whose larger parts count too.
	slow := entryAt(14, 5, config1, 5*second)
	slow.Layout.ID, slow.Layout.Target, slow.Layout.Part = 1, 6, 39600
	got := string(Playlist(append(entries[:4:4], slow), PlaylistOptions{}))
	for _, line := range []string{"TARGETDURATION:6\n", "PART-TARGET=0.440000\n", "PART-HOLD-BACK=1.320000\n"} {
		if !strings.Contains(got, line) {
			t.Errorf("no %q in\n%s", line, got)
		}
	}
	// HLS carries no MJPEG.
	jpeg := entryAt(14, 5, "cccccccccccccccc", second)
	jpeg.Layout = schemas.Layout{ID: 1, Target: 2, Video: schemas.MJPEG}
	if got := string(Playlist(append(entries[:4:4], jpeg), PlaylistOptions{})); !strings.HasSuffix(got, "#EXT-X-GAP\n#EXTINF:1.000000,\nm1/14.m4s\n# nothing is known of the next segment\n") || strings.Contains(got, "cccc") {
		t.Errorf("MJPEG:\n%s", got)
	}

	noParts := testmedia.Layout
	noParts.Part = 0
	e := entryAt(10, 3, config1, second)
	e.Layout = noParts
	check("without parts", Playlist([]schemas.Entry{e}, PlaylistOptions{Base: "raw/"}), `#EXTM3U
#EXT-X-VERSION:9
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.0,HOLD-BACK=6.0
#EXT-X-MEDIA-SEQUENCE:10
#EXT-X-DISCONTINUITY-SEQUENCE:3
#EXT-X-MAP:URI="raw/m1/init-aaaaaaaaaaaaaaaa.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:10.000Z
#EXTINF:1.000000,
raw/m1/10.m4s
`)
	if b := Playlist(nil, PlaylistOptions{}); b != nil {
		t.Errorf("of nothing: %s", b)
	}
}

func TestPlaylistSkips(t *testing.T) {
	var entries []schemas.Entry
	for i := range uint64(20) {
		entries = append(entries, entryAt(100+i, 1+i/10, config1, schemas.MediaTimescale))
	}
	parts := map[uint64][]PartInfo{}
	for i := range entries {
		parts[entries[i].Seq] = []PartInfo{{0, 90000, true, false}}
	}
	full := string(Playlist(entries, PlaylistOptions{Parts: parts}))
	if n := strings.Count(full, "#EXT-X-PART:"); n != 6 {
		t.Errorf("parts of %d segments of a second are listed, want those of the last three target durations, 6", n)
	}
	delta := string(Playlist(entries, PlaylistOptions{Parts: parts, Skip: true}))
	if !strings.Contains(delta, "#EXT-X-SKIP:SKIPPED-SEGMENTS=8\n") {
		t.Fatalf("12 s of 20 s must stay:\n%s", delta)
	}
	if strings.Contains(delta, "#EXT-X-MAP") {
		t.Error("the delta repeats the MAP that its skipped segments have")
	}
	// The full playlist's lines from the first segment kept are the delta's.
	from := strings.Index(full, "#EXT-X-PROGRAM-DATE-TIME:"+entries[8].Start.Format("2006-01-02T15:04:05.000Z"))
	if _, rest, _ := strings.Cut(delta, "SKIPPED-SEGMENTS=8\n"); rest != full[from:] {
		t.Errorf("the rest differs:\n%s\nwant\n%s", rest, full[from:])
	}
	short := Playlist(entries[:5], PlaylistOptions{Skip: true})
	if strings.Contains(string(short), "SKIP:") {
		t.Error("a short playlist skips")
	}
}

// While a fragment of the window needs the one before it, the playlist has no
// INDEPENDENT-SEGMENTS. The first part of the fragment is INDEPENDENT all the same:
// a player can begin at its first picture.
func TestPlaylistOfOpenGOPs(t *testing.T) {
	closed := []schemas.Entry{entryAt(10, 1, config1, 90000), entryAt(11, 1, config1, 90000)}
	openGOP := []schemas.Entry{closed[0], closed[1]}
	openGOP[1].OpenGOP = true
	unfinished := func(openGOP bool, parts ...PartInfo) PlaylistOptions {
		return PlaylistOptions{Unfinished: &Unfinished{Seq: 12, Session: 1, Epoch: 5, Layout: testmedia.Layout, Config: config1, OpenGOP: openGOP, Start: testmedia.Start, Parts: parts}}
	}
	first := PartInfo{Duration: 18000, Independent: true}
	for _, c := range []struct {
		name    string
		entries []schemas.Entry
		o       PlaylistOptions
		want    bool
	}{
		{"closed", closed, unfinished(false, first), true},
		{"an entry", openGOP, unfinished(false, first), false},
		{"the unfinished fragment", closed, unfinished(true, first), false},
		{"it has no parts yet", closed, unfinished(true), true},
	} {
		text := string(Playlist(c.entries, c.o))
		if got := strings.Contains(text, "#EXT-X-INDEPENDENT-SEGMENTS\n"); got != c.want {
			t.Errorf("%s: INDEPENDENT-SEGMENTS is there: %v", c.name, got)
		}
		if len(c.o.Unfinished.Parts) > 0 && !strings.Contains(text, "m1/12.5.0.m4s\",INDEPENDENT=YES\n") {
			t.Errorf("%s: the first part is not INDEPENDENT:\n%s", c.name, text)
		}
	}
}

func TestMultivariant(t *testing.T) {
	tracks := testmedia.Synthetic(testPlace, 1)[0].Chunks[0].Tracks
	got := string(Multivariant([]Variant{{URI: "raw.m3u8", Peak: 4000000, Average: 3000000, Tracks: tracks, FrameRate: 25}}))
	want := `#EXTM3U
#EXT-X-VERSION:9
#EXT-X-STREAM-INF:BANDWIDTH=4000000,AVERAGE-BANDWIDTH=3000000,CODECS="avc1.4D400D,mp4a.40.2",RESOLUTION=320x180,FRAME-RATE=25.000
raw.m3u8
`
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestBandwidth(t *testing.T) {
	of := func(bytes, ticks int64) schemas.Entry {
		return schemas.Entry{Kind: schemas.KindWhole, Layout: testmedia.Layout, Bytes: bytes, Duration: ticks}
	}
	gap := schemas.Entry{Kind: schemas.KindGap, Layout: testmedia.Layout, Duration: 90000}
	tests := []struct {
		name          string
		entries       []schemas.Entry
		peak, average int64
	}{
		{"nothing", nil, 0, 0},
		{"even", []schemas.Entry{of(1000, 90000), of(1000, 90000)}, 8000, 8000},
		{"a peak of half a target duration", []schemas.Entry{of(1000, 90000), of(3000, 90000)}, 24000, 16000},
		{"too short a peak counts with its neighbour", []schemas.Entry{of(1000, 45000), of(1000, 90000)}, 10667, 10667},
		{"a gap has no bits", []schemas.Entry{of(1000, 90000), gap, of(1000, 90000)}, 8000, 8000},
	}
	for _, test := range tests {
		if p, a := Bandwidth(test.entries); p != test.peak || a != test.average {
			t.Errorf("%s: %d, %d; want %d, %d", test.name, p, a, test.peak, test.average)
		}
	}
}

// No low-latency playlist ends with a segment: hls.js would take it for an unfinished
// one.
func TestPlaylistEndsAfterItsSegments(t *testing.T) {
	last := entryAt(10, 1, config1, schemas.MediaTimescale)
	for name, o := range map[string]PlaylistOptions{
		"nothing": {}, "a fragment without parts": {Unfinished: &Unfinished{Seq: 11, Session: 1, Layout: testmedia.Layout, Config: config1, Start: testmedia.Start}},
	} {
		if text := string(Playlist([]schemas.Entry{last}, o)); strings.HasSuffix(text, ".m4s\n") {
			t.Errorf("%s follows: %q", name, text)
		}
	}
	last.Layout.Part = 0
	if text := string(Playlist([]schemas.Entry{last}, PlaylistOptions{})); !strings.HasSuffix(text, ".m4s\n") {
		t.Errorf("without low latency: %q", text)
	}
}

// The parts before an absence stay listed as long as those before footage do: until
// enough footage has come behind them.
func TestPartsBeforeAnAbsence(t *testing.T) {
	entries := []schemas.Entry{entryAt(10, 1, config1, 90000), entryAt(11, 1, config1, 90000)}
	parts := map[uint64][]PartInfo{10: {{0, 90000, true, false}}, 11: {{0, 90000, true, false}}}
	for i := range uint64(10) {
		gap := entryAt(12+i, 1, "", 180000)
		gap.Kind = schemas.KindGap
		entries = append(entries, gap)
	}
	for i := range uint64(7) {
		text := string(Playlist(entries, PlaylistOptions{Parts: parts, Skip: true}))
		if want := min(2, 6-int(i)); strings.Count(text, "#EXT-X-PART:") != max(0, want) {
			t.Errorf("%d s of footage behind the absence: want %d parts before it:\n%s", i, want, text)
		}
		entries = append(entries, entryAt(22+i, 2, config1, 90000))
	}
}
