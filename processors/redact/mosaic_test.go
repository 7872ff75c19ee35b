package redact

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/framelog/framelog/processors/motion"
	"github.com/framelog/framelog/processors/video"
)

// random makes a picture in I420.
func random(w, h int, seed uint64) *video.Picture {
	r := rand.New(rand.NewPCG(seed, 1))
	p := &video.Picture{Width: w, Height: h, Format: video.I420, Data: make([]byte, video.I420.Bytes(w, h))}
	for i := range p.Data {
		p.Data[i] = byte(16 + r.IntN(220))
	}
	return p
}

// sizes are even and odd, wide and high, and smaller than the mosaic has blocks.
var sizes = [][2]int{{320, 180}, {161, 91}, {90, 160}, {12, 6}}

// What is hidden tells no more than a rough mean of each block: where all pixels of each
// block change places, the result is the same.
func TestHiddenPixelsTellOnlyAMean(t *testing.T) {
	for _, size := range sizes[:3] { // the last one has blocks of one pixel
		w, h := size[0], size[1]
		for _, fill := range []bool{false, true} {
			v := newVeil(w, h, []motion.Area{{W: 1, H: 1}}, fill)
			p := random(w, h, 1)
			mixed := p.Clone()
			r := rand.New(rand.NewPCG(2, 2))
			for _, l := range v.planes {
				shuffleBlocks(l, mixed.Data[l.from:], r)
			}
			if bytes.Equal(p.Data, mixed.Data) {
				t.Fatal("the pixels have not changed places")
			}
			v.hide(p)
			v.hide(mixed)
			if !bytes.Equal(p.Data, mixed.Data) {
				t.Errorf("%dx%d, fill %v: what is hidden depends on where pixels lie in a block", w, h, fill)
			}
			n := 0
			for i := range p.Data[:w*h] {
				if i > 0 && p.Data[i] != p.Data[i-1] {
					n++
				}
			}
			if fill && n > 0 {
				t.Errorf("%dx%d: filled, and not of one colour", w, h)
			}
		}
	}
}

// shuffleBlocks lets the pixels of each block change places.
func shuffleBlocks(l plane, data []byte, r *rand.Rand) {
	l.eachBlock(func(x0, y0, x1, y1 int) {
		var at []int
		for y := y0; y < y1; y++ {
			for x := x0; x < x1; x++ {
				at = append(at, y*l.w+x)
			}
		}
		r.Shuffle(len(at), func(i, j int) { data[at[i]], data[at[j]] = data[at[j]], data[at[i]] })
	})
}

// The blocks cover each pixel once, and none is small.
func TestBlocks(t *testing.T) {
	for _, size := range sizes {
		w, h := size[0], size[1]
		l := plane{w: w, h: h}
		seen := make([]int, w*h)
		l.eachBlock(func(x0, y0, x1, y1 int) {
			if least := min(w, h/blocks, 8); x1-x0 < least || y1-y0 < least {
				t.Errorf("%dx%d: a block of %dx%d", w, h, x1-x0, y1-y0)
			}
			for y := y0; y < y1; y++ {
				for x := x0; x < x1; x++ {
					seen[y*w+x]++
				}
			}
		})
		if slices.ContainsFunc(seen, func(n int) bool { return n != 1 }) {
			t.Errorf("%dx%d: the blocks do not cover each pixel once", w, h)
		}
	}
}

// What is hidden does not depend on single pixels, what is not hidden stays as it is.
func TestPixelsBesideAnArea(t *testing.T) {
	for _, size := range sizes {
		w, h := size[0], size[1]
		area := motion.Area{X: 0.3, Y: 0.25, W: 0.21, H: 0.33}
		mask := make([]bool, w*h)
		area.Paint(mask, w, h)
		p := random(w, h, 3)
		hidden := p.Clone()
		newVeil(w, h, []motion.Area{area}, true).hide(hidden)
		for i := range p.Data[:w*h] {
			x, y := i%w, i/w
			c := w*h + y/2*((w+1)/2) + x/2
			switch {
			case mask[i]:
				if hidden.Data[i] != 16 || hidden.Data[c] != 128 {
					t.Fatalf("%dx%d: pixel %d,%d of the area is %d, its colour %d", w, h, x, y, hidden.Data[i], hidden.Data[c])
				}
			case !near(mask, w, h, x, y):
				if hidden.Data[i] != p.Data[i] || hidden.Data[c] != p.Data[c] {
					t.Fatalf("%dx%d: pixel %d,%d beside the area has changed", w, h, x, y)
				}
			}
		}
	}
}

// near tells whether a pixel has its values of U and V in common with one of the mask.
func near(mask []bool, w, h, x, y int) bool {
	for j := y / 2 * 2; j < min(h, y/2*2+2); j++ {
		for i := x / 2 * 2; i < min(w, x/2*2+2); i++ {
			if mask[j*w+i] {
				return true
			}
		}
	}
	return false
}
