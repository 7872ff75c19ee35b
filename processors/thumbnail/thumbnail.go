// Package thumbnail is a processor that makes a small picture of each fragment: a
// rendition of MJPEG with one picture, which lasts as long as the fragment. Only one
// picture of each fragment is decoded.
package thumbnail

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/video"
	"github.com/framelog/framelog/schemas"
)

// Settings of the processor. A zero value means the default.
type Settings struct {
	Width   int `yaml:"width" default:"320" min:"16" max:"16384" doc:"Width of the pictures in pixels. Smaller pictures stay as they are."`
	Quality int `yaml:"quality" default:"75" min:"1" max:"100" doc:"Quality of the JPEG pictures."`
}

// Defaults of Settings.
const (
	defaultWidth   = 320
	defaultQuality = 75
)

// New makes the processor. Its output is a rendition with its name. Errors name the key
// that is wrong.
func New(name string, s Settings) (processors.Processor, error) {
	s.Width, s.Quality = cmp.Or(s.Width, defaultWidth), cmp.Or(s.Quality, defaultQuality)
	if s.Width < 16 || s.Width > 16384 {
		return processors.Processor{}, fmt.Errorf("thumbnail: width: %d; give 16 to 16384 pixels", s.Width)
	}
	if s.Quality < 1 || s.Quality > 100 {
		return processors.Processor{}, fmt.Errorf("thumbnail: quality: %d; give 1 to 100", s.Quality)
	}
	return processors.Processor{
		Name: name, Version: "1", Process: s.process,
		Outputs: []processors.Rendition{processors.Alternative(name)},
	}, nil
}

func (s Settings) process(ctx context.Context, in *processors.Fragment, out *processors.Output) error {
	if in.Video() == nil {
		return nil // sound alone
	}
	e := video.Encoding{Codec: schemas.MJPEG, Width: s.Width, Quality: s.Quality}
	for c, err := range video.Encode(ctx, in, first(video.Pictures(ctx, in, video.Options{Keyframes: true})), e) {
		if err != nil {
			return err
		}
		if err := out.Write(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func first(pictures iter.Seq2[*video.Picture, error]) iter.Seq2[*video.Picture, error] {
	return func(yield func(*video.Picture, error) bool) {
		for p, err := range pictures {
			yield(p, err)
			return
		}
	}
}

// ErrNoPicture is returned by At for a fragment without pictures.
var ErrNoPicture = errors.New("thumbnail: the fragment has no picture")

// Still is a picture of a fragment.
type Still struct {
	PTS  int64 // media time, in ticks of schemas.MediaTimescale
	JPEG []byte
}

// At decodes the picture that is shown at a media time, in ticks of
// schemas.MediaTimescale: the last one that begins at or before it, else the fragment's
// first one. If that picture is damaged, it is the next one, or the last one of the
// fragment. width is in pixels; 0, or more than the picture has: as it is. quality is 1 to
// 100; 0: 75. Errors: ErrNoPicture; those of in, ctx's; the fragment cannot be decoded.
func At(ctx context.Context, in *processors.Fragment, media int64, width, quality int) (Still, error) {
	t := in.Video()
	if t == nil {
		return Still{}, ErrNoPicture
	}
	if t.Width > 0 && width >= int(t.Width) {
		width = 0
	}
	pts, err := shown(ctx, in, media)
	if err != nil {
		return Still{}, err
	}
	var found *video.Picture
	for p, err := range video.Pictures(ctx, in, video.Options{Width: width}) {
		if err != nil {
			return Still{}, err
		}
		found = p
		if p.PTS >= pts {
			break
		}
	}
	if found == nil {
		return Still{}, ErrNoPicture
	}
	b, err := video.JPEG(found, cmp.Or(quality, defaultQuality))
	return Still{PTS: found.PTS, JPEG: b}, err
}

// shown returns the PTS of the picture that is shown at a media time.
func shown(ctx context.Context, in *processors.Fragment, media int64) (pts int64, err error) {
	pts = in.Media
	for c, err := range in.Chunks(ctx) {
		if err != nil {
			return 0, err
		}
		for _, s := range c.Video() {
			if at := s.DTS + int64(s.PTSOffset); at <= media {
				pts = max(pts, at)
			}
		}
		if c.MediaEnd() > media {
			break // later pictures are shown later
		}
	}
	return pts, nil
}
