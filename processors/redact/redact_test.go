package redact

import (
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/motion"
	"github.com/framelog/framelog/processors/processorstest"
	"github.com/framelog/framelog/processors/video"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/oracle/pictures"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

// need skips a test where GStreamer lacks what decodes and encodes in software.
func need(t testing.TB) {
	t.Helper()
	testenv.SkipShort(t, "ffmpeg")
	pictures.Need(t, "avdec_h264", "x264enc", "h264parse")
}

func newRedact(t testing.TB, s Settings) processors.Processor {
	t.Helper()
	p, err := New("redacted", s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestConformance(t *testing.T) {
	need(t)
	processorstest.Run(t, newRedact(t, Settings{Moving: true}), processorstest.Fragments(t, "h264-audio", "open-gop", "truncated")...)
}

var place = testmedia.Place{Seq: 7, Session: 3, Epoch: 5, Layout: testmedia.Layout, Start: testmedia.Start}

// redacted processes a fragment, and returns its output as a fragment.
func redacted(t testing.TB, p processors.Processor, in *processors.Fragment) ([]*schemas.Chunk, *processors.Fragment) {
	t.Helper()
	r, err := p.Collect(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	e, err := in.Entry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	chunks := r.Chunks["redacted"]
	if len(chunks) == 0 {
		t.Fatal("no chunks")
	}
	return chunks, processors.NewFragment(in.Camera, e, chunks...)
}

// decoded decodes a fragment.
func decoded(t testing.TB, in *processors.Fragment) (all []*video.Picture) {
	t.Helper()
	for p, err := range video.Pictures(t.Context(), in, video.Options{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p.Clone())
	}
	return all
}

// part returns the pixels inside of an area of a picture, or outside of it, some pixels from
// its edge: encoders smear edges.
func part(p *video.Picture, area motion.Area, inside bool) (pixels []int) {
	const edge = 6
	w, h := float64(p.Width), float64(p.Height)
	for i := range p.Width * p.Height {
		x, y := float64(i%p.Width), float64(i/p.Width)
		d := max(area.X*w-x, x-(area.X+area.W)*w, area.Y*h-y, y-(area.Y+area.H)*h)
		if inside && d < -edge || !inside && d > edge {
			pixels = append(pixels, i)
		}
	}
	return pixels
}

// difference is the mean difference of the luma of two pictures. The race detector would
// only make it slow.
//
//go:norace
func difference(a, b *video.Picture, pixels []int) float64 {
	sum := 0
	for _, i := range pixels {
		d := int(a.Data[i]) - int(b.Data[i])
		sum += max(d, -d)
	}
	return float64(sum) / float64(len(pixels))
}

// leak tells how much of the source is left in a picture, of what the hidden picture does
// not have: 1 all, 0 nothing. What an encoder adds is not like the source.
//
//go:norace
func leak(source, hidden, got *video.Picture, pixels []int) float64 {
	both, own := 0, 0
	for _, i := range pixels {
		h := int(hidden.Data[i])
		detail := int(source.Data[i]) - h
		both += detail * (int(got.Data[i]) - h)
		own += detail * detail
	}
	return float64(both) / float64(own)
}

// In each picture the area looks as the mosaic of the source's picture, and the rest as
// the source. Chunks, times and pictures are those of the source.
func TestRegions(t *testing.T) {
	need(t)
	area := motion.Area{X: 0.25, Y: 0.25, W: 0.5, H: 0.5}
	clip := testmedia.MakeClip(t, 2, true, testmedia.H264BFrames...)
	for _, s := range []Settings{
		{Regions: []motion.Area{area}},
		{Cameras: map[string]Camera{"cam": {Regions: []motion.Area{area}}}, Style: fill, Moving: true},
	} {
		p := newRedact(t, s)
		if o := p.Outputs; len(o) != 1 || o[0].Role != schemas.RoleAlternative {
			t.Errorf("outputs %+v", o)
		}
		for i, f := range clip.Fragments(place, 5) {
			in := processors.NewFragment("cam", f.Entry, f.Chunks...)
			chunks, out := redacted(t, p, in)
			checkShape(t, f.Chunks, chunks)
			want, got := decoded(t, in), decoded(t, out)
			if len(want) != 25 || len(got) != len(want) {
				t.Fatalf("fragment %d: %d pictures of %d", i, len(got), len(want))
			}
			v := newVeil(want[0].Width, want[0].Height, []motion.Area{area}, s.Style == fill)
			inside, outside := part(want[0], area, true), part(want[0], area, false)
			for n, source := range want {
				hidden := source.Clone()
				v.hide(hidden)
				d, l, rest := difference(hidden, got[n], inside), leak(source, hidden, got[n], inside), difference(source, got[n], outside)
				if got[n].PTS != source.PTS || d > 6 || l > 0.5 || rest > 8 {
					t.Errorf("fragment %d, picture %d at %d, want %d: differences %.1f inside, %.1f outside; %.2f of the source is left inside",
						i, n, got[n].PTS, source.PTS, d, rest, l)
				}
			}
		}
	}
}

// checkShape checks that chunks begin and end as those of the source, with one IDR.
func checkShape(t *testing.T, source, got []*schemas.Chunk) {
	t.Helper()
	if len(source) != len(got) {
		t.Fatalf("%d chunks, the source has %d", len(got), len(source))
	}
	for i, c := range got {
		s := source[i]
		if c.MediaStart() != s.MediaStart() || c.MediaEnd() != s.MediaEnd() || !c.Start.Equal(s.Start) || c.Last != s.Last {
			t.Errorf("chunk %d from %d to %d, last %v; the source's from %d to %d", i, c.MediaStart(), c.MediaEnd(), c.Last, s.MediaStart(), s.MediaEnd())
		}
		for j, u := range c.Video() {
			if u.Sync != (i == 0 && j == 0) {
				t.Errorf("chunk %d, picture %d: sync %v", i, j, u.Sync)
			}
		}
	}
}

// Without a setting there is no sound, and with it the sound is the source's.
func TestSound(t *testing.T) {
	need(t)
	f := testmedia.MakeClip(t, 1, true, testmedia.H264Plain...).Fragments(place, 5)[0]
	in := processors.NewFragment("cam", f.Entry, f.Chunks...)
	tracks := func(chunks []*schemas.Chunk) (ids []uint8, sound []byte) {
		for _, tr := range chunks[0].Tracks {
			ids = append(ids, tr.ID)
		}
		for _, c := range chunks {
			for _, r := range c.Runs {
				if r.Track == schemas.VideoTrack {
					continue
				}
				for _, s := range r.Samples {
					sound = append(sound, s.Data...)
				}
			}
		}
		return ids, sound
	}
	chunks, _ := redacted(t, newRedact(t, Settings{}), in)
	if ids, sound := tracks(chunks); !slices.Equal(ids, []uint8{schemas.VideoTrack}) || len(sound) > 0 {
		t.Errorf("tracks %d, %d bytes of sound; want pictures alone", ids, len(sound))
	}
	chunks, _ = redacted(t, newRedact(t, Settings{Audio: true}), in)
	ids, sound := tracks(chunks)
	if _, want := tracks(f.Chunks); !slices.Equal(ids, []uint8{schemas.VideoTrack, schemas.AudioTrack}) || !slices.Equal(sound, want) {
		t.Errorf("tracks %d, %d bytes of sound; want the source's %d", ids, len(sound), len(want))
	}
	if got := f.Chunks[0]; len(got.Tracks) != 2 || len(got.Runs) != 2 {
		t.Errorf("the source has changed: %+v", got)
	}
}

// Of a camera for which nothing is configured the whole picture is hidden.
func TestCamerasThatAreNotConfigured(t *testing.T) {
	need(t)
	f := testmedia.MakeClip(t, 1, false, testmedia.H264Plain...).Fragments(place, 5)[0]
	in := processors.NewFragment("yard", f.Entry, f.Chunks...)
	all := motion.Area{W: 1, H: 1}
	for _, s := range []Settings{{}, {Cameras: map[string]Camera{"cam": {Regions: []motion.Area{{W: 0.1, H: 0.1}}}}}} {
		_, out := redacted(t, newRedact(t, s), in)
		sources := decoded(t, in)
		v, inside := newVeil(sources[0].Width, sources[0].Height, []motion.Area{all}, false), part(sources[0], all, true)
		for i, got := range decoded(t, out) {
			hidden := sources[i].Clone()
			v.hide(hidden)
			if d, l := difference(hidden, got, inside), leak(sources[i], hidden, got, inside); d > 6 || l > 0.5 {
				t.Fatalf("picture %d: difference %.1f, %.2f of the source is left", i, d, l)
			}
		}
	}
}

// drawn is a dark wall, and something white with a pattern that walks over it from picture
// 8 on.
func drawn(n int, media int64) *video.Picture {
	const w, h = 320, 180
	p := &video.Picture{PTS: media + int64(n)*3600, Duration: 3600, Width: w, Height: h, Format: video.I420, Data: make([]byte, w*h*3/2)}
	for i := range p.Data {
		p.Data[i] = 128
	}
	for i := range w * h {
		x, y := i%w, i/w
		p.Data[i] = byte(60 + 20*((x/20+y/20)%2) + x%7)
		if b, ok := walker(n); ok && float64(x) >= b.X*w && float64(x) < (b.X+b.W)*w && float64(y) >= b.Y*h && float64(y) < (b.Y+b.H)*h {
			p.Data[i] = byte(170 + 60*((x/3+y/3)%2))
		}
	}
	return p
}

func walker(n int) (a motion.Area, there bool) {
	return motion.Area{X: 0.2 + 0.02*float64(n-8), Y: 0.4, W: 0.1, H: 0.25}, n >= 8
}

// encoded makes a fragment of pictures.
func encoded(t testing.TB, pictures func(media int64) iter.Seq2[*video.Picture, error]) *processors.Fragment {
	t.Helper()
	f := testmedia.MakeClip(t, 1, false, testmedia.H264Plain...).Fragments(place, 5)[0] // its times alone matter
	in := processors.NewFragment("cam", f.Entry, f.Chunks...)
	var chunks []*schemas.Chunk
	for c, err := range video.Encode(t.Context(), in, pictures(in.Media), video.Encoding{Bitrate: 2_000_000, Hardware: "software"}) {
		if err != nil {
			t.Fatal(err)
		}
		c.Session, c.Seq, c.Index = in.Session, in.Seq, uint32(len(chunks))
		chunks = append(chunks, c)
	}
	return processors.NewFragment("cam", f.Entry, chunks...)
}

// What moves is hidden in each picture, from the first one on in which it is seen. What
// is far from it is not.
func TestMoving(t *testing.T) {
	need(t)
	in := encoded(t, func(media int64) iter.Seq2[*video.Picture, error] {
		return func(yield func(*video.Picture, error) bool) {
			for n := range 25 {
				if !yield(drawn(n, media), nil) {
					return
				}
			}
		}
	})
	_, out := redacted(t, newRedact(t, Settings{Moving: true, Style: fill}), in)
	source := decoded(t, in)
	got := decoded(t, out)
	if len(got) != 25 {
		t.Fatalf("%d pictures", len(got))
	}
	far := part(got[0], motion.Area{Y: 0.25, W: 1, H: 0.55}, false) // all around it
	for n, p := range got {
		if d := difference(source[n], p, far); d > 8 {
			t.Errorf("picture %d: far from it there is a difference of %.1f", n, d)
		}
		a, there := walker(n)
		if !there {
			continue
		}
		for y := int(a.Y * 180); y < int((a.Y+a.H)*180); y++ {
			for x := int(a.X * 320); x < int((a.X+a.W)*320); x++ {
				if v := p.Data[y*320+x]; v > 40 {
					t.Fatalf("picture %d: pixel %d,%d is %d: it can be seen", n, x, y, v)
				}
			}
		}
	}
}

// A fragment that cannot be decoded gives an error and nothing else; one that can in part
// gives the hidden pictures of that part.
func TestDamage(t *testing.T) {
	need(t)
	f := testmedia.MakeClip(t, 1, true, testmedia.H264Plain...).Fragments(place, 5)[0]
	damaged := func(from int) *processors.Fragment {
		var chunks []*schemas.Chunk
		n := 0
		for _, c := range f.Chunks {
			d := *c
			d.Runs = slices.Clone(c.Runs)
			for i, r := range d.Runs {
				if r.Track != schemas.VideoTrack {
					continue
				}
				d.Runs[i].Samples = slices.Clone(r.Samples)
				for j := range d.Runs[i].Samples {
					if n++; n > from {
						d.Runs[i].Samples[j].Data = []byte{0, 0, 0, 4, 0x65, 1, 2, 3}
					}
				}
			}
			chunks = append(chunks, &d)
		}
		return processors.NewFragment("cam", f.Entry, chunks...)
	}
	for _, s := range []Settings{{}, {Moving: true}, {Audio: true}} {
		if r, err := must(New("redacted", s)).Collect(t.Context(), damaged(0)); err == nil {
			t.Errorf("%+v: no error but %+v", s, r)
		}
	}
	_, out := redacted(t, newRedact(t, Settings{Style: fill}), damaged(10))
	for i, p := range decoded(t, out) {
		for at, v := range p.Data[:p.Width*p.Height] {
			if v > 30 {
				t.Fatalf("picture %d: pixel %d is %d, it should be black", i, at, v)
			}
		}
	}
}

func must(p processors.Processor, err error) *processors.Processor {
	if err != nil {
		panic(err)
	}
	return &p
}

func TestSettingsThatAreWrong(t *testing.T) {
	for want, s := range map[string]Settings{
		`style: "blur"; give pixelate or fill`:    {Style: "blur"},
		"margin: -1; give a part":                 {Margin: -1},
		"regions[0]: a rectangle of 0 by 0":       {Regions: []motion.Area{{}}},
		"cameras.yard.regions: there are none":    {Cameras: map[string]Camera{"yard": {}}},
		"cameras.yard.regions[0]: the rectangle ": {Cameras: map[string]Camera{"yard": {Regions: []motion.Area{{W: 2, H: 1}}}}},
	} {
		if _, err := New("redacted", s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", s, err, want)
		}
	}
}
