package archive

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/schemas"
)

// find returns the index of the entry of a seq, -1 if the file does not have it.
func (t *trailer) find(seq uint64) int {
	i, ok := slices.BinarySearchFunc(t.decoded, seq, func(e schemas.Entry, seq uint64) int {
		switch {
		case e.LastSeq() < seq:
			return -1
		case e.Seq > seq:
			return 1
		}
		return 0
	})
	if !ok {
		return -1
	}
	return i
}

// chunks reads the chunks of entry i, which can be played. A changed byte in its segment is an
// error. What a chunk tells beside its samples comes from chunk 0: times of the others go on
// with media time.
func (t *trailer) chunks(file io.ReaderAt, i int) ([]*schemas.Chunk, error) {
	k, e := &t.Entries[i], &t.decoded[i]
	segment := make([]byte, k.Size)
	if _, err := file.ReadAt(segment, k.At); err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(segment); !bytes.Equal(sum[:], k.Sum) {
		return nil, fmt.Errorf("segment %d is damaged: its SHA-256 is %x, and was %x", e.Seq, sum, k.Sum)
	}
	first, err := schemas.DecodeChunk(k.First)
	if err != nil {
		return nil, err
	}
	runs, err := cmaf.Runs(first.Tracks, segment, e.Bytes)
	if err != nil {
		return nil, err
	}
	all := make([]*schemas.Chunk, len(runs))
	for n, r := range runs {
		c := *first
		c.Index, c.Runs = uint32(n), r
		c.Last = n == len(runs)-1
		c.Ended = c.Last && e.Ended
		if n > 0 {
			c.Tracks, c.OpenGOP, c.Lineage = nil, false, nil
		}
		all[n] = &c
	}
	return all, setTimes(first, k.Spans, all)
}

// setTimes gives the chunks of a fragment their times.
func setTimes(first *schemas.Chunk, spans []int64, all []*schemas.Chunk) error {
	if len(spans) > 0 && len(spans) != 2*len(all) {
		return fmt.Errorf("%d times of %d chunks", len(spans)/2, len(all))
	}
	for n, c := range all {
		c.Media, c.Duration = 0, 0
		if len(c.Video()) == 0 && len(spans) > 0 {
			c.Media, c.Duration = spans[2*n], spans[2*n+1]
		}
		passed := schemas.FromTicks(c.MediaStart() - all[0].MediaStart())
		c.Start, c.Captured = first.Start.Add(passed), first.Captured.Add(passed)
		if !first.CameraTime.IsZero() {
			c.CameraTime = first.CameraTime.Add(passed)
		}
	}
	return nil
}
