package camsim

import (
	"encoding/hex"
	"errors"
	"image"
	"testing"
	"time"
)

// The bits of one strip, for whoever writes a reader in another language.
func TestStripGolden(t *testing.T) {
	s := Strip{Time: time.UnixMilli(1_790_000_000_123), Frame: 123456}
	b := s.bytes()
	if got, want := hex.EncodeToString(b[:]), "6831141b1ec1e240211e"; got != want {
		t.Errorf("strip is %s, want %s", got, want)
	}
	if c := crc16([]byte("123456789")); c != 0x29b1 { // the check value of CRC-16/CCITT-FALSE
		t.Errorf("CRC is %04x", c)
	}
}

func TestStripRead(t *testing.T) {
	for _, size := range []image.Point{{160, 90}, {320, 180}, {640, 360}, {650, 364}, {1920, 1080}} {
		w, h := size.X, size.Y
		m := image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420)
		for i := range m.Y {
			m.Y[i] = byte(i)
		}
		want := Strip{Time: time.UnixMilli(time.Now().UnixMilli()), Frame: 1<<22 - 2}
		want.Draw(m.Y, m.YStride, w, h)
		got, err := ReadStripImage(m)
		if err != nil || !got.Time.Equal(want.Time) || got.Frame != want.Frame {
			t.Errorf("%v: read %v, %v, want %v", size, got, err, want)
		}
		rgba := image.NewRGBA(m.Rect)
		for y := range h {
			for x := range w {
				rgba.Set(x, y, m.At(x, y))
			}
		}
		if got, err := ReadStripImage(rgba); err != nil || got.Frame != want.Frame {
			t.Errorf("%v as RGBA: read %v, %v", size, got, err)
		}
		r := StripBlock(w, h, 17)
		for y := r.Min.Y; y < r.Max.Y; y++ {
			for x := r.Min.X; x < r.Max.X; x++ {
				m.Y[m.YOffset(x, y)] = 251 - m.Y[m.YOffset(x, y)]
			}
		}
		if got, err := ReadStripImage(m); !errors.Is(err, ErrNoStrip) {
			t.Errorf("%v: a wrong block was read as %v, %v", size, got, err)
		}
	}
	for _, v := range []byte{0, 16, 128, 255} {
		m := image.NewGray(image.Rect(0, 0, 320, 180))
		for i := range m.Pix {
			m.Pix[i] = v
		}
		if got, err := ReadStripImage(m); !errors.Is(err, ErrNoStrip) {
			t.Errorf("an empty picture was read as %v, %v", got, err)
		}
	}
}

func FuzzReadStrip(f *testing.F) {
	f.Add(make([]byte, 160*90), 160, 160, 90)
	f.Add([]byte{1, 2, 3}, 1, 200, 1)
	f.Fuzz(func(_ *testing.T, luma []byte, stride, width, height int) {
		_, _ = ReadStrip(luma, stride, width, height)
	})
}

func FuzzNALUnits(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0x65})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = NALUnits(b) })
}
