package redact

import (
	"github.com/framelog/framelog/processors/motion"
	"github.com/framelog/framelog/processors/video"
)

// blocks is how many blocks of the mosaic lie above one another in a picture. They are
// coarse, so that a face or a number plate has few of them: what it looks like cannot be
// computed from these.
const blocks = 10

// step is the distance between two values of a block. It takes away what little the change
// of a block over several pictures would tell.
const step = 16

// veil hides parts of pictures of one size.
type veil struct {
	w, h   int
	planes []plane
	fill   bool
}

// plane is one of Y, U and V.
type plane struct {
	from, w, h int
	hidden     []bool
	black      byte
}

// newVeil makes a veil for pictures in I420.
func newVeil(w, h int, areas []motion.Area, fill bool) *veil {
	luma := make([]bool, w*h)
	for i := range areas {
		areas[i].Paint(luma, w, h)
	}
	// A value of U or V belongs to up to four pixels. It is hidden if one of them is, and
	// so are all four.
	cw, ch := (w+1)/2, (h+1)/2
	chroma := make([]bool, cw*ch)
	for i, hidden := range luma {
		if hidden {
			chroma[i/w/2*cw+i%w/2] = true
		}
	}
	for i := range luma {
		luma[i] = chroma[i/w/2*cw+i%w/2]
	}
	const black, colourless = 16, 128
	return &veil{w: w, h: h, fill: fill, planes: []plane{
		{0, w, h, luma, black}, {w * h, cw, ch, chroma, colourless}, {w*h + cw*ch, cw, ch, chroma, colourless},
	}}
}

// hide changes a picture.
func (v *veil) hide(p *video.Picture) {
	for _, l := range v.planes {
		data := p.Data[l.from : l.from+l.w*l.h]
		if v.fill {
			for i, hidden := range l.hidden {
				if hidden {
					data[i] = l.black
				}
			}
			continue
		}
		l.eachBlock(func(x0, y0, x1, y1 int) { l.block(data, x0, y0, x1, y1) })
	}
}

// eachBlock yields the blocks, which are about square. x1 and y1 are behind them.
func (l *plane) eachBlock(yield func(x0, y0, x1, y1 int)) {
	rows := min(blocks, l.h)
	cols := max(1, min(l.w, (l.w*rows+l.h/2)/l.h))
	for r := range rows {
		for c := range cols {
			yield(c*l.w/cols, r*l.h/rows, (c+1)*l.w/cols, (r+1)*l.h/rows)
		}
	}
}

// block gives what is hidden of a block its mean, roughly. That is the mean of all its
// pixels, hidden or not: so a block is not smaller at the edge of an area.
func (l *plane) block(data []byte, x0, y0, x1, y1 int) {
	sum, hidden := 0, false
	for y := y0; y < y1; y++ {
		for i := y*l.w + x0; i < y*l.w+x1; i++ {
			sum += int(data[i])
			hidden = hidden || l.hidden[i]
		}
	}
	if !hidden {
		return
	}
	mean := byte(sum/((x1-x0)*(y1-y0))/step*step + step/2)
	for y := y0; y < y1; y++ {
		for i := y*l.w + x0; i < y*l.w+x1; i++ {
			if l.hidden[i] {
				data[i] = mean
			}
		}
	}
}
