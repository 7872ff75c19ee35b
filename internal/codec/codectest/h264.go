// Package codectest makes decoder configurations and access units for tests:
// their headers are well formed, but they hold no picture.
package codectest

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/Eyevinn/mp4ff/avc"

	"github.com/framelog/framelog/internal/codec"
)

// H264 describes an H.264 stream.
type H264 struct {
	Baseline      bool   // Baseline profile; else Main
	Width, Height int    // in steps of 16; default 320x240
	Units, Scale  uint32 // VUI timing (num_units_in_tick, time_scale); 0: none
	Reorder       int    // max_num_reorder_frames; -1: the SPS does not say
}

// Config is the stream's decoder configuration, the body of avcC.
func (h H264) Config() []byte {
	r, err := avc.CreateAVCDecConfRec([][]byte{h.SPS()}, [][]byte{{0x68, 0xce, 0x38, 0x80}}, true)
	if err != nil {
		panic(err)
	}
	return encode(r)
}

func encode(record interface{ Encode(w io.Writer) error }) []byte {
	var b bytes.Buffer
	if err := record.Encode(&b); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// SPS is the stream's sequence parameter set (ITU-T H.264 section 7.3.2.1.1).
func (h H264) SPS() []byte {
	if h.Width == 0 {
		h.Width, h.Height = 320, 240
	}
	var w bitWriter
	profile := uint64(77)
	if h.Baseline {
		profile = 66
	}
	w.u(8, 0x67)
	w.u(8, profile)
	w.u(8, 0)
	w.u(8, 31)
	w.ue(0) // seq_parameter_set_id
	w.ue(0) // log2_max_frame_num_minus4
	w.ue(0) // pic_order_cnt_type
	w.ue(2) // log2_max_pic_order_cnt_lsb_minus4
	w.ue(4) // max_num_ref_frames
	w.u(1, 0)
	w.ue(uint64(h.Width/16 - 1))
	w.ue(uint64(h.Height/16 - 1))
	w.u(1, 1) // frame_mbs_only_flag
	w.u(1, 1)
	w.u(1, 0) // frame_cropping_flag
	if h.Scale == 0 && h.Reorder < 0 {
		w.u(1, 0)
		return w.nal()
	}
	w.u(1, 1) // VUI
	w.u(4, 0)
	if h.Scale != 0 {
		w.u(1, 1)
		w.u(32, uint64(h.Units))
		w.u(32, uint64(h.Scale))
		w.u(1, 1)
	} else {
		w.u(1, 0)
	}
	w.u(3, 0)
	if h.Reorder >= 0 {
		w.u(1, 1)
		w.u(1, 1)
		for range 4 {
			w.ue(0)
		}
		w.ue(uint64(h.Reorder))
		w.ue(4)
	} else {
		w.u(1, 0)
	}
	return w.nal()
}

// Unit264 returns an access unit with one slice, of size bytes (at least 16).
// Different n make different units.
func Unit264(key bool, n uint64, size int) []byte {
	typ := byte(0x41)
	if key {
		typ = 0x65
	}
	return nal([]byte{typ}, n, size)
}

// Recovery264 returns an access unit with one slice, of type I or P, after a
// recovery point of this many frames.
func Recovery264(frames uint64, intra bool, n uint64, size int) []byte {
	var point bitWriter
	point.ue(frames) // recovery_frame_cnt
	point.u(4, 0)
	point.u(1, 1) // payload_bit_equal_to_one
	for point.n%8 != 0 {
		point.u(1, 0)
	}
	sei := append([]byte{0x06, 6, byte(len(point.b))}, point.b...)
	return append(codec.JoinNALs([][]byte{append(sei, 0x80)}), Slice264(intra, n, size)...)
}

// Slice264 returns an access unit with one slice, of type I or P, that is no
// IDR.
func Slice264(intra bool, n uint64, size int) []byte {
	b := Unit264(false, n, size)
	b[5] = 0x9a // first_mb_in_slice 0, slice_type 5: P
	if intra {
		b[5] = 0x88 // slice_type 7: I
	}
	return b
}

// Unit265 is Unit264 for H.265, with a nal_unit_type.
func Unit265(typ byte, n uint64, size int) []byte {
	return nal([]byte{typ << 1, 1}, n, size)
}

func nal(header []byte, n uint64, size int) []byte {
	b := make([]byte, max(size, 16))
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	copy(b[4:], header)
	binary.BigEndian.PutUint64(b[8:], n)
	return b
}

// bitWriter writes the syntax elements of ITU-T H.264 section 7.2.
type bitWriter struct {
	b []byte
	n int
}

func (w *bitWriter) u(bits int, v uint64) {
	for i := bits - 1; i >= 0; i-- {
		if w.n%8 == 0 {
			w.b = append(w.b, 0)
		}
		w.b[len(w.b)-1] |= byte(v>>i&1) << (7 - w.n%8)
		w.n++
	}
}

func (w *bitWriter) ue(v uint64) {
	n := 0
	for (v+1)>>(n+1) != 0 {
		n++
	}
	w.u(n, 0)
	w.u(n+1, v+1)
}

// nal ends the NAL unit and puts emulation prevention into it.
func (w *bitWriter) nal() []byte {
	w.u(1, 1)
	var out []byte
	zeros := 0
	for _, x := range w.b {
		if zeros >= 2 && x <= 3 {
			out, zeros = append(out, 3), 0
		}
		out = append(out, x)
		if x == 0 {
			zeros++
		} else {
			zeros = 0
		}
	}
	return out
}
