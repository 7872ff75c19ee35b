package camsim

import (
	"errors"
	"fmt"
	"image"
	"time"
)

// The strip is a message in the picture that survives compression: two rows of
// 40 square blocks at the picture's lower left corner, white for 1 and black
// for 0. A block's side is the picture's width divided by 40, rounded down, so
// an evenly scaled picture can be read too.
//
// The 80 bits are read from the upper row to the lower and from left to
// right, the most significant bit of each field first:
//
//	42 bits  capture time: milliseconds since the Unix epoch
//	22 bits  frame number from the camera's start, modulo 4,194,304
//	16 bits  CRC-16/CCITT-FALSE (polynomial 0x1021, start 0xFFFF, not
//	         reflected, no final XOR) over the 8 bytes before it
//
// To read block n (0 to 79): its side is s = floor(width/40), its left edge
// x = (n mod 40)·s, its upper edge y = height − 2s + floor(n/40)·s; the bit is
// 1 where the mean luma of the middle half of the block is above the middle
// between black and white. In a browser, after drawing the video at its own
// size on a canvas, the mean of R, G and B against 127 does it.
const (
	StripColumns = 40
	StripRows    = 2
)

// Strip is the message of one picture.
type Strip struct {
	Time  time.Time // to the millisecond
	Frame uint32    // 22 bits
}

// ErrNoStrip is returned for a picture without a readable strip.
var ErrNoStrip = errors.New("camsim: no strip in the picture")

// StripBlock returns the position of block n in a picture of the given size.
func StripBlock(width, height, n int) image.Rectangle {
	s := width / StripColumns
	x, y := n%StripColumns*s, height-StripRows*s+n/StripColumns*s
	return image.Rect(x, y, x+s, y+s)
}

// bytes returns the strip's bits as ten bytes.
func (s Strip) bytes() [10]byte {
	v := uint64(s.Time.UnixMilli())<<22 | uint64(s.Frame&(1<<22-1))
	var b [10]byte
	for i := range 8 {
		b[i] = byte(v >> (56 - 8*i))
	}
	c := crc16(b[:8])
	b[8], b[9] = byte(c>>8), byte(c)
	return b
}

func crc16(b []byte) uint16 {
	c := uint16(0xffff)
	for _, v := range b {
		c ^= uint16(v) << 8
		for range 8 {
			if c&0x8000 != 0 {
				c = c<<1 ^ 0x1021
			} else {
				c <<= 1
			}
		}
	}
	return c
}

// Draw writes the strip into a luma plane (16 is black, 235 white).
func (s Strip) Draw(luma []byte, stride, width, height int) {
	b := s.bytes()
	for n := range StripRows * StripColumns {
		v := byte(16)
		if b[n/8]>>(7-n%8)&1 == 1 {
			v = 235
		}
		r := StripBlock(width, height, n)
		for y := r.Min.Y; y < r.Max.Y; y++ {
			row := luma[y*stride+r.Min.X : y*stride+r.Max.X]
			for x := range row {
				row[x] = v
			}
		}
	}
}

// ReadStrip reads the strip of a luma plane. It returns [ErrNoStrip] if the
// checksum is wrong.
func ReadStrip(luma []byte, stride, width, height int) (Strip, error) {
	const most = 1 << 15 // pixels in each direction
	if width > most || height > most || stride > 2*most {
		return Strip{}, fmt.Errorf("%w: %dx%d is too large", ErrNoStrip, width, height)
	}
	if width < 4*StripColumns || height < StripRows*(width/StripColumns) || stride < width || len(luma) < stride*(height-1)+width {
		return Strip{}, fmt.Errorf("%w: %dx%d is too small", ErrNoStrip, width, height)
	}
	var b [10]byte
	for n := range StripRows * StripColumns {
		r := StripBlock(width, height, n)
		r = r.Inset(r.Dx() / 4)
		sum, count := 0, 0
		for y := r.Min.Y; y < r.Max.Y; y++ {
			for _, v := range luma[y*stride+r.Min.X : y*stride+r.Max.X] {
				sum += int(v)
				count++
			}
		}
		if sum > 125*count {
			b[n/8] |= 1 << (7 - n%8)
		}
	}
	if crc16(b[:8]) != uint16(b[8])<<8|uint16(b[9]) {
		return Strip{}, ErrNoStrip
	}
	var v uint64
	for _, c := range b[:8] {
		v = v<<8 | uint64(c)
	}
	return Strip{Time: time.UnixMilli(int64(v >> 22)), Frame: uint32(v & (1<<22 - 1))}, nil
}

// ReadStripImage is [ReadStrip] for any picture.
func ReadStripImage(m image.Image) (Strip, error) {
	b := m.Bounds()
	if y, ok := m.(*image.YCbCr); ok {
		return ReadStrip(y.Y[y.YOffset(b.Min.X, b.Min.Y):], y.YStride, b.Dx(), b.Dy())
	}
	luma := make([]byte, b.Dx()*b.Dy())
	for y := range b.Dy() {
		for x := range b.Dx() {
			r, g, bl, _ := m.At(b.Min.X+x, b.Min.Y+y).RGBA()
			luma[y*b.Dx()+x] = byte((r*299 + g*587 + bl*114) / 1000 >> 8)
		}
	}
	return ReadStrip(luma, b.Dx(), b.Dx(), b.Dy())
}
