package motion

import (
	"math"

	"github.com/framelog/framelog/processors/video"
)

// structure is a grey picture without its brightness: each pixel is less noisy (the mean
// of 3×3 pixels), and has the mean of its surroundings taken off. So light that grows or
// fades evenly changes it little.
type structure struct {
	w, h int
	v    []int16  // in 1/unit of a grey level
	sums []uint32 // integral image: sums[y*(w+1)+x] is the sum of all pixels above and left of (x, y)
}

// unit is one grey level.
const unit = 4

// set fills in the structure of a picture. surroundings is the half side of the square
// whose mean is taken off, as a part of the picture's width. Of something larger only the
// edges are left; what is within this distance of something else is changed by it. masked
// pixels are taken to be grey; nil: none are.
func (s *structure) set(p *video.Picture, surroundings float64, masked []bool) {
	w, h := p.Width, p.Height
	if s.w != w || s.h != h {
		*s = structure{w: w, h: h, v: make([]int16, w*h), sums: make([]uint32, (w+1)*(h+1))}
	}
	for y := range h {
		var row uint32
		above, here := s.sums[y*(w+1):], s.sums[(y+1)*(w+1):]
		for x, g := range p.Data[y*w : (y+1)*w] {
			if masked != nil && masked[y*w+x] {
				g = 128
			}
			row += uint32(g)
			here[x+1] = above[x+1] + row
		}
	}
	r := max(2, int(math.Round(float64(w)*surroundings)))
	for y := range h {
		for x := range w {
			s.v[y*w+x] = int16(math.Round(unit * (s.mean(x, y, 1) - s.mean(x, y, r))))
		}
	}
}

// mean returns the mean of the pixels that are at most r away from (x, y) in both
// directions.
func (s *structure) mean(x, y, r int) float64 {
	x0, y0, x1, y1 := max(0, x-r), max(0, y-r), min(s.w, x+r+1), min(s.h, y+r+1)
	stride := s.w + 1
	sum := s.sums[y1*stride+x1] - s.sums[y0*stride+x1] - s.sums[y1*stride+x0] + s.sums[y0*stride+x0]
	return float64(sum) / float64((x1-x0)*(y1-y0))
}
