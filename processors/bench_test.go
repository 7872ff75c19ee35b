package processors

import (
	"context"
	"testing"

	"github.com/framelog/framelog/schemas"
)

// BenchmarkRunner measures what the SDK costs a processor that copies bytes, without the
// broker: from the records of the input to those of the output. A fragment has 1 MB in ten
// chunks, as 2 s of 4 Mbit/s.
func BenchmarkRunner(b *testing.B) {
	records, e := benchRecords(b)
	p := Processor{Name: "bench", Outputs: []Rendition{Variant("copy")}, Process: func(ctx context.Context, in *Fragment, out *Output) error {
		for c, err := range in.Chunks(ctx) {
			if err == nil {
				err = out.Write(ctx, c)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}}
	p = p.withDefaults()
	a := attempts{p: &p, gate: newGate()}
	var size int64
	for _, r := range records {
		size += int64(len(r))
	}
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		src := newArriving(e.Epoch, e.Media, nil)
		for _, r := range records {
			c, err := schemas.DecodeChunkShared(r)
			if err != nil {
				b.Fatal(err)
			}
			src.add(c)
		}
		src.enter(e)
		first, err := src.chunk(b.Context(), 0)
		if err != nil {
			b.Fatal(err)
		}
		in := newFragment("front-door", schemas.Raw, e.Life, first, src.source())
		out := newOutput(in, p.Outputs, map[string]sink{"copy": &encoding{}})
		if err := a.run(b.Context(), attempt{in: in, out: out, src: src}); err != nil {
			b.Fatal(err)
		}
	}
}

// encoding is a sink that makes the record of each chunk, and drops it.
type encoding struct{ record []byte }

func (s *encoding) Write(ctx context.Context, c *schemas.Chunk) error {
	defer pauseClock(ctx)()
	var err error
	s.record, err = schemas.EncodeChunk(c)
	return err
}

func benchRecords(b *testing.B) (records [][]byte, e schemas.Entry) {
	b.Helper()
	const chunks, frames, size = 10, 5, 20_000
	var media int64
	for i := range uint32(chunks) {
		c := &schemas.Chunk{Seq: 1, Session: 1, Epoch: 1, Index: i, Last: i == chunks-1}
		if i == 0 {
			c.Tracks = []schemas.Track{{ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale}}
		}
		run := schemas.Run{Track: schemas.VideoTrack}
		for n := range frames {
			run.Samples = append(run.Samples, schemas.Sample{DTS: media, Duration: frame, Sync: i == 0 && n == 0, Data: make([]byte, size)})
			media += frame
		}
		c.Runs = []schemas.Run{run}
		r, err := schemas.EncodeChunk(c)
		if err != nil {
			b.Fatal(err)
		}
		records = append(records, r)
	}
	return records, schemas.Entry{Kind: schemas.KindWhole, Life: "life", Session: 1, Seq: 1, Epoch: 1, Duration: media, Chunks: chunks}
}
