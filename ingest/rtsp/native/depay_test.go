package native

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph265"
	"github.com/pion/rtp"

	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/internal/codec/codectest"
	"github.com/framelog/framelog/internal/rtspconn"
	"github.com/framelog/framelog/schemas"
)

// recorder is a connection that plays, with a track of this encoding.
func recorder(encoding string, clock uint32, parameters map[string]string) (*Conn, *track) {
	c := Conn{opt: rtspconn.Options{}.WithDefaults(), queue: rtspconn.NewQueue(4096, 1<<30), done: make(chan struct{}), playing: true}
	id := schemas.VideoTrack
	if clock != schemas.MediaTimescale {
		id = schemas.AudioTrack
	}
	t := newTrack(&stream{Track: rtspconn.Track{ID: id, Encoding: encoding, ClockRate: clock}, parameters: parameters}, c.opt)
	c.tracks = map[uint8]*track{id: t}
	return &c, t
}

// taken describes the units that have come: time, NAL units or bytes, what is lost, and !
// for a damaged one.
func taken(c *Conn) (s string) {
	for _, it := range c.Take() {
		if it.Format != nil {
			continue
		}
		nals, err := codec.SplitNALs(it.Unit.Data)
		if err != nil {
			nals = [][]byte{it.Unit.Data}
		}
		s += fmt.Sprintf("%d:%d/%d", it.Unit.PTS, len(nals), it.Unit.Lost)
		if it.Unit.Damaged {
			s += "!"
		}
		s += " "
	}
	return s
}

// units264 are the packets of units of H.264: a key unit of one packet with its parameter
// sets, then units of four packets each, at 1000, 2000, ….
func units264(t testing.TB, n int) (units [][]*packet) {
	t.Helper()
	enc := &rtph264.Encoder{PayloadType: 96, PayloadMaxSize: 300, PacketizationMode: 1}
	if err := enc.Init(); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		nals := [][]byte{codectest.Unit264(false, 0x1111111111111111+uint64(i), 1100)[4:]}
		if i == 0 {
			nals = [][]byte{codectest.H264{}.SPS(), {0x68, 0xce, 0x38, 0x80}, codectest.Unit264(true, 0x1111111111111111, 200)[4:]}
		}
		nals[len(nals)-1][1] = 0x88 // first_mb_in_slice is 0
		packets, err := enc.Encode(nals)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range packets {
			p.Timestamp = uint32(i * 1000)
		}
		units = append(units, packets)
	}
	return units
}

// What is missing is counted at the next unit, and marks the unit that lacks it, and no
// other; parameter sets stand before the key unit's slice.
func TestMissingPackets(t *testing.T) {
	for name, c := range map[string]struct {
		lost   map[int][]int // unit: its packets, from 0
		marker bool          // no packet has a marker
		want   string
	}{
		"none":             {nil, false, "0:3/0 1000:1/0 2000:1/0 3000:1/0 "},
		"no markers":       {nil, true, "0:3/0 1000:1/0 2000:1/0 "}, // the last unit waits for the next
		"the middle":       {map[int][]int{1: {1}}, false, "0:3/0 2000:1/1 3000:1/0 "},
		"the end":          {map[int][]int{1: {3}}, false, "0:3/0 2000:1/1 3000:1/0 "},
		"all":              {map[int][]int{1: {0, 1, 2, 3}}, false, "0:3/0 2000:1/4 3000:1/0 "},
		"end and begin":    {map[int][]int{1: {3}, 2: {0}}, false, "0:3/0 3000:1/2 "},
		"sets stay known":  {map[int][]int{2: {2}}, false, "0:3/0 1000:1/0 3000:1/1 "},
		"without key unit": {map[int][]int{0: {0}}, false, ""},
	} {
		conn, tr := recorder("H264", schemas.MediaTimescale, nil)
		conn.packet(tr, &packet{Header: rtp.Header{SequenceNumber: 65535, SSRC: 7, Marker: true}}, time.Now())
		seq := uint16(0)
		for i, unit := range units264(t, 4) {
			for j, p := range unit {
				p.SequenceNumber, p.SSRC = seq, 7
				seq++
				p.Marker = p.Marker && !c.marker
				lost := false
				for _, n := range c.lost[i] {
					lost = lost || n == j
				}
				if !lost {
					conn.packet(tr, p, time.Now())
				}
			}
		}
		if got := taken(conn); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// A unit of which a slice is there is kept, and marked.
func TestDamagedUnit(t *testing.T) {
	enc := &rtph265.Encoder{PayloadType: 96, PayloadMaxSize: 300}
	if err := enc.Init(); err != nil {
		t.Fatal(err)
	}
	slice := codectest.Unit265(1, 0x1111111111111111, 1100)[4:]
	slice[2] |= 0x80 // first_slice_segment_in_pic_flag
	packets, err := enc.Encode([][]byte{slice, codectest.Unit265(1, 0x1111111111111112, 200)[4:]})
	if err != nil {
		t.Fatal(err)
	}
	for _, lost := range []int{1, len(packets) - 1} {
		v := newVideo(schemas.H265, nil)
		for i, p := range packets {
			missing := uint16(0)
			if i == lost+1 {
				missing = 1
			}
			if i != lost {
				v.push(p, 0, missing, nil)
			}
			if i == len(packets)-2 {
				if damaged := lost < i; v.damaged != damaged || !v.open {
					t.Errorf("without packet %d: damaged %v, open %v", lost, v.damaged, v.open)
				}
			}
		}
	}
}

// A unit some of whose packets are no media is marked, and none of them is taken for a
// parameter set. The next unit is whole.
func TestGarbledUnit(t *testing.T) {
	for name, garbage := range map[string][]byte{
		"the forbidden bit": {0xe7, 0x42, 0xc0, 0x1e},
		"no such packet":    {25, 1, 2, 3},
		"a cut STAP-A":      {24, 0, 9, 1},
		"a fragment alone":  {28, 0x05, 1, 2},
	} {
		conn, tr := recorder("H264", schemas.MediaTimescale, nil)
		n := 0
		send := func(at uint32, last bool, payload []byte) {
			p := numbered(n)
			n++
			p.Timestamp, p.Marker, p.Payload = at, last, payload
			conn.packet(tr, p, time.Now())
		}
		for i, payload := range [][]byte{codectest.H264{}.SPS(), {0x68, 0xce, 0x38, 0x80}, {0x65, 0x88, 1}} {
			send(0, i == 2, payload)
		}
		before := string(tr.depay.(*video).sets.Config())
		send(3000, false, garbage)
		send(3000, false, []byte{0x68, 0xee, 0x3c, 0x80}) // of the same id
		send(3000, true, []byte{0x41, 0x9a, 1})
		send(6000, true, []byte{0x41, 0x9a, 2})
		if now := string(tr.depay.(*video).sets.Config()); now != before || now == "" {
			t.Errorf("%s: configuration %x, was %x", name, now, before)
		}
		if got := taken(conn); got != "0:3/0 3000:1/0! 6000:1/0 " {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// A camera that begins its stream anew is connected again; single packets of others are not
// taken.
func TestStrangers(t *testing.T) {
	conn, tr := recorder("OPUS", 48000, nil)
	send := func(ssrc uint32, n int) {
		p := numbered(n)
		p.SSRC, p.Timestamp, p.Payload = ssrc, uint32(n*960), []byte{0xfc, 1, 2}
		conn.packet(tr, p, time.Now())
	}
	send(7, 0)
	for n := range restarted - 1 {
		send(8, 100+n)
	}
	send(7, 1)
	send(8, 200)
	if got := taken(conn); got != "0:1/0 960:1/0 " || conn.Err() != nil {
		t.Errorf("%s %v", got, conn.Err())
	}
	for n := range restarted {
		send(8, 300+n)
	}
	if !errors.Is(conn.Err(), rtspconn.ErrRestarted) {
		t.Errorf("%v", conn.Err())
	}
}

// Each packet of AAC may hold several frames, which follow each other without a hole.
func TestFramesOfAAC(t *testing.T) {
	conn, tr := recorder("MPEG4-GENERIC", 48000, map[string]string{"config": "1188", "sizelength": "13", "indexlength": "3", "indexdeltalength": "3"})
	conn.packet(tr, &packet{Header: rtp.Header{Timestamp: 5000, Marker: true}, Payload: []byte{0, 32, 0, 16, 0, 8, 1, 2, 3}}, time.Now())
	if got := taken(conn); got != "5000:1/0 6024:1/0 " {
		t.Error(got)
	}
}

// A frame of AAC comes in fragments that name the size of the whole frame or their own. What
// cannot be read is told once a frame, and harms no other frame.
func TestFragmentsOfAAC(t *testing.T) {
	type sent struct {
		seq     int
		at      uint32
		marker  bool
		payload []byte
	}
	au := func(size int, data ...byte) []byte {
		return append([]byte{0, 16, byte(size >> 5), byte(size << 3)}, data...)
	}
	first, next := sent{0, 0, true, au(1, 9)}, sent{9, 2000, true, au(1, 8)}
	for name, c := range map[string]struct {
		packets []sent
		want    string
	}{
		"size of the frame":        {[]sent{first, {1, 1000, false, au(5, 1, 2)}, {2, 1000, false, au(5, 3)}, {3, 1000, true, au(5, 4, 5)}, next}, "0:09/0 1000:0102030405/0 2000:08/5 "},
		"own size":                 {[]sent{first, {1, 1000, false, au(2, 1, 2)}, {2, 1000, false, au(1, 3)}, {3, 1000, true, au(2, 4, 5)}, next}, "0:09/0 1000:0102030405/0 2000:08/5 "},
		"no marker":                {[]sent{first, {1, 1000, false, au(3, 1, 2)}, {2, 1000, false, au(3, 3)}, next}, "0:09/0 1000:010203/0 2000:08/6 "},
		"begin missing":            {[]sent{first, {2, 1000, false, au(5, 3)}, {3, 1000, true, au(5, 4, 5)}, next}, "0:09/0 1000:/1! 2000:08/5 "},
		"end missing":              {[]sent{first, {1, 1000, false, au(5, 1, 2)}, next}, "0:09/0 1000:/7! 2000:08/0 "},
		"own size, middle missing": {[]sent{first, {1, 1000, false, au(2, 1, 2)}, {3, 1000, false, au(1, 4)}, {4, 1000, true, au(2, 5, 6)}, next}, "0:09/0 1000:/1! 2000:08/4 "},
		"more than the frame":      {[]sent{first, {1, 1000, false, au(3, 1, 2)}, {2, 1000, true, au(3, 3, 4)}, next}, "0:09/0 1000:/0! 2000:08/6 "},
		"another size":             {[]sent{first, {1, 1000, false, au(3, 1, 2)}, {2, 1000, true, au(1, 3)}, next}, "0:09/0 1000:/0! 2000:08/6 "},
		"too large":                {[]sent{first, {1, 1000, false, au(8000, 1)}, {2, 1000, false, au(8000, 1)}, {3, 1000, true, au(8000, 1)}, next}, "0:09/0 1000:/0! 2000:08/5 "},
		"no header":                {[]sent{first, {1, 1000, true, []byte{0, 0, 1}}, next}, "0:09/0 1000:/0! 2000:08/7 "},
		"empty":                    {[]sent{first, {1, 1000, true, nil}, next}, "0:09/0 2000:08/7 "},
		"nothing before":           {[]sent{{0, 0, true, []byte{0, 0, 1}}, {1, 1000, true, au(5, 1)}, next}, "2000:08/7 "},
	} {
		conn, tr := recorder("MPEG4-GENERIC", 48000, map[string]string{"config": "1188", "sizelength": "13", "indexlength": "3", "indexdeltalength": "3"})
		for _, s := range c.packets {
			p := numbered(s.seq)
			p.Timestamp, p.Marker, p.Payload = s.at, s.marker, s.payload
			conn.packet(tr, p, time.Now())
		}
		got := ""
		for _, it := range conn.Take() {
			if it.Format != nil {
				continue
			}
			got += fmt.Sprintf("%d:%x/%d", it.Unit.PTS, it.Unit.Data, it.Unit.Lost)
			if it.Unit.Damaged {
				got += "!"
			}
			got += " "
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// encodings are all that have a depayloader, with what they need.
var encodings = []stream{
	{Track: rtspconn.Track{Encoding: "H264", ClockRate: 90000}},
	{Track: rtspconn.Track{Encoding: "H265", ClockRate: 90000}},
	{Track: rtspconn.Track{Encoding: "JPEG", ClockRate: 90000}},
	{Track: rtspconn.Track{Encoding: "MPEG4-GENERIC", ClockRate: 48000}, parameters: map[string]string{"config": "1188", "sizelength": "13", "indexlength": "3", "indexdeltalength": "3"}},
	{Track: rtspconn.Track{Encoding: "OPUS", ClockRate: 48000}},
}

// Whatever comes, no depayloader panics, and what it gives is well formed.
func FuzzPackets(f *testing.F) {
	for _, unit := range units264(f, 2) {
		for _, p := range unit {
			b, err := p.Marshal()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(0), b, b)
		}
	}
	f.Add(uint8(1), []byte("\x80\xe0\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07\x62\x01\x93abc"), []byte("\x80\xe0\x00\x02\x00\x00\x00\x00\x00\x00\x00\x07\x62\x01\x53def"))
	f.Add(uint8(2), []byte("\x80\xe0\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x01\x32\x02\x02ab"), []byte{})
	f.Add(uint8(3), []byte("\x80\xe0\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07\x00\x10\x00\x10ab"), []byte{})
	f.Fuzz(func(t *testing.T, n uint8, one, two []byte) {
		e := encodings[int(n)%len(encodings)]
		conn, tr := recorder(e.Encoding, e.ClockRate, e.parameters)
		for _, b := range [][]byte{one, two, one, two} {
			p := new(packet)
			if p.Unmarshal(b) == nil {
				conn.packet(tr, p, time.Now())
			}
		}
		if err := conn.Err(); err != nil && !errors.Is(err, rtspconn.ErrRestarted) {
			t.Error(err)
		}
		for _, it := range conn.Take() {
			if it.Format == nil && (len(it.Unit.Data) == 0 && !it.Unit.Damaged || it.Unit.Lost > 4*0x8000) {
				t.Errorf("%+v", it.Unit)
			}
			if it.Format == nil && (n%5 == 0 || n%5 == 1) && len(it.Unit.Data) > 0 {
				if _, err := codec.SplitNALs(it.Unit.Data); err != nil {
					t.Error(err)
				}
			}
		}
	})
}
