package cmaf

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

// Blocks read like one slice of the same bytes, from any position on.
func TestBlocks(t *testing.T) {
	for _, b := range []Blocks{nil, {nil}, {[]byte("abc")}, {[]byte("abc"), nil, []byte("d"), []byte("efghij")}} {
		all := bytes.Join(b, nil)
		if b.Size() != int64(len(all)) {
			t.Errorf("%q: size %d", all, b.Size())
		}
		if err := iotest.TestReader(io.NewSectionReader(b, 0, b.Size()), all); err != nil {
			t.Errorf("%q: %v", all, err)
		}
		for from := range len(all) + 2 {
			for n := range len(all) + 2 {
				got, want := make([]byte, n), make([]byte, n)
				a, errA := b.ReadAt(got, int64(from))
				z, errZ := bytes.NewReader(all).ReadAt(want, int64(from))
				if a != z || !bytes.Equal(got, want) || !errors.Is(errA, errZ) && n > 0 {
					t.Errorf("%q: %d from %d: %d %q %v, want %d %q %v", all, n, from, a, got, errA, z, want, errZ)
				}
			}
		}
		var out bytes.Buffer
		if n, err := b.WriteTo(&out); n != b.Size() || err != nil || !bytes.Equal(out.Bytes(), all) {
			t.Errorf("%q: wrote %d %q, %v", all, n, out.Bytes(), err)
		}
	}
}
