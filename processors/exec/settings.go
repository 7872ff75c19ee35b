package exec

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	osexec "os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/video"
	"github.com/framelog/framelog/schemas"
)

// Settings are the settings of a processor that runs a program. The zero value of each
// field but Command means its default.
type Settings struct {
	Command      []string      `yaml:"command" default:"" doc:"The program and its arguments. Needed."`
	Mode         string        `yaml:"mode" default:"pictures" oneof:"pictures,encoded" doc:"What the program gets: decoded pictures, or the chunks as the camera encoded them."`
	Size         string        `yaml:"size" default:"" doc:"Size of the pictures, such as 640x360. 640x0 and 0x360 keep the camera's shape. Empty: as the camera's."`
	FPS          float64       `yaml:"fps" default:"0" min:"0" max:"240" doc:"Pictures a second. 0: all."`
	Format       string        `yaml:"format" default:"BGR" oneof:"BGR,RGB,Gray8,I420" doc:"Format of the pixels. OpenCV wants BGR."`
	Children     int           `yaml:"children" default:"1" min:"1" max:"64" doc:"How many processes of the program work at the same time, each on a fragment of its own."`
	Output       string        `yaml:"output" default:"none" oneof:"none,variant,alternative" doc:"Whether the program gives pictures too, and the role of their rendition."`
	OutputName   string        `yaml:"output_name" default:"" doc:"Name of that rendition. Empty: the processor's name and -video."`
	Bitrate      string        `yaml:"bitrate" default:"" doc:"Bits a second of that rendition, such as 800k or 2M. Empty: as suits its size."`
	StartTimeout time.Duration `yaml:"start_timeout" default:"60s" min:"1s" doc:"How long the program may take to be ready, such as to load a model."`
	Timeout      time.Duration `yaml:"timeout" default:"30s" min:"100ms" doc:"How long the program may neither read nor answer before it counts as hung and is killed."`

	// Log gets what happens to the program, and what it prints. Default: slog.Default().
	Log *slog.Logger `yaml:"-"`
	// Registerer gets the metrics, with the label processor. May be nil.
	Registerer prometheus.Registerer `yaml:"-"`
}

// The values of Settings.Mode and Settings.Output.
const (
	modePictures = "pictures"
	modeEncoded  = "encoded"
	outputNone   = "none"
)

// setting makes an error of New.
func setting(key, remedy, format string, args ...any) error {
	return fmt.Errorf("exec: %s: %s; %s", key, fmt.Sprintf(format, args...), remedy)
}

// options are the settings, read.
type options struct {
	Settings
	name          string
	path          string // of the program
	width, height int
	rendition     processors.Rendition // of the program's pictures
	bitrate       int
}

func (s Settings) options(name string) (*options, error) {
	s.Mode = cmp.Or(s.Mode, modePictures)
	s.Format = cmp.Or(s.Format, string(video.BGR))
	s.Children = cmp.Or(s.Children, 1)
	s.Output = cmp.Or(s.Output, outputNone)
	s.StartTimeout = cmp.Or(s.StartTimeout, 60*time.Second)
	s.Timeout = cmp.Or(s.Timeout, 30*time.Second)
	s.Log = cmp.Or(s.Log, slog.Default())
	o := &options{Settings: s, name: name}
	if len(s.Command) == 0 || s.Command[0] == "" {
		return nil, setting("command", "name the program and its arguments", "it is empty")
	}
	var err error
	if o.path, err = osexec.LookPath(s.Command[0]); err != nil {
		return nil, setting("command", "install it, or give its full path", "%q is not a program that can be run: %v", s.Command[0], errors.Unwrap(err))
	}
	if o.width, o.height, err = parseSize(s.Size); err != nil {
		return nil, err
	}
	if o.bitrate, err = parseBitrate(s.Bitrate); err != nil {
		return nil, err
	}
	return o, cmp.Or(o.checkValues(), o.checkOutput())
}

func (o *options) checkValues() error {
	switch {
	case o.Mode != modePictures && o.Mode != modeEncoded:
		return setting("mode", "want pictures or encoded", "%q is no mode", o.Mode)
	case video.Format(o.Format).Bytes(1, 1) == 0:
		return setting("format", "want BGR, RGB, Gray8 or I420", "%q is no format", o.Format)
	case o.FPS < 0 || o.FPS > 240:
		return setting("fps", "want 0 to 240", "%v is out of range", o.FPS)
	case o.Children < 1 || o.Children > 64:
		return setting("children", "want 1 to 64", "%d is out of range", o.Children)
	}
	return nil
}

func (o *options) checkOutput() error {
	o.rendition.Name = cmp.Or(o.OutputName, o.name+"-video")
	switch o.Output {
	case outputNone:
		if o.OutputName != "" || o.Bitrate != "" {
			return setting("output", "set it to variant or alternative, or leave output_name and bitrate out", "the program gives no pictures")
		}
		return nil
	case "variant":
		o.rendition.Role = schemas.RoleVariant
	case "alternative":
		o.rendition.Role = schemas.RoleAlternative
	default:
		return setting("output", "want none, variant or alternative", "%q is no output", o.Output)
	}
	if o.Mode == modeEncoded {
		return setting("output", "use the mode pictures", "a program that gets encoded chunks cannot give pictures")
	}
	return nil
}

// video is the pictures that the program gets.
func (o *options) video() video.Options {
	return video.Options{Width: o.width, Height: o.height, FPS: o.FPS, Format: video.Format(o.Format)}
}

func parseSize(s string) (width, height int, err error) {
	if s == "" {
		return 0, 0, nil
	}
	w, h, ok := strings.Cut(s, "x")
	width, err1 := strconv.Atoi(w)
	height, err2 := strconv.Atoi(h)
	const most = 8192
	if !ok || err1 != nil || err2 != nil || width < 0 || height < 0 || width > most || height > most || width+height == 0 {
		return 0, 0, setting("size", fmt.Sprintf("want width and height in pixels up to %d, such as 640x360", most), "%q is no size", s)
	}
	return width, height, nil
}

func parseBitrate(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	digits, unit := s, 1.0
	switch s[len(s)-1] {
	case 'k':
		digits, unit = s[:len(s)-1], 1e3
	case 'M':
		digits, unit = s[:len(s)-1], 1e6
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || !(n*unit >= 10e3 && n*unit <= 1e9) { // NaN is neither
		return 0, setting("bitrate", "want 10k to 1000M bits a second, such as 800k or 2M", "%q is no bitrate", s)
	}
	return int(n * unit), nil
}
