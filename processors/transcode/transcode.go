// Package transcode is the processor that makes variants of a camera in H.264: smaller ones,
// and ones of H.265 and MJPEG that any browser plays.
package transcode

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/video"
)

// Settings of the processor.
type Settings struct {
	Ladder   []Rung `yaml:"ladder" doc:"The variants. Empty: 720p with 2M and 360p with 600k."`
	Hardware string `yaml:"hardware" default:"" oneof:",software,va,vaapi,nvidia,v4l2" doc:"What decodes and encodes: a kind of hardware, or software. Empty: any hardware that GStreamer has, else software."`
}

// Rung is one variant. It has the shape of the source, and is never larger.
type Rung struct {
	Name    string  `yaml:"name" doc:"Name of the rendition, as 720p."`
	Width   int     `yaml:"width" default:"0" min:"0" max:"8192" doc:"Width in pixels. 0: it follows from the height."`
	Height  int     `yaml:"height" default:"0" min:"0" max:"8192" doc:"Height in pixels. 0: it follows from the width; if that is 0 too, the pictures keep their size."`
	Bitrate Bitrate `yaml:"bitrate" default:"0" min:"0" max:"100M" doc:"Bits a second of its pictures: 600k, 2M. 0: a tenth of a bit a pixel."`
	FPS     float64 `yaml:"fps" default:"0" min:"0" max:"120" doc:"Most pictures a second. 0: as many as the source has."`
}

// ladder is the default of Settings.Ladder.
var ladder = []Rung{
	{Name: "720p", Height: 720, Bitrate: 2_000_000},
	{Name: "360p", Height: 360, Bitrate: 600_000},
}

// minBitrate is the lowest bit rate: with less, hardly anything can be seen.
const minBitrate = 10_000

// New returns the processor. Its outputs are renditions of role variant, one a rung.
// Fragments without pictures are left out. Errors: wrong settings.
func New(name string, s Settings) (processors.Processor, error) {
	if len(s.Ladder) == 0 {
		s.Ladder = ladder
	}
	t := transcoder{hardware: s.Hardware}
	p := processors.Processor{Name: name, Version: "1"}
	if err := video.CheckHardware(s.Hardware); err != nil {
		return p, fmt.Errorf("hardware: %w", err)
	}
	seen := map[string]bool{}
	for i, r := range s.Ladder {
		key := fmt.Sprintf("ladder[%d]", i)
		switch {
		case r.Name == "":
			return p, fmt.Errorf("%s.name: it is missing; name the rendition, as 720p", key)
		case seen[r.Name]:
			return p, fmt.Errorf("%s.name: %q is the name of another rung too; choose another one", key, r.Name)
		case r.Bitrate != 0 && r.Bitrate < minBitrate:
			return p, fmt.Errorf("%s.bitrate: %s bit/s is too little; choose at least 10k, or 0", key, r.Bitrate)
		}
		seen[r.Name] = true
		p.Outputs = append(p.Outputs, processors.Variant(r.Name))
		t.encodings = append(t.encodings, video.Encoding{
			Width: r.Width, Height: r.Height, Bitrate: int(r.Bitrate), FPS: r.FPS, Hardware: s.Hardware,
		})
	}
	t.outputs = p.Outputs
	p.Process = t.process
	return p, nil
}

type transcoder struct {
	hardware  string
	encodings []video.Encoding
	outputs   []processors.Rendition
}

func (t transcoder) process(ctx context.Context, in *processors.Fragment, out *processors.Output) error {
	if in.Video() == nil {
		return nil
	}
	for e, err := range video.Transcode(ctx, in, t.hardware, t.encodings...) {
		if err != nil {
			return err
		}
		if err := out.WriteTo(ctx, t.outputs[e.Encoding].Name, e.Chunk); err != nil {
			return err
		}
	}
	return nil
}

// Bitrate is a number of bits a second: "600k", "2M", "1500000".
type Bitrate int

var errBitrate = errors.New("want bits a second, as 600k or 2M")

// UnmarshalText reads a bit rate.
func (b *Bitrate) UnmarshalText(text []byte) error {
	s, unit := strings.TrimSpace(string(text)), 1.0
	if n := len(s); n > 0 {
		switch s[n-1] {
		case 'k', 'K':
			s, unit = s[:n-1], 1e3
		case 'M':
			s, unit = s[:n-1], 1e6
		}
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v >= 0 && v*unit <= 1e12) { // NaN is neither
		return errBitrate
	}
	*b = Bitrate(v * unit)
	return nil
}

// String returns the bit rate as it is read.
func (b Bitrate) String() string {
	switch {
	case b > 0 && b%1e6 == 0:
		return strconv.Itoa(int(b/1e6)) + "M"
	case b > 0 && b%1e3 == 0:
		return strconv.Itoa(int(b/1e3)) + "k"
	}
	return strconv.Itoa(int(b))
}

// MarshalText writes a bit rate as it is read.
func (b Bitrate) MarshalText() ([]byte, error) { return []byte(b.String()), nil }
