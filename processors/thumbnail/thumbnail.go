// Package thumbnail is a processor that makes a small picture of each fragment: a
// rendition of MJPEG with one picture, which lasts as long as the fragment. Only one
// picture of each fragment is decoded.
//
// Beside that it makes exact pictures for egress, which decodes nothing: see [Pictures].
package thumbnail

import (
	"cmp"
	"context"
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
	Exact   int `yaml:"exact" default:"2" min:"1" max:"64" doc:"Most exact snapshots that are decoded at the same time. Others wait up to 10s."`
}

// Defaults of Settings.
const (
	defaultWidth   = 320
	defaultQuality = 75
	defaultExact   = 2
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
