// Package motion is a processor that tells where something moves: events, and boxes in
// the picture. It sees one fragment. Something that goes on moving in the next fragment
// is another event there.
package motion

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/video"
	"github.com/framelog/framelog/schemas"
)

// EventType is the type of the processor's events. Their value is the largest part of
// the picture, 0 to 1, that moved at a time.
const EventType = "motion"

// Settings of the processor. A zero value means the default.
type Settings struct {
	FPS         float64           `yaml:"fps" default:"5" min:"2" max:"30" doc:"How many pictures a second are looked at."`
	Sensitivity float64           `yaml:"sensitivity" default:"0.5" min:"0.01" max:"1" doc:"How little contrast is enough: near 0 only strong contrast, 1 hardly more than the noise of the picture."`
	MinArea     float64           `yaml:"min_area" default:"0.002" max:"1" doc:"The smallest thing that counts, as a part of the picture."`
	Masks       []Area            `yaml:"masks" doc:"Parts of the picture that are left out."`
	Cameras     map[string]Camera `yaml:"cameras" doc:"Other values for single cameras, by id. What an entry leaves out is as above."`
}

// Camera is the settings of one camera. A zero value means that of Settings.
type Camera struct {
	Sensitivity float64 `yaml:"sensitivity" max:"1" doc:"As above."`
	MinArea     float64 `yaml:"min_area" max:"1" doc:"As above."`
	Masks       []Area  `yaml:"masks" doc:"Instead of the masks above."`
}

// defaults of Settings.
const (
	defaultFPS         = 5
	defaultSensitivity = 0.5
	defaultMinArea     = 0.002
)

// New makes the processor. Its output is a rendition of data with its name. Errors name
// the key that is wrong.
func New(name string, s Settings) (processors.Processor, error) {
	if err := s.check(); err != nil {
		return processors.Processor{}, fmt.Errorf("motion: %w", err)
	}
	m := &motion{fps: cmp.Or(s.FPS, defaultFPS), all: Camera{s.Sensitivity, s.MinArea, s.Masks}.over(Camera{}), cameras: map[string]Camera{}}
	for id, c := range s.Cameras {
		m.cameras[id] = c.over(m.all)
	}
	return processors.Processor{Name: name, Version: "1", Process: m.process, Outputs: []processors.Rendition{processors.Data(name)}}, nil
}

func (s *Settings) check() error {
	if s.FPS != 0 && !(s.FPS >= 2 && s.FPS <= 30) {
		return fmt.Errorf("fps: %g; give 2 to 30 pictures a second", s.FPS)
	}
	if err := (Camera{s.Sensitivity, s.MinArea, s.Masks}).check(""); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(s.Cameras)) {
		if err := s.Cameras[id].check("cameras." + id + "."); err != nil {
			return err
		}
	}
	return nil
}

func (c Camera) check(prefix string) error {
	if !(c.Sensitivity >= 0 && c.Sensitivity <= 1) {
		return fmt.Errorf("%ssensitivity: %g; give 0 to 1 (0 means the default %g)", prefix, c.Sensitivity, defaultSensitivity)
	}
	if !(c.MinArea >= 0 && c.MinArea <= 1) {
		return fmt.Errorf("%smin_area: %g; give a part of the picture, 0 to 1 (0 means the default %g)", prefix, c.MinArea, defaultMinArea)
	}
	for i := range c.Masks {
		if err := c.Masks[i].Check(); err != nil {
			return fmt.Errorf("%smasks[%d]: %w", prefix, i, err)
		}
	}
	return nil
}

// over returns c with the values of d, or else the defaults, where c has none.
func (c Camera) over(d Camera) Camera {
	c.Sensitivity = cmp.Or(c.Sensitivity, d.Sensitivity, defaultSensitivity)
	c.MinArea = cmp.Or(c.MinArea, d.MinArea, defaultMinArea)
	if c.Masks == nil {
		c.Masks = d.Masks
	}
	return c
}

type motion struct {
	fps     float64
	all     Camera
	cameras map[string]Camera // all values are set
}

func (m *motion) process(ctx context.Context, in *processors.Fragment, out *processors.Output) error {
	if in.Video() == nil {
		return nil // sound alone
	}
	c, ok := m.cameras[in.Camera]
	if !ok {
		c = m.all
	}
	d := NewDetector(c)
	for p, err := range video.Pictures(ctx, in, video.Options{Width: Width, FPS: m.fps, Format: video.Gray8}) {
		if err != nil {
			return err
		}
		if err := d.Add(p); err != nil {
			return err
		}
	}
	e, err := in.Entry(ctx)
	if err != nil {
		return err
	}
	f := d.Found(in.Media, e.MediaEnd())
	for _, s := range f.Spans {
		event := schemas.Event{Type: EventType, Start: in.Time(s.Start), End: in.Time(s.End), Value: s.Peak, Boxes: s.Boxes}
		if err := out.Event(ctx, event); err != nil {
			return err
		}
	}
	for _, p := range f.Pictures {
		if err := out.Data(p.Start, p.End-p.Start, schemas.Data{Boxes: p.Boxes, Score: p.Score}); err != nil {
			return err
		}
	}
	return nil
}
