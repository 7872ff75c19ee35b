package exec

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/video"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// start is when the fragments of these tests begin.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// frameTicks is the duration of a picture.
const frameTicks = schemas.MediaTimescale / 25

// fragment makes a fragment of n samples, which are no pictures of any codec.
func fragment(seq uint64, n int) *processors.Fragment {
	media := schemas.Ticks(time.Duration(start.UnixNano()))
	c := &schemas.Chunk{Session: 1, Seq: seq, Start: start, Last: true, Tracks: []schemas.Track{{
		ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale, Config: []byte{1, 2, 3}, Width: 8, Height: 4,
	}}}
	run := schemas.Run{Track: schemas.VideoTrack}
	for i := range n {
		run.Samples = append(run.Samples, schemas.Sample{
			DTS: media + int64(i)*frameTicks, Duration: frameTicks, Sync: i == 0, Data: fmt.Appendf(nil, "sample %d of %d", i, seq),
		})
	}
	c.Runs = []schemas.Run{run}
	e := schemas.Entry{
		Kind: schemas.KindTruncated, Life: "cafe0123", Session: 1, Seq: seq, Start: start, Media: media, Duration: int64(n) * frameTicks,
		Lost: schemas.Lost{Units: 2}, Chunks: 1,
	}
	return processors.NewFragment("yard", e, c)
}

// pixels is the picture of a sample.
func pixels(seq uint64, i, size int) []byte {
	b := make([]byte, size)
	for k := range b {
		b[k] = byte(int(seq) + 3*i + k*k)
	}
	return b
}

// fake gives a picture for each sample, and encodes a picture to itself.
type fake struct {
	width, height int
	given         func(i int) // before picture i is given; may be nil
	same          bool        // all pictures are the same
}

func (f fake) pictures(ctx context.Context, in *processors.Fragment, o video.Options) iter.Seq2[*video.Picture, error] {
	return func(yield func(*video.Picture, error) bool) {
		i := 0
		var data []byte
		for c, err := range in.Chunks(ctx) {
			if err != nil {
				yield(nil, err)
				return
			}
			for _, s := range c.Video() {
				if f.given != nil {
					f.given(i)
				}
				if data == nil || !f.same {
					data = pixels(in.Seq, i, o.Format.Bytes(f.width, f.height))
				}
				p := &video.Picture{PTS: s.DTS, Duration: int64(s.Duration), Width: f.width, Height: f.height, Format: o.Format, Data: data}
				if !yield(p, ctx.Err()) || ctx.Err() != nil {
					return
				}
				i++
			}
		}
	}
}

func (f fake) encode(_ context.Context, in *processors.Fragment, pictures iter.Seq2[*video.Picture, error], _ video.Encoding) iter.Seq2[*schemas.Chunk, error] {
	return func(yield func(*schemas.Chunk, error) bool) {
		for p, err := range pictures {
			if err != nil {
				yield(nil, err)
				return
			}
			s := schemas.Sample{DTS: p.PTS, Duration: uint32(p.Duration), Data: bytes.Clone(p.Data)}
			if !yield(&schemas.Chunk{Start: in.Start, Runs: []schemas.Run{{Track: schemas.VideoTrack, Samples: []schemas.Sample{s}}}}, nil) {
				return
			}
		}
	}
}

// env is a pool whose program is this test binary.
type env struct {
	*pool
	processors.Processor
	log *testenv.Log
	dir string // where children leave files
}

// newEnv makes a pool whose children behave as behaviours[mode] does.
func newEnv(t testing.TB, mode string, change ...func(*Settings)) *env {
	t.Helper()
	dir := t.TempDir()
	return envOf(t, dir, Settings{Command: []string{os.Args[0], childArg, mode, dir}}, change...)
}

func envOf(t testing.TB, dir string, s Settings, change ...func(*Settings)) *env {
	t.Helper()
	e := &env{log: new(testenv.Log), dir: dir}
	s.Log = slog.New(slog.NewTextHandler(e.log, nil))
	for _, f := range change {
		f(&s)
	}
	o, err := s.options("people")
	if err != nil {
		t.Fatal(err)
	}
	e.pool = newPool(o)
	f := fake{width: 8, height: 4}
	e.pictures, e.encode = f.pictures, f.encode
	e.Processor = e.processor()
	t.Cleanup(func() { e.Close() })
	return e
}

// collect processes a fragment of n pictures.
func (e *env) collect(ctx context.Context, seq uint64, n int) (*processors.Result, error) {
	return e.Collect(ctx, fragment(seq, n))
}

// has reports whether a child has left a file.
func (e *env) has(name string) bool {
	_, err := os.Stat(filepath.Join(e.dir, name))
	return err == nil
}

// frame is what a child has read.
type frame struct {
	kind    byte
	header  []byte
	payload []byte
}

func (f frame) into(v any) {
	if err := json.Unmarshal(f.header, v); err != nil {
		panic(err)
	}
}

// program is the other side of the protocol, in a child.
type program struct {
	in, out *os.File
	dir     string
	key     key
}

// read returns the next frame. The child ends with its input.
func (p *program) read() frame {
	head := make([]byte, headSize)
	if _, err := io.ReadFull(p.in, head); err != nil {
		os.Exit(0)
	}
	f := frame{head[3], make([]byte, binary.BigEndian.Uint32(head[4:])), make([]byte, binary.BigEndian.Uint32(head[8:]))}
	for _, b := range [][]byte{f.header, f.payload} {
		if _, err := io.ReadFull(p.in, b); err != nil {
			os.Exit(0)
		}
	}
	return f
}

// say answers. fields are those besides seq and attempt.
func (p *program) say(kind byte, fields map[string]any, payloads ...[]byte) {
	m := map[string]any{"seq": p.key.Seq, "attempt": p.key.Attempt}
	for k, v := range fields {
		m[k] = v
	}
	if err := writeFrame(p.out, kind, m, payloads...); err != nil {
		os.Exit(0)
	}
}

// leave leaves a file.
func (p *program) leave(name string) {
	if err := os.WriteFile(filepath.Join(p.dir, name), nil, 0o600); err != nil {
		panic(err)
	}
}

// first reports whether it is called for the first time, of all children.
func (p *program) first(name string) bool {
	f, err := os.OpenFile(filepath.Join(p.dir, name), os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		f.Close()
	}
	return err == nil
}

// await waits for a file.
func (p *program) await(name string) {
	for {
		if _, err := os.Stat(filepath.Join(p.dir, name)); err == nil {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}
