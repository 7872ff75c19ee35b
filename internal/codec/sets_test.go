package codec_test

import (
	"bytes"
	"testing"

	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/internal/codec/codectest"
	"github.com/framelog/framelog/schemas"
)

// A set replaces the one of its id, what is no set or cannot be read changes nothing, and the
// configuration holds what the list holds.
func TestParameterSetList(t *testing.T) {
	small, large := codectest.H264{Width: 320, Height: 240}.SPS(), codectest.H264{Width: 640, Height: 480}.SPS()
	pps0, pps1 := []byte{0x68, 0xce, 0x38, 0x80}, []byte{0x68, 0x4e, 0x38, 0x80} // ids 0 and 1
	l := codec.NewParameterSetList(schemas.H264)
	add := func(nal []byte, want bool) {
		t.Helper()
		if got := l.Add(nal); got != want {
			t.Errorf("%x is a parameter set: %v", nal, got)
		}
	}
	add(pps0, true)
	if l.Config() != nil {
		t.Error("there is a configuration without an SPS")
	}
	add(small, true)
	first := l.Config()
	add(small, true)
	add(codectest.Unit264(true, 1, 20)[4:], false)
	add([]byte{0x67, 0xff}, true) // an SPS that ends too early
	add(nil, false)
	if &first[0] != &l.Config()[0] {
		t.Error("the configuration was made again although nothing has changed")
	}
	add(pps1, true)
	add(large, true)
	sets, err := codec.ParameterSets(schemas.H264, l.Config())
	if err != nil || len(sets) != 3 || !bytes.Equal(sets[0], large) || !bytes.Equal(sets[1], pps0) || !bytes.Equal(sets[2], pps1) {
		t.Errorf("%x, %v", sets, err)
	}
	if au := l.Append(nil); !bytes.Equal(au, codec.JoinNALs(sets)) || len(au) != l.Size() {
		t.Errorf("%x, %d bytes", au, l.Size())
	}
	for n := range 300 { // memory is bounded, whatever ids come
		add([]byte{0x68, 0, byte(n), byte(n >> 8), 0x80}, true)
	}
	if n := len(l.Append(nil)); n > 100*10 {
		t.Errorf("%d bytes", n)
	}
}

func FuzzParameterSetList(f *testing.F) {
	f.Add(false, codectest.H264{}.SPS(), []byte{0x68, 0xce, 0x38, 0x80}, []byte{})
	f.Add(true, []byte{0x40, 1, 0x0c}, []byte{0x42, 1, 1}, []byte{0x44, 1, 0xc0})
	f.Fuzz(func(t *testing.T, h265 bool, a, b, c []byte) {
		kind := schemas.H264
		if h265 {
			kind = schemas.H265
		}
		l := codec.NewParameterSetList(kind)
		for _, nal := range [][]byte{a, b, c, a} {
			l.Add(nal)
		}
		if config := l.Config(); config != nil {
			if _, err := codec.ParameterSets(kind, config); err != nil {
				t.Error(err)
			}
		}
	})
}
