package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/framelog/framelog/schemas"
)

// version is the version of the last box.
const version = 1

// boxType is the extended type of the last box.
var boxType = [16]byte{0x8e, 0x1f, 0x5d, 0x0a, 0x63, 0xc2, 0x4b, 0x7e, 0x9a, 0x34, 0xd1, 0x70, 0x2c, 0xb8, 0xf6, 0x59}

// trailer is what the last box holds, as msgpack. The box is:
//
//	4 bytes   its size
//	4 bytes   "uuid"
//	16 bytes  boxType
//	          msgpack
//	32 bytes  SHA-256 of all of the box before
//	4 bytes   its size again, so that a reader finds it from the end of the file
type trailer struct {
	Version   int       `msgpack:"v"`
	Muxer     string    `msgpack:"m"` // cmaf.Version
	Camera    string    `msgpack:"c"`
	Rendition string    `msgpack:"r,omitempty"` // empty: raw
	Header    []byte    `msgpack:"h"`           // SHA-256 of all before the first segment
	Entries   []segment `msgpack:"e"`
	decoded   []schemas.Entry
	end       int64 // where the box begins, and the segments end
}

// segment is an entry, and where its segment stands.
type segment struct {
	Entry  []byte `msgpack:"e"`           // as it is in the index
	Offset int64  `msgpack:"o"`           // in the index
	At     int64  `msgpack:"a,omitempty"` // of the segment in the file; of a gap 0
	Size   int64  `msgpack:"n,omitempty"`
	Sum    []byte `msgpack:"s,omitempty"` // SHA-256 of the segment
	First  []byte `msgpack:"f,omitempty"` // chunk 0 as it is in the log, without its samples
	// Spans is media time and duration of each chunk, if one of them has no video. They are
	// what a segment does not tell.
	Spans []int64 `msgpack:"t,omitempty"`
}

const (
	boxBegin   = 4 + 4 + 16
	boxEnd     = sha256.Size + 4
	maxTrailer = 64 << 20
)

func (t *trailer) encode() ([]byte, error) {
	body, err := msgpack.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("encode the last box: %w", err)
	}
	size := boxBegin + len(body) + boxEnd
	if size > maxTrailer {
		return nil, fmt.Errorf("the last box has %d bytes, at most %d are possible", size, maxTrailer)
	}
	b := binary.BigEndian.AppendUint32(make([]byte, 0, size), uint32(size))
	b = append(b, "uuid"...)
	b = append(b, boxType[:]...)
	b = append(b, body...)
	sum := sha256.Sum256(b)
	b = append(b, sum[:]...)
	return binary.BigEndian.AppendUint32(b, uint32(size)), nil
}

var errNoTrailer = errors.New("its last box is not that of an archive file: the file is cut off or changed, or something else")

// decodeTrailer reads the last box.
func decodeTrailer(b []byte) (*trailer, error) {
	if len(b) < boxBegin+boxEnd || string(b[4:8]) != "uuid" || !bytes.Equal(b[8:boxBegin], boxType[:]) {
		return nil, errNoTrailer
	}
	signed, end := b[:len(b)-boxEnd], b[len(b)-boxEnd:]
	if sum := sha256.Sum256(signed); !bytes.Equal(sum[:], end[:sha256.Size]) || binary.BigEndian.Uint32(b) != uint32(len(b)) {
		return nil, errNoTrailer
	}
	var t trailer
	if !plainTrailer(signed[boxBegin:], &t) {
		t = trailer{}
		if err := msgpack.Unmarshal(signed[boxBegin:], &t); err != nil {
			return nil, fmt.Errorf("decode its last box: %w", err)
		}
	}
	if t.Version > version {
		return nil, schemas.ErrNewer
	}
	t.decoded = make([]schemas.Entry, 0, len(t.Entries))
	for i := range t.Entries {
		k := &t.Entries[i]
		e, err := schemas.DecodeEntry(k.Entry)
		if err != nil {
			return nil, fmt.Errorf("decode its last box: %w", err)
		}
		e.Offset, k.Entry = k.Offset, nil
		t.decoded = append(t.decoded, e)
	}
	return &t, nil
}

// check checks that the segments stand one after another, up to the box.
func (t *trailer) check() error {
	at := int64(-1)
	for i, k := range t.Entries {
		e := &t.decoded[i]
		switch {
		case i > 0 && e.Seq != t.decoded[i-1].LastSeq()+1:
			return fmt.Errorf("fragment %d follows %d", e.Seq, t.decoded[i-1].LastSeq())
		case !e.Playable():
			continue
		case k.At <= 0 || k.Size <= 0 || at >= 0 && k.At != at || k.At > t.end || k.Size > t.end-k.At:
			return fmt.Errorf("segment %d stands at %d with %d bytes", e.Seq, k.At, k.Size)
		}
		at = k.At + k.Size
	}
	if at != t.end {
		return fmt.Errorf("the segments end at %d, and the last box begins at %d", at, t.end)
	}
	return nil
}
