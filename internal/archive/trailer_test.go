package archive

import (
	"reflect"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

// FuzzPlainTrailer: what plainTrailer takes, it reads as the library does. It takes what is written.
func FuzzPlainTrailer(f *testing.F) {
	long := trailer{Version: version, Muxer: "m1", Camera: "yard", Rendition: "360p", Header: make([]byte, 32)}
	for i := range int64(40) {
		long.Entries = append(long.Entries, segment{Entry: make([]byte, 170), Offset: i << i, At: 1 + 70000*i, Size: 1 << 31, Sum: make([]byte, 32), First: make([]byte, 300)})
	}
	for _, t := range []trailer{long, {Version: version, Header: []byte{1}, Entries: []segment{{Entry: []byte{1}, Spans: []int64{0, -5, 1 << 40}}}}} {
		b, err := msgpack.Marshal(&t)
		if err != nil {
			f.Fatal(err)
		}
		if !plainTrailer(b, new(trailer)) {
			f.Errorf("what is written is not taken: %x", b)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var got, want trailer
		if !plainTrailer(b, &got) {
			return
		}
		if err := msgpack.Unmarshal(b, &want); err != nil {
			t.Fatalf("the library does not take %x: %v", b, err)
		}
		for _, x := range []*trailer{&got, &want} { // empty is as good as nil
			if len(x.Header) == 0 {
				x.Header = nil
			}
			if len(x.Entries) == 0 {
				x.Entries = nil
			}
			for i := range x.Entries {
				for _, s := range []*[]byte{&x.Entries[i].Entry, &x.Entries[i].Sum, &x.Entries[i].First} {
					if len(*s) == 0 {
						*s = nil
					}
				}
				if len(x.Entries[i].Spans) == 0 {
					x.Entries[i].Spans = nil
				}
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%x: %+v\nwant %+v", b, got, want)
		}
	})
}
