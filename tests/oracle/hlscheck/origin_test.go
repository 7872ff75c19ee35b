package hlscheck

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Eyevinn/mp4ff/mp4"
)

// origin is a small correct server of low-latency HLS whose answers a test can
// change. A fragment has 28 frames of 1/30 s: four parts of six and one of four.
// Each tenth begins a session, each tenth after the fifth is a gap.
type origin struct {
	t     testing.TB
	began time.Time
	// what a test may change
	doc         func(d *doc, n int)                         // the n-th media playlist, as a structure
	text        func(s string, n int) string                // its text
	multi       func(s string) string                       // the multivariant playlist
	file        func(path string, n int, b []byte) []byte   // the n-th fetch of this file; nil: 404
	kind        string                                      // Content-Type of playlists
	early       bool                                        // answers blocking requests at once
	lenient     bool                                        // answers what it should refuse
	hasty       bool                                        // refuses parts that are not there yet
	refusesGaps bool                                        // hints at parts of gaps, and refuses them
	ends        uint64                                      // ENDLIST after this fragment
	deltaOff    int                                         // added to SKIPPED-SEGMENTS
	media       func(f uint64, part int, dts uint64) uint64 // tfdt
	n           int                                         // media playlists so far
	fetches     map[string]int
}

const (
	frame       = time.Second / 30
	fragFrames  = 28
	fragParts   = 5
	window      = 20
	firstSeq    = 1000
	frameTicks  = 3000
	partSeconds = "0.22000"
)

var frag = fragFrames * time.Second / 30

// doc is a media playlist before it is rendered.
type doc struct {
	version          int
	target           int
	control, partInf string
	seq, disc        uint64
	segments         []dsegment
	open             dsegment
	hint             string
	end              bool
	skipped          int
	extra            string
}

type dsegment struct {
	seq    uint64
	uri    string
	dur    float64
	disc   bool
	pdt    time.Time
	noPDT  bool
	gap    bool
	mapURI string
	parts  []dpart
}

type dpart struct {
	uri   string
	dur   float64
	indep bool
	gap   bool
}

func session(f uint64) uint64 { return 7 + f/10 }
func isGap(f uint64) bool     { return f%10 == 5 }

// at returns when a part is there, from the origin's start on.
func at(f uint64, part int) time.Duration {
	frames := f*fragFrames + uint64(min((part+1)*6, fragFrames))
	return time.Duration(frames) * frame
}

// parts returns how many parts are there.
func (o *origin) parts() int {
	n := 0
	for at(uint64(n/fragParts), n%fragParts) <= time.Since(o.began) {
		n++
	}
	if o.ends > 0 {
		n = min(n, int(o.ends)*fragParts)
	}
	return n
}

func (o *origin) segment(f uint64, parts int) dsegment {
	s := dsegment{
		seq: firstSeq + f, uri: fmt.Sprintf("seg/%d.m4s", f), dur: frag.Seconds(), disc: f > 0 && f%10 == 0,
		pdt: o.began.Add(time.Duration(f) * frag), gap: isGap(f), mapURI: fmt.Sprintf("init-%d.mp4", session(f)),
	}
	for p := range parts {
		d := 6 * frame
		if p == fragParts-1 {
			d = 4 * frame
		}
		s.parts = append(s.parts, dpart{uri: fmt.Sprintf("part/%d.%d.m4s", f, p), dur: d.Seconds(), indep: p == 0 && !s.gap, gap: s.gap})
	}
	return s
}

func (o *origin) playlist(skip bool) *doc {
	n := o.parts()
	open := uint64(n / fragParts)
	d := &doc{version: 9, target: 2, partInf: partSeconds, control: "CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12,PART-HOLD-BACK=0.66"}
	first := uint64(0)
	if open > window {
		first = open - window
	}
	d.seq, d.disc = firstSeq+first, session(first)
	for f := first; f < open; f++ {
		parts := 0
		if f+5 > open {
			parts = fragParts
		}
		d.segments = append(d.segments, o.segment(f, parts))
	}
	if d.segments != nil && d.segments[0].disc {
		d.disc-- // its tag is counted
	}
	d.open = o.segment(open, n%fragParts)
	if open == o.ends && o.ends > 0 {
		d.end = true
	} else if !isGap(open) || o.refusesGaps {
		d.hint = fmt.Sprintf("part/%d.%d.m4s", open, n%fragParts)
	}
	if skip {
		left := time.Duration(0)
		i := len(d.segments)
		for i > 0 && left < 12*time.Second {
			i--
			left += frag
		}
		d.skipped = i
	}
	return d
}

func (d *doc) render(deltaOff int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "#EXTM3U\n#EXT-X-VERSION:%d\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-TARGETDURATION:%d\n", d.version, d.target)
	if d.control != "" {
		fmt.Fprintf(&b, "#EXT-X-SERVER-CONTROL:%s\n", d.control)
	}
	if d.partInf != "" {
		fmt.Fprintf(&b, "#EXT-X-PART-INF:PART-TARGET=%s\n", d.partInf)
	}
	fmt.Fprintf(&b, "#EXT-X-MEDIA-SEQUENCE:%d\n#EXT-X-DISCONTINUITY-SEQUENCE:%d\n%s", d.seq, d.disc, d.extra)
	mapURI := ""
	if d.skipped > 0 {
		fmt.Fprintf(&b, "#EXT-X-SKIP:SKIPPED-SEGMENTS=%d\n", d.skipped+deltaOff)
		mapURI = d.segments[d.skipped-1].mapURI
	}
	for _, s := range d.segments[d.skipped:] {
		s.render(&b, &mapURI)
		fmt.Fprintf(&b, "#EXTINF:%.5f,\n%s\n", s.dur, s.uri)
	}
	if d.end {
		b.WriteString("#EXT-X-ENDLIST\n")
		return b.String()
	}
	if len(d.open.parts) > 0 {
		d.open.render(&b, &mapURI)
	}
	if d.hint != "" {
		fmt.Fprintf(&b, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"%s\"\n", d.hint)
	}
	return b.String()
}

func (s *dsegment) render(b *strings.Builder, mapURI *string) {
	if s.disc {
		b.WriteString("#EXT-X-DISCONTINUITY\n")
	}
	if s.mapURI != *mapURI {
		fmt.Fprintf(b, "#EXT-X-MAP:URI=\"%s\"\n", s.mapURI)
		*mapURI = s.mapURI
	}
	if !s.noPDT {
		fmt.Fprintf(b, "#EXT-X-PROGRAM-DATE-TIME:%s\n", s.pdt.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
	}
	if s.gap {
		b.WriteString("#EXT-X-GAP\n")
	}
	for _, p := range s.parts {
		fmt.Fprintf(b, "#EXT-X-PART:DURATION=%.5f,URI=\"%s\"", p.dur, p.uri)
		if p.indep {
			b.WriteString(",INDEPENDENT=YES")
		}
		if p.gap {
			b.WriteString(",GAP=YES")
		}
		b.WriteString("\n")
	}
}

// RoundTrip serves without a network, so that tests can use synctest.
func (o *origin) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	o.serve(rec, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return rec.Result(), nil
}

func (o *origin) wait(r *http.Request, parts int) bool {
	for o.parts() < parts {
		if o.ends > 0 && parts > int(o.ends)*fragParts {
			return false
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-r.Context().Done():
			return false
		}
	}
	return true
}

func (o *origin) serve(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case path == "/index.m3u8":
		o.answer(w, o.multi("#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-STREAM-INF:BANDWIDTH=100000,CODECS=\"avc1.64001f\",RESOLUTION=640x360\nv.m3u8\n"))
	case path == "/v.m3u8":
		o.media1(w, r)
	case strings.HasPrefix(path, "/init-"):
		o.serveFile(w, path, initBytes(o.t))
	case strings.HasPrefix(path, "/seg/"):
		f, _ := strconv.ParseUint(strings.TrimSuffix(path[5:], ".m4s"), 10, 64)
		var b []byte
		for p := range fragParts {
			b = append(b, o.part(f, p)...)
		}
		o.serveFile(w, path, b)
	case strings.HasPrefix(path, "/part/"):
		var f uint64
		var p int
		_, _ = fmt.Sscanf(path, "/part/%d.%d.m4s", &f, &p)
		want := int(f)*fragParts + p + 1
		if isGap(f) || o.hasty && o.parts() < want || !o.wait(r, want) {
			http.NotFound(w, r)
			return
		}
		o.serveFile(w, path, o.part(f, p))
	default:
		http.NotFound(w, r)
	}
}

func (o *origin) media1(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Has("_HLS_part") && !q.Has("_HLS_msn") && !o.lenient {
		http.Error(w, "no msn", http.StatusBadRequest)
		return
	}
	if q.Has("_HLS_msn") {
		msn, _ := strconv.Atoi(q.Get("_HLS_msn"))
		part := fragParts - 1
		if q.Has("_HLS_part") {
			part, _ = strconv.Atoi(q.Get("_HLS_part"))
		}
		want := (msn-firstSeq)*fragParts + part + 1
		if want > o.parts()+3*fragParts && !o.lenient {
			http.Error(w, "too far", http.StatusBadRequest)
			return
		}
		if !o.early {
			o.wait(r, want)
		}
	}
	d := o.playlist(q.Get("_HLS_skip") == "YES")
	o.n++
	if o.doc != nil {
		o.doc(d, o.n)
	}
	s := d.render(o.deltaOff)
	if o.text != nil {
		s = o.text(s, o.n)
	}
	o.answer(w, s)
}

func (o *origin) answer(w http.ResponseWriter, s string) {
	w.Header().Set("Content-Type", o.kind)
	_, _ = w.Write([]byte(s))
}

func (o *origin) serveFile(w http.ResponseWriter, path string, b []byte) {
	o.fetches[path]++
	if o.file != nil {
		b = o.file(path, o.fetches[path], b)
	}
	if b == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_, _ = w.Write(b)
}

func initBytes(t testing.TB) []byte {
	t.Helper()
	i := mp4.CreateEmptyInit()
	i.AddEmptyTrack(90000, "video", "und")
	var b bytes.Buffer
	if err := i.Encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (o *origin) part(f uint64, p int) []byte {
	frag, err := mp4.CreateFragment(uint32(f*fragParts)+uint32(p)+1, 1)
	if err != nil {
		o.t.Fatal(err)
	}
	dts := (f*fragFrames + uint64(p)*6) * frameTicks
	if o.media != nil {
		dts = o.media(f, p, dts)
	}
	for i := range min(6, fragFrames-p*6) {
		flags := mp4.NonSyncSampleFlags
		if p == 0 && i == 0 {
			flags = mp4.SyncSampleFlags
		}
		data := []byte(fmt.Sprintf("frame %d of part %d of fragment %d", i, p, f))
		frag.AddFullSample(mp4.FullSample{
			Sample: mp4.Sample{Flags: flags, Dur: frameTicks, Size: uint32(len(data))}, DecodeTime: dts + uint64(i)*frameTicks, Data: data,
		})
	}
	var b bytes.Buffer
	if err := frag.Encode(&b); err != nil {
		o.t.Fatal(err)
	}
	return b.Bytes()
}

func newOrigin(t testing.TB) *origin {
	return &origin{
		t: t, began: time.Now(), kind: "application/vnd.apple.mpegurl", fetches: map[string]int{},
		multi: func(s string) string { return s },
	}
}
