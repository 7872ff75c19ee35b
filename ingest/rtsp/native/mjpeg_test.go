package native

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
)

// jpegPacket is a packet of an image of 16 x 16 pixels. Its tables are those of q 50.
func jpegPacket(offset byte, data ...byte) []byte {
	return append([]byte{0, 0, 0, offset, 1, 50, 2, 2}, data...)
}

// An image that is not whole is told once, as damaged, and its neighbours are whole. Before the
// first whole image nothing is told.
func TestDamagedImages(t *testing.T) {
	large := make([]byte, 60_000)
	type sent struct {
		at      uint32
		last    bool
		payload []byte
	}
	whole := func(at uint32) []sent {
		return []sent{{at, false, jpegPacket(0, 1, 2)}, {at, true, jpegPacket(2, 3, 4)}}
	}
	endless := []sent{{1000, false, jpegPacket(0)}}
	for range 300 {
		endless = append(endless, sent{1000, false, jpegPacket(0, large...)})
	}
	for name, c := range map[string]struct {
		middle []sent
		want   string
	}{
		"none":         {whole(1000), "1000:1/0 "},
		"no begin":     {[]sent{{1000, false, jpegPacket(2, 3)}, {1000, true, jpegPacket(3, 4)}}, "1000:0/0! "},
		"no middle":    {[]sent{{1000, false, jpegPacket(0, 1, 2)}, {1000, true, jpegPacket(4, 5)}}, "1000:0/0! "},
		"no end":       {[]sent{{1000, false, jpegPacket(0, 1, 2)}}, "1000:0/0! "},
		"no header":    {[]sent{{1000, true, []byte{0, 0}}}, "1000:0/0! "},
		"no such type": {[]sent{{1000, true, []byte{0, 0, 0, 0, 200, 50, 2, 2, 1, 2}}}, "1000:0/0! "},
		"wide tables":  {[]sent{{1000, true, []byte{0, 0, 0, 0, 1, 200, 2, 2, 0, 3, 1, 0, 1, 2}}}, "1000:0/0! "},
		"without end":  {endless, "1000:0/0! "},
	} {
		run := func(packets ...sent) string {
			conn, tr := recorder("JPEG", schemas.MediaTimescale, nil)
			for n, s := range packets {
				p := numbered(n)
				p.Timestamp, p.Marker, p.Payload = s.at, s.last, s.payload
				conn.packet(tr, p, time.Now())
			}
			return taken(conn)
		}
		if got := run(c.middle...); name != "none" && got != "" {
			t.Errorf("%s: %s before the first image", name, got)
		}
		lost := "0"
		if name == "without end" {
			lost = "160" // of its 301 packets 141 are within the limit
		}
		got := run(slices.Concat(whole(500), c.middle, whole(2000))...)
		if want := "500:1/0 " + c.want + "2000:1/" + lost + " "; got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// Images with restart markers, without quantization tables of their own, and with a reserved Q are
// made: they are those of the plain form, with a restart interval in the first case.
func TestKindsOfMJPEG(t *testing.T) {
	tables := bytes.Repeat([]byte{7}, 128)
	images := func(payloads ...[]byte) (out [][]byte) {
		conn, tr := recorder("JPEG", schemas.MediaTimescale, nil)
		for n, payload := range payloads {
			p := numbered(n)
			p.Timestamp, p.Marker, p.Payload = uint32(n), true, payload
			conn.packet(tr, p, time.Now())
		}
		for _, it := range conn.Take() {
			if it.Format == nil {
				out = append(out, it.Unit.Data)
			}
		}
		return out
	}
	with := func(kind, q byte, headers ...[]byte) []byte {
		return append(slices.Concat(append([][]byte{{0, 0, 0, 0, kind, q, 2, 2}}, headers...)...), 1, 2)
	}
	plain := images(with(1, 99))[0]
	for name, payload := range map[string][]byte{"0": with(1, 0), "100": with(1, 100), "127": with(1, 127)} {
		want := plain
		if name == "0" {
			want = images(with(1, 1))[0]
		}
		if got := images(payload); len(got) != 1 || !bytes.Equal(got[0], want) {
			t.Errorf("Q %s: %x, want %x", name, got, want)
		}
	}
	want := slices.Concat(plain[:2], []byte{0xff, 0xdd, 0, 4, 0x12, 0x34}, plain[2:])
	if got := images(with(65, 99, []byte{0x12, 0x34, 0xff, 0xff})); len(got) != 1 || !bytes.Equal(got[0], want) {
		t.Errorf("restart markers: %x, want %x", got, want)
	}
	own, none := append([]byte{0, 0, 0, 128}, tables...), []byte{0, 0, 0, 0}
	got := images(with(1, 200, none), with(1, 200, own), with(1, 201, none), with(1, 200, none), with(1, 255, none))
	if len(got) != 4 || !bytes.Contains(got[0], tables[:64]) || len(got[1]) > 0 || !bytes.Equal(got[2], got[0]) || len(got[3]) > 0 {
		t.Errorf("without tables: %x", got)
	}
}
