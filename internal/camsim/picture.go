package camsim

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Look is the appearance of a live picture, by which people distinguish it from
// others.
type Look struct {
	Label string // shown in capitals: A to Z, digits, space, '-', '.', ':'
	// Top and Bottom are the colours of the background's two ends, Ball is that of
	// the moving ball: Y, Cb, Cr as in BT.601 (16 to 235, 16 to 240).
	Top, Bottom, Ball [3]byte
}

// painter draws the pictures of one live camera into I420 frames.
type painter struct {
	width, height int
	look          Look
	background    []byte
}

func newPainter(width, height int, look Look) *painter {
	look.Label = strings.ToUpper(look.Label)
	p := &painter{width: width, height: height, look: look, background: make([]byte, width*height*3/2)}
	y, u, v := p.planes(p.background)
	mix := func(plane, row, rows int) byte {
		a, b := int(look.Top[plane]), int(look.Bottom[plane])
		return byte(a + (b-a)*row/rows)
	}
	for row := range height {
		for x := range width {
			y[row*width+x] = mix(0, row, height)
		}
	}
	for row := range height / 2 {
		for x := range width / 2 {
			at := row*(width/2) + x
			u[at], v[at] = mix(1, row, height/2), mix(2, row, height/2)
			if 2*row >= height-StripRows*(width/StripColumns)-1 { // the strip has no colour
				u[at], v[at] = 128, 128
			}
		}
	}
	s := p.dot()
	drawText(y, width, 4*s, 4*s, 2*s, 220, p.fit(look.Label, 2*s))
	return p
}

// dot is the unit of all measures: 1 pixel at a width of 320.
func (p *painter) dot() int { return max(1, p.width/320) }

// fit cuts text to the width that has room.
func (p *painter) fit(text string, scale int) string {
	n := (p.width/2 + scale) / ((glyphWidth + 1) * scale)
	if r := []rune(text); len(r) > n {
		return string(r[:n])
	}
	return text
}

func (p *painter) planes(f []byte) (y, u, v []byte) {
	n := p.width * p.height
	return f[:n], f[n : n+n/4], f[n+n/4:]
}

// paint draws frame number n, taken at t, into f. lit shows the square that
// flashes with the beep.
func (p *painter) paint(f []byte, n uint32, t time.Time, lit bool) {
	copy(f, p.background)
	y, u, v := p.planes(f)
	w, h, s := p.width, p.height, p.dot()

	// A ball on a Lissajous curve, which passes anywhere in 20 s.
	phase := float64(n) / 25
	r := 14 * s
	floor := h - StripRows*(w/StripColumns) // the strip begins here
	cx := r + int(float64(w-2*r)*(0.5+0.5*math.Sin(phase*0.9)))
	cy := r + int(float64(floor-2*r)*(0.5+0.5*math.Sin(phase*1.3+1)))
	for dy := -r; dy < r; dy++ {
		half := int(math.Sqrt(float64(r*r - dy*dy)))
		row := (cy + dy) * w
		for x := max(0, cx-half); x < min(w, cx+half); x++ {
			y[row+x] = p.look.Ball[0]
		}
		if (cy+dy)%2 == 0 {
			row = (cy + dy) / 2 * (w / 2)
			for x := max(0, cx-half) / 2; x < min(w, cx+half)/2; x++ {
				u[row+x], v[row+x] = p.look.Ball[1], p.look.Ball[2]
			}
		}
	}

	clock := t.Format("15:04:05.000")
	scale := 3 * s
	x0, y0 := (w-textWidth(clock, scale))/2, h/2-glyphHeight*scale/2
	drawText(y, w, x0+s, y0+s, scale, 16, clock) // a shadow, so that it reads before the ball too
	drawText(y, w, x0, y0, scale, 235, clock)
	number := fmt.Sprintf("%07d", n)
	drawText(y, w, (w-textWidth(number, 2*s))/2, y0+(glyphHeight+4)*scale, 2*s, 220, number)

	if lit {
		for row := 4 * s; row < 24*s; row++ {
			for x := w - 24*s; x < w-4*s; x++ {
				y[row*w+x] = 235
			}
		}
	}
	Strip{Time: t, Frame: n}.Draw(y, w, w, h)
}
