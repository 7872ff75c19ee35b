package schemas

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

// bombs are few bytes that make a decoder take much memory or stack.
func bombs() map[string][]byte {
	at := func(prefix string, n int, fill byte) []byte {
		b, err := hex.DecodeString(prefix)
		if err != nil {
			panic(err)
		}
		return append(b, bytes.Repeat([]byte{fill}, n)...)
	}
	return map[string][]byte{
		"4 thousand million runs":        at("82a17601a173ddffffffff", 0, 0),
		"as many tracks":                 at("82a17601a27472ddffffffff", 0, 0),
		"as many sizes":                  at("82a17601a1739181a2737addffffffff", 0, 0),
		"a map of as many":               at("82a17601a178dfffffffff", 0, 0),
		"as many bytes":                  at("82a17601a162c6ffffffff", 0, 0),
		"text of as many":                at("82a17601a177dbffffffff", 0, 0),
		"8 MiB of runs that are nothing": at("82a17601a173dd00800000", 8<<20, 0xc0),
		"arrays in arrays":               at("82a17601a178", 8<<20, 0x91),
		"maps in maps":                   at("82a17601a178", 8<<20, 0x81),
	}
}

// addBombs adds the small ones as seeds: large ones make fuzzing slow.
func addBombs(f *testing.F) {
	for _, b := range bombs() {
		if len(b) < 1<<10 {
			f.Add(b)
		}
	}
}

func TestDecodeRefusesBombs(t *testing.T) {
	for name, b := range bombs() {
		if _, err := DecodeChunk(b); err == nil {
			t.Errorf("%s: taken as a chunk", name)
		}
		if _, err := DecodeEntry(b); err == nil {
			t.Errorf("%s: taken as an entry", name)
		}
		if _, err := DecodeCamera(b); err == nil {
			t.Errorf("%s: taken as a camera", name)
		}
		if _, err := DecodeStatus(b); err == nil {
			t.Errorf("%s: taken as a status", name)
		}
	}
}

func TestDecodeEntryRefusesNonsense(t *testing.T) {
	good := Entry{Kind: KindWhole, Seq: 5, Partition: 1, First: 10, Last: 12, Chunks: 3}
	for name, change := range map[string]func(*Entry){
		"":                      func(*Entry) {},
		"a negative partition":  func(e *Entry) { e.Partition = -1 },
		"a negative offset":     func(e *Entry) { e.First = -1 },
		"offsets that go back":  func(e *Entry) { e.Last = 9 },
		"more chunks than fit":  func(e *Entry) { e.Chunks = 1<<32 - 1 },
		"no chunk":              func(e *Entry) { e.Chunks = 0 },
		"a negative duration":   func(e *Entry) { e.Duration = -1 },
		"a negative size":       func(e *Entry) { e.Bytes = -1 },
		"a gap that goes back":  func(e *Entry) { *e = Entry{Kind: KindGap, Seq: 5, Duration: -1} },
		"partition and no copy": func(e *Entry) { e.Partition, e.First, e.Last = -1, -1, -1 },
	} {
		e := good
		change(&e)
		b, err := EncodeEntry(&e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeEntry(b); (err == nil) != (name == "") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// FuzzShape holds the walk to the library's: what is well formed for one is so
// for the other, and as long.
func FuzzShape(f *testing.F) {
	for _, c := range chunks() {
		b, err := EncodeChunk(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, v := range []any{
		nil, true, -1, 1 << 40, -1 << 40, float32(1), 1.5, "text", make([]byte, 300), make([]byte, 70_000),
		string(make([]byte, 300)), make([]bool, 20), make([]bool, 70_000),
		map[string]any{"a": []any{1, "b", map[string]int{}}},
		someTime,
	} {
		b, err := msgpack.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, h := range []string{"c1", "d4", "d40100", "d8010000000000000000000000000000000000", "c7020100ff", "c800020100ff", "c9000000020100ff", "dd00", "de0001a161", "c403aa"} {
		b, err := hex.DecodeString(h)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<20 {
			return // the library's walk has no bound
		}
		left := bytes.NewReader(b)
		err := msgpack.NewDecoder(left).Skip()
		n, got := shapeOf(b)
		switch {
		case got == nil && err != nil:
			t.Fatalf("taken, and the library says: %v", err)
		case got == nil && n != len(b)-left.Len():
			t.Fatalf("%d bytes, the library takes %d", n, len(b)-left.Len())
		case errors.Is(got, io.ErrUnexpectedEOF) && err == nil:
			t.Fatal("too short, and the library takes it")
		}
	})
}
