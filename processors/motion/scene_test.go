package motion

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/framelog/framelog/processors/video"
	"github.com/framelog/framelog/schemas"
)

// scene draws the pictures of a clip: a wall with a pattern, light, things that move, and
// noise. Places and sizes are parts of the picture's width and height.
type scene struct {
	seed   uint64
	noise  float64                       // standard deviation of a pixel at twice the size
	light  func(t float64) float64       // factor; nil: 1
	shine  func(x, y, t float64) float64 // factor at a place; nil: 1
	sharp  func(t float64) float64       // 1: as it is, 0: without detail, as a coarse encoder makes it; nil: 1
	things []thing
	texts  []text
}

// thing is a rectangle.
type thing struct {
	w, h float64
	grey float64
	dots float64                        // contrast of its pattern
	thin float64                        // how much of the wall is seen through it
	at   func(t float64) (x, y float64) // its middle
	grow func(t float64) float64        // factor of its size; nil: 1
}

// text is a line of digits, which are as they are at a time.
type text struct {
	x, y, h float64
	value   func(t float64) string
}

const (
	sceneW, sceneH = 2 * Width, 2 * Width * 9 / 16
	sceneFPS       = 5
)

// picture draws the picture at second t. The same t always gives the same picture. The race
// detector would only make drawing slow.
//
//go:norace
func (s *scene) picture(t float64) *video.Picture {
	w, h := sceneW, sceneH
	sharp := 1.0
	if s.sharp != nil {
		sharp = s.sharp(t)
	}
	img, detail := background(s.seed)
	for i := range img {
		img[i] += sharp * detail[i]
	}
	for i, o := range s.things {
		now := o.now(t)
		x, y := o.at(t)
		now.draw(img, w, h, x, y, s.seed+uint64(10+i))
	}
	noise, first := normal(), rand.New(rand.NewPCG(s.seed, math.Float64bits(t))).IntN(1<<20)
	light := 1.0
	if s.light != nil {
		light = s.light(t)
	}
	for i := range img {
		img[i] *= light
		if s.shine != nil {
			img[i] *= s.shine(float64(i%w)/float64(w), float64(i/w)/float64(h), t)
		}
	}
	for _, x := range s.texts {
		x.draw(img, w, h, t)
	}
	p := &video.Picture{PTS: ticks(t), Width: w / 2, Height: h / 2, Format: video.Gray8, Data: make([]byte, w*h/4)}
	for y := range h / 2 {
		for x := range w / 2 {
			sum := 0.0
			for _, j := range []int{2 * y * w, (2*y + 1) * w} {
				for _, i := range []int{2 * x, 2*x + 1} {
					sum += max(0, min(255, img[j+i]+s.noise*noise[(j+i+first)%len(noise)]))
				}
			}
			p.Data[y*w/2+x] = byte(math.Round(sum / 4))
		}
	}
	return p
}

// normal is noise with a standard deviation of 1.
var normal = sync.OnceValue(func() []float64 {
	rng, all := rand.New(rand.NewPCG(1, 2)), make([]float64, 1<<18+1)
	for i := range all {
		all[i] = rng.NormFloat64()
	}
	return all
})

var backgrounds sync.Map

// background returns a copy of the wall, and its detail.
func background(seed uint64) (img, detail []float64) {
	draw := sync.OnceValues(func() (img, detail []float64) {
		img, detail = make([]float64, sceneW*sceneH), make([]float64, sceneW*sceneH)
		for i := range img {
			x, y := float64(i%sceneW)/sceneW, float64(i/sceneW)/sceneH
			img[i] = 110 + 50*value(seed, x*4, y*3)
			if math.Mod(x+0.2*y, 0.25) < 0.008 { // edges
				img[i] -= 50
			}
			detail[i] = 25*value(seed+1, x*40, y*24) + 12*value(seed+2, x*160, y*90)
		}
		return img, detail
	})
	once, _ := backgrounds.LoadOrStore(seed, draw)
	img, detail = once.(func() ([]float64, []float64))()
	return slices.Clone(img), detail
}

// now returns the thing as it is at a time.
func (o thing) now(t float64) thing {
	if o.grow != nil {
		f := o.grow(t)
		o.w, o.h = o.w*f, o.h*f
	}
	return o
}

//go:norace
func (o *thing) draw(img []float64, w, h int, cx, cy float64, seed uint64) {
	x0, y0 := cx-o.w/2, cy-o.h/2
	for y := max(0, int(y0*float64(h))); y < min(h, int((y0+o.h)*float64(h))+1); y++ {
		for x := max(0, int(x0*float64(w))); x < min(w, int((x0+o.w)*float64(w))+1); x++ {
			// How much of the pixel it covers.
			part := cover(float64(x), x0*float64(w), (x0+o.w)*float64(w)) * cover(float64(y), y0*float64(h), (y0+o.h)*float64(h))
			fx, fy := (float64(x)/float64(w)-x0)/o.w, (float64(y)/float64(h)-y0)/o.h
			v := o.grey + o.dots*value(seed, fx*5, fy*5)
			img[y*w+x] += part * (1 - o.thin) * (v - img[y*w+x])
		}
	}
}

func cover(pixel, from, to float64) float64 {
	return max(0, min(pixel+1, to)-max(pixel, from))
}

// value is smooth noise, -1 to 1.
//
//go:norace
func value(seed uint64, x, y float64) float64 {
	x0, y0 := math.Floor(x), math.Floor(y)
	at := func(i, j float64) float64 {
		z := seed*0x9e3779b97f4a7c15 ^ uint64(int64(i))*0xbf58476d1ce4e5b9 ^ uint64(int64(j))*0x94d049bb133111eb
		z ^= z >> 30
		z *= 0xbf58476d1ce4e5b9
		z ^= z >> 27
		z *= 0x94d049bb133111eb
		return float64(z>>11)/(1<<52) - 1
	}
	fx, fy := x-x0, y-y0
	fx, fy = fx*fx*(3-2*fx), fy*fy*(3-2*fy)
	return (at(x0, y0)*(1-fx)+at(x0+1, y0)*fx)*(1-fy) + (at(x0, y0+1)*(1-fx)+at(x0+1, y0+1)*fx)*fy
}

// segments of the digits 0 to 9: top, upper right, lower right, bottom, lower left, upper
// left, middle.
var segments = [10]byte{0b0111111, 0b0000110, 0b1011011, 0b1001111, 0b1100110, 0b1101101, 0b1111101, 0b0000111, 0b1111111, 0b1101111}

func (x *text) draw(img []float64, w, h int, t float64) {
	dh := int(x.h * float64(h))
	dw := dh * 3 / 5
	pen := max(1, dh/7)
	left, top := int(x.x*float64(w)), int(x.y*float64(h))
	fill := func(x0, y0, x1, y1 int) {
		for y := max(0, y0); y < min(h, y1); y++ {
			for x := max(0, x0); x < min(w, x1); x++ {
				img[y*w+x] = 240
			}
		}
	}
	for _, r := range x.value(t) {
		if r < '0' || r > '9' {
			left += dw / 2
			continue
		}
		m := top + dh/2
		for i, s := range [][4]int{
			{0, 0, dw, pen},
			{dw - pen, 0, dw, dh / 2},
			{dw - pen, dh / 2, dw, dh},
			{0, dh - pen, dw, dh},
			{0, dh / 2, pen, dh},
			{0, 0, pen, dh / 2},
			{0, m - top - pen/2, dw, m - top - pen/2 + pen},
		} {
			if segments[r-'0']>>i&1 == 1 {
				fill(left+s[0], top+s[1], left+s[2], top+s[3])
			}
		}
		left += dw + max(2, dh/5)
	}
}

// film draws the pictures of some seconds.
func (s *scene) film(from, seconds float64) []*video.Picture {
	var all []*video.Picture
	for i := range int(math.Round(seconds * sceneFPS)) {
		all = append(all, s.picture(from+float64(i)/sceneFPS))
	}
	return all
}

// ticks converts seconds.
func ticks(t float64) int64 { return int64(math.Round(t * schemas.MediaTimescale)) }

// found cuts a film into fragments, and returns what moves in each.
func found(t testing.TB, c Camera, film []*video.Picture, seconds float64) (all []Found) {
	t.Helper()
	for f := range slices.Chunk(film, int(math.Round(seconds*sceneFPS))) {
		d := NewDetector(c)
		for _, p := range f {
			if err := d.Add(p); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, d.Found(f[0].PTS, f[len(f)-1].PTS+ticks(1./sceneFPS)))
	}
	return all
}
