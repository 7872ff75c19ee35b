package native

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpmjpeg"

	"github.com/framelog/framelog/internal/rtspconn"
	"github.com/framelog/framelog/schemas"
)

// mjpeg makes images of packets (RFC 2435). An image that cannot be made is a damaged frame
// without data.
type mjpeg struct {
	decoder       rtpmjpeg.Decoder
	width, height int              // of the format that was told; 0: none was
	tables        map[uint8][]byte // quantization tables with their header, by Q (3.1.8)

	open    bool   // packets of an image have come, and not its last
	ext     int64  // time of the image
	held    int    // bytes of its packets, at most maxUnit
	lost    bool   // it cannot be made, and its other packets are skipped
	restart []byte // its restart interval; nil: it has no restart markers
	skipped uint32 // packets of images that are too large, since the last frame
}

func (m *mjpeg) push(p *packet, ext int64, _ uint16, emit emit) {
	if m.open && ext != m.ext && !m.lost {
		m.lose(emit) // its last packet is missing
	}
	if !m.open || ext != m.ext {
		m.open, m.ext, m.held, m.lost = true, ext, 0, false
	}
	m.open = !p.Marker
	if m.lost {
		if m.held > maxUnit {
			m.skipped++
		}
		return
	}
	m.held += p.MarshalSize()
	data, err := m.decoder.Decode(m.plain(p))
	switch {
	case m.held > maxUnit:
		m.lose(emit)
	case err == nil:
		m.image(p, data, emit)
	case !errors.Is(err, rtpmjpeg.ErrMorePacketsNeeded):
		m.lose(emit)
	}
}

// plain returns the packet in the only form that the library reads: without restart markers,
// with quantization tables in each image, and with a Q that is not reserved.
func (m *mjpeg) plain(p *packet) *packet {
	const kind, quality, header = 4, 5, 8 // where they are (3.1)
	b := p.Payload
	if len(b) < header {
		return p
	}
	first := b[1] == 0 && b[2] == 0 && b[3] == 0
	if first {
		m.restart = nil
	}
	if b[kind] >= 64 && b[kind] < 128 && len(b) >= header+4 { // 3.1.7
		if first {
			m.restart = b[header:][:2]
		}
		b = slices.Concat(b[:header], b[header+4:])
		b[kind] -= 64
	}
	switch q := b[quality]; {
	case q == 0 || q > 99 && q < 128: // reserved; GStreamer takes the nearest that is not
		b = bytes.Clone(b)
		b[quality] = min(max(q, 1), 99)
	case first && q >= 128 && len(b) >= header+4:
		n := 4 + int(binary.BigEndian.Uint16(b[header+2:]))
		if tables := m.tables[q]; n == 4 && q < 255 && tables != nil {
			b = slices.Concat(b[:header], tables, b[header+4:]) // they are those of an image before
		} else if n > 4 && header+n <= len(b) {
			if m.tables == nil {
				m.tables = map[uint8][]byte{}
			}
			m.tables[q] = append(m.tables[q][:0], b[header:][:n]...)
		}
	}
	out := *p
	out.Payload = b
	return &out
}

// image gives an image. p is one of its packets: all have its size, in units of 8 pixels.
func (m *mjpeg) image(p *packet, data []byte, emit emit) {
	width, height := int(p.Payload[6])*8, int(p.Payload[7])*8
	if width != m.width || height != m.height {
		m.width, m.height = width, height
		emit(&rtspconn.Format{Codec: schemas.MJPEG, Width: width, Height: height}, nil)
	}
	if m.restart != nil { // ISO/IEC 10918-1, B.2.4.4: DRI may stand before any other table
		data = slices.Concat(data[:2], []byte{0xff, 0xdd, 0, 4}, m.restart, data[2:])
	}
	emit(nil, &frame{ext: m.ext, data: data, skipped: m.skipped})
	m.skipped = 0
}

// lose gives the image up. Before the first image that can be made nothing is told, so that the
// caller sees that the camera gives no picture.
func (m *mjpeg) lose(emit emit) {
	m.lost, m.decoder = true, rtpmjpeg.Decoder{}
	if m.width > 0 {
		emit(nil, &frame{ext: m.ext, damaged: true, skipped: m.skipped})
		m.skipped = 0
	}
}
