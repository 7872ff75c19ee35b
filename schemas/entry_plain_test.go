package schemas

import (
	"reflect"
	"testing"
)

// What is decoded the quick way is the same as the library decodes. Entries of fragments go that
// way, and none that is cut off does.
func FuzzPlainEntry(f *testing.F) {
	addBombs(f)
	quick := 0
	for _, e := range entries() {
		b, err := EncodeEntry(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		if plainEntry(b, new(Entry)) {
			quick++
		} else if e.Playable() {
			f.Errorf("not quick: %+v", e)
		}
		for i := range b {
			if plainEntry(b[:i], new(Entry)) {
				f.Errorf("%d of %d bytes of %+v are an entry", i, len(b), e)
			}
		}
	}
	if quick == 0 {
		f.Error("no entry is decoded the quick way")
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var got Entry
		if !plainEntry(b, &got) {
			return
		}
		want, err := slowEntry(b)
		if err != nil {
			t.Fatalf("%+v, but: %v", got, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v\nwant %+v", got, want)
		}
	})
}

func BenchmarkDecodeEntry(b *testing.B) {
	var all [][]byte
	for _, e := range entries() {
		if !e.Playable() {
			continue
		}
		one, err := EncodeEntry(e)
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, one)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := DecodeEntry(all[i%len(all)]); err != nil {
			b.Fatal(err)
		}
	}
}
