package native

import (
	"testing"
	"time"

	"github.com/Eyevinn/mp4ff/hevc"

	"github.com/framelog/framelog/internal/codec/codectest"
	"github.com/framelog/framelog/schemas"
)

// A unit that does not end is cut off while it is made: what it has comes as a damaged unit, its
// other packets count as lost, and the units before and behind it are whole.
func TestEndlessUnit(t *testing.T) {
	record, err := hevc.DecodeHEVCDecConfRec(codectest.H265Config())
	if err != nil {
		t.Fatal(err)
	}
	var key265 [][]byte
	for _, kind := range []hevc.NaluType{hevc.NALU_VPS, hevc.NALU_SPS, hevc.NALU_PPS} {
		key265 = append(key265, record.GetNalusForType(kind)...)
	}
	key264 := [][]byte{codectest.H264{}.SPS(), {0x68, 0xce, 0x38, 0x80}, {0x65, 0x88, 1}}
	key265 = append(key265, []byte{19 << 1, 1, 0x80, 1})
	long := make([]byte, 60_000)
	for name, c := range map[string]struct {
		encoding string
		key      [][]byte
		first    []byte // head of the first packet
		head     []byte // of the others
		body     []byte
		packets  int
		want     string // of the unit
		next     string // packets that are lost
	}{
		"NAL units":       {"H264", key264, []byte{0x41, 0x9a}, []byte{0x41, 0x9a}, long, 300, "1000:140/0! ", "160"},
		"small NAL units": {"H264", key264, []byte{0x41, 0x9a}, []byte{0x41, 0x9a}, nil, 3000, "1000:2049/0! ", "951"},
		"parameter sets":  {"H264", key264, []byte{0x68, 0xee}, []byte{0x68, 0xee}, long, 300, "1000:0/0! ", "160"},
		"fragments":       {"H264", key264, []byte{28, 0x81}, []byte{28, 1}, long, 300, "1000:0/0! ", "160"},
		"empty fragments": {"H264", key264, []byte{28, 0x81, 1}, []byte{28, 1}, nil, 600_000, "1000:0/0! ", "813"},
		"H.265":           {"H265", key265, []byte{49 << 1, 1, 0x81}, []byte{49 << 1, 1, 1}, long, 300, "1000:0/0! ", "160"},
	} {
		conn, tr := recorder(c.encoding, schemas.MediaTimescale, nil)
		n := 0
		send := func(at uint32, last bool, payload []byte) {
			p := numbered(n)
			n++
			p.Timestamp, p.Marker, p.Payload = at, last, payload
			conn.packet(tr, p, time.Now())
		}
		unit := func(at uint32) {
			for i, nal := range c.key {
				send(at, i == len(c.key)-1, nal)
			}
		}
		whole := string(rune('0' + len(c.key)))
		unit(0)
		payload := append(append([]byte(nil), c.head...), c.body...)
		send(1000, false, append(append([]byte(nil), c.first...), c.body...))
		for range c.packets - 1 {
			send(1000, false, payload)
		}
		if got, want := taken(conn), "0:"+whole+"/0 "+c.want; got != want {
			t.Errorf("%s: %s, want %s, before its end", name, got, want)
		}
		unit(2000)
		if got, want := taken(conn), "2000:"+whole+"/"+c.next+" "; got != want {
			t.Errorf("%s: %s, want %s, behind it", name, got, want)
		}
	}
}
