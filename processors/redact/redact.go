// Package redact is a processor that hides parts of the picture: areas that are
// configured, or what moves. Its output is for people who may not see the source. It has
// the role alternative, so that no player changes from it to the source, and topics of its
// own, to which other people have rights.
//
// It never gives a picture of the source as it is. Of a camera for which nothing is
// configured it hides the whole picture, and without Settings.Audio there is no sound.
package redact

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/motion"
	"github.com/framelog/framelog/processors/video"
	"github.com/framelog/framelog/schemas"
)

// Settings of the processor. A zero value means the default.
type Settings struct {
	Regions []motion.Area     `yaml:"regions" doc:"Areas that are hidden, for cameras that are not in cameras."`
	Moving  bool              `yaml:"moving" default:"false" doc:"Hide what moves, for cameras that are not in cameras. What stands still in a whole fragment, or has hardly any contrast, is not found: use regions for what must never be seen. Without regions and moving the whole picture is hidden."`
	Cameras map[string]Camera `yaml:"cameras" doc:"Instead of regions and moving: what is hidden of single cameras, by id."`
	Style   string            `yaml:"style" default:"pixelate" oneof:"pixelate,fill" doc:"pixelate: coarse blocks of the mean colour; fill: black."`
	Margin  float64           `yaml:"margin" default:"0.03" max:"1" doc:"By how much an area around what moves is larger at each side, as a part of the picture's width."`
	Audio   bool              `yaml:"audio" default:"false" doc:"Keep the sound, as it is."`
}

// Camera says what is hidden of a camera.
type Camera struct {
	Regions []motion.Area `yaml:"regions" doc:"Areas that are hidden."`
	Moving  bool          `yaml:"moving" default:"false" doc:"Hide what moves too."`
}

// The styles.
const (
	pixelate = "pixelate"
	fill     = "fill"
)

const defaultMargin = 0.03

// New makes the processor. Its output is a rendition with its name. Errors name the key
// that is wrong.
func New(name string, s Settings) (processors.Processor, error) {
	if err := s.check(); err != nil {
		return processors.Processor{}, fmt.Errorf("redact: %w", err)
	}
	if s.Margin == 0 {
		s.Margin = defaultMargin
	}
	return processors.Processor{
		Name: name, Version: "1", Process: s.process,
		Outputs: []processors.Rendition{processors.Alternative(name)},
	}, nil
}

func (s *Settings) check() error {
	if s.Style != "" && s.Style != pixelate && s.Style != fill {
		return fmt.Errorf("style: %q; give %s or %s", s.Style, pixelate, fill)
	}
	if !(s.Margin >= 0 && s.Margin <= 1) {
		return fmt.Errorf("margin: %g; give a part of the picture's width, 0 to 1 (0 means the default %g)", s.Margin, defaultMargin)
	}
	if err := (Camera{Regions: s.Regions}).check(""); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(s.Cameras)) {
		c, prefix := s.Cameras[id], "cameras."+id+"."
		if len(c.Regions) == 0 && !c.Moving {
			return fmt.Errorf("%sregions: there are none; give some, or moving: true, or leave the camera out (then its whole picture is hidden)", prefix)
		}
		if err := c.check(prefix); err != nil {
			return err
		}
	}
	return nil
}

func (c Camera) check(prefix string) error {
	for i := range c.Regions {
		if err := c.Regions[i].Check(); err != nil {
			return fmt.Errorf("%sregions[%d]: %w", prefix, i, err)
		}
	}
	return nil
}

// camera returns what is hidden of a camera.
func (s *Settings) camera(id string) Camera {
	if c, ok := s.Cameras[id]; ok {
		return c
	}
	if c := (Camera{s.Regions, s.Moving}); len(c.Regions) > 0 || c.Moving {
		return c
	}
	return Camera{Regions: []motion.Area{{W: 1, H: 1}}}
}

func (s Settings) process(ctx context.Context, in *processors.Fragment, out *processors.Output) error {
	if in.Video() == nil {
		return nil // sound alone
	}
	areas, err := s.areas(ctx, in)
	if err != nil {
		return err
	}
	hidden := hide(video.Pictures(ctx, in, video.Options{}), areas, s.Style == fill)
	for c, err := range video.Encode(ctx, in, hidden, video.Encoding{}) {
		if err != nil {
			return err
		}
		if s.strip(c); len(c.Runs) == 0 {
			continue // it had sound alone
		}
		if err := out.Write(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// areas returns what is hidden of a fragment. What moves is hidden in all its pictures, so
// that nothing is seen before it is found.
func (s *Settings) areas(ctx context.Context, in *processors.Fragment) ([]motion.Area, error) {
	c := s.camera(in.Camera)
	if !c.Moving {
		return c.Regions, nil
	}
	var changes motion.Changes
	for p, err := range video.Pictures(ctx, in, video.Options{Width: motion.Width, Format: video.Gray8}) {
		if err != nil {
			return nil, err
		}
		if err := changes.Add(p); err != nil {
			return nil, err
		}
	}
	return append(changes.Areas(s.Margin), c.Regions...), nil
}

// hide yields pictures without what lies in the areas.
func hide(pictures iter.Seq2[*video.Picture, error], areas []motion.Area, fill bool) iter.Seq2[*video.Picture, error] {
	return func(yield func(*video.Picture, error) bool) {
		var v *veil
		for p, err := range pictures {
			if err != nil {
				yield(nil, err)
				return
			}
			if v == nil || v.w != p.Width || v.h != p.Height {
				v = newVeil(p.Width, p.Height, areas, fill)
			}
			v.hide(p)
			if !yield(p, nil) {
				return
			}
		}
	}
}

// strip leaves only pictures in a chunk, and sound if it is wanted.
func (s *Settings) strip(c *schemas.Chunk) {
	keep := func(track uint8) bool {
		return track == schemas.VideoTrack || s.Audio && track == schemas.AudioTrack
	}
	c.Tracks = slices.DeleteFunc(slices.Clone(c.Tracks), func(t schemas.Track) bool { return !keep(t.ID) })
	c.Runs = slices.DeleteFunc(slices.Clone(c.Runs), func(r schemas.Run) bool { return !keep(r.Track) })
}
