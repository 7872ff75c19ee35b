package video

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/framelog/framelog/internal/gstreamer"
	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/schemas"
)

// Encoding is how pictures are encoded.
type Encoding struct {
	// Codec is H264, the default, or MJPEG.
	Codec schemas.Codec
	// Bitrate of H264 in bit/s, of each fragment. Default: a tenth of a bit a pixel.
	Bitrate int
	// Quality of MJPEG, from 1 to 100. Default 80.
	Quality int
	// Width and Height are the size in pixels, as those of Options. Pictures are never
	// enlarged, and the sides of H264 are even.
	Width, Height int
	// FPS leaves pictures out, as that of Options, but never the first one.
	FPS float64
	// Hardware is which encoders may be used, as that of Options.
	Hardware string
}

// defaultQuality is Encoding.Quality.
const defaultQuality = 80

func (e Encoding) withDefaults() (Encoding, error) {
	e.Codec, e.Quality = cmp.Or(e.Codec, schemas.H264), cmp.Or(e.Quality, defaultQuality)
	switch {
	case e.Codec != schemas.H264 && e.Codec != schemas.MJPEG:
		return e, fmt.Errorf("video: pictures cannot be encoded to %q; choose %s or %s", e.Codec, schemas.H264, schemas.MJPEG)
	case e.Bitrate < 0 || e.Quality < 1 || e.Quality > 100:
		return e, fmt.Errorf("video: a bit rate of %d bit/s and a quality of %d; the rate must not be below 0, the quality is 1 to 100", e.Bitrate, e.Quality)
	}
	return e, checkWanted(e.Width, e.Height, e.FPS)
}

// Encode encodes pictures of a fragment. pictures is a sequence as that of [Pictures]: all
// have one size and format, and their PTS increases. What it yields is ready for
// processors.Output: the chunks begin and end where those of in do, the first one has the
// tracks, and begins with an IDR, the only one. To H264 it copies the sound of in. All
// pictures are encoded, and keep their PTS, but the first one is shown from the start of the
// fragment on. One that lasts longer than its chunk is encoded again in the next one.
//
// A chunk comes as soon as its last picture is encoded. If there are no pictures, there are
// no chunks. Errors: those of pictures and in, ctx's, a wrong encoding, a fragment without
// pictures, what GStreamer lacks.
func Encode(ctx context.Context, in *processors.Fragment, pictures iter.Seq2[*Picture, error], e Encoding) iter.Seq2[*schemas.Chunk, error] {
	all := encode(ctx, in, func(yield func(image, error) bool) {
		for p, err := range pictures {
			if err == nil {
				if err = p.check(); err != nil {
					err = fragmentError(in, err)
				}
			}
			if !yield(raw{p}, err) {
				return
			}
		}
	}, e)
	return func(yield func(*schemas.Chunk, error) bool) {
		for e, err := range all {
			if !yield(e.Chunk, err) {
				return
			}
		}
	}
}

// Encoded is a chunk of one of several encodings.
type Encoded struct {
	Encoding int // its number
	Chunk    *schemas.Chunk
}

// Transcode decodes the pictures of a fragment once, and encodes them in several ways at the
// same time. It gives what Encode gives for [Pictures], without copying a picture.
func Transcode(ctx context.Context, in *processors.Fragment, hardware string, encodings ...Encoding) iter.Seq2[Encoded, error] {
	return encode(ctx, in, func(yield func(image, error) bool) {
		d, err := decodingOf(in, hardware)
		if err != nil {
			yield(nil, err)
			return
		}
		for f, err := range frames(ctx, in, d, false, 0) {
			if !yield(f, err) {
				return
			}
		}
	}, encodings...)
}

// encode encodes pictures in several ways at the same time.
func encode(ctx context.Context, in *processors.Fragment, pictures iter.Seq2[image, error], encodings ...Encoding) iter.Seq2[Encoded, error] {
	return func(yield func(Encoded, error) bool) {
		err := encodeAll(ctx, in, pictures, encodings, func(e Encoded) bool { return yield(e, nil) })
		if err != nil && !errors.Is(err, errStopped) {
			yield(Encoded{}, err)
		}
	}
}

func encodeAll(ctx context.Context, in *processors.Fragment, pictures iter.Seq2[image, error], encodings []Encoding, yield func(Encoded) bool) error {
	source := newChunks(ctx, in)
	defer source.stop()
	var tracks []*track
	for _, e := range encodings {
		t, err := newTrack(in, source, e)
		if err != nil {
			return err
		}
		defer t.close()
		tracks = append(tracks, t)
	}
	of := func(i int) func(*schemas.Chunk) bool {
		return func(c *schemas.Chunk) bool { return yield(Encoded{i, c}) }
	}
	for p, err := range pictures {
		if err != nil {
			return err
		}
		for _, t := range tracks {
			if err := t.add(ctx, p); err != nil {
				return err
			}
		}
		for i, t := range tracks {
			if err := t.collect(ctx, false, of(i)); err != nil {
				return err
			}
		}
	}
	for i, t := range tracks {
		if err := t.finish(ctx, of(i)); err != nil {
			return err
		}
	}
	return nil
}

// JPEG encodes one picture. quality is 1 to 100; 0: 80.
func JPEG(p *Picture, quality int) ([]byte, error) {
	e, err := Encoding{Codec: schemas.MJPEG, Quality: quality}.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("video: %w", err)
	}
	enc, err := raw{p}.start(gstreamer.Encoding{Codec: e.Codec, Quality: e.Quality, Width: p.Width, Height: p.Height}, 1)
	if err != nil {
		return nil, fmt.Errorf("video: %w", err)
	}
	defer enc.Close()
	ctx := context.Background() // it is a matter of milliseconds
	if err := enc.Push(ctx, p.Data, 0); err != nil {
		return nil, fmt.Errorf("video: %w", err)
	}
	enc.End()
	u, err := enc.Next(ctx)
	if err != nil {
		return nil, fmt.Errorf("video: encode JPEG: %w", err)
	}
	return u.Data, nil
}
