package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/motion"
	"github.com/framelog/framelog/processors/transcode"
	"github.com/framelog/framelog/processors/video"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

// work is what a processor of pictures does, and what others do instead.
type work struct {
	name   string
	ffmpeg []string // options between input and output
	gst    []string // elements behind the decoder
	own    func(ctx context.Context, f *processors.Fragment) error
}

// material is one clip, as a file and as fragments.
type material struct {
	path      string
	fragments []*processors.Fragment
	pictures  int
}

// Settings of x264 as ours.
const (
	x264Options = "threads=1:sliced-threads=0:rc-lookahead=0:sync-lookahead=0:bframes=0:scenecut=0:mbtree=0:force-cfr=1"
	x264Element = "x264enc threads=1 tune=zerolatency speed-preset=veryfast vbv-buf-capacity=500 bframes=0 option-string=scenecut=0"
)

func works(b *testing.B) []work {
	t, err := transcode.New("transcode", transcode.Settings{})
	if err != nil {
		b.Fatal(err)
	}
	m, err := motion.New("motion", motion.Settings{})
	if err != nil {
		b.Fatal(err)
	}
	encode := func(rate string) []string {
		return []string{"-c:v", "libx264", "-preset", "veryfast", "-x264-params", x264Options, "-b:v", rate, "-maxrate", rate, "-bufsize", rate, "-f", "null", "-"}
	}
	rung := func(height, kbits int) []string {
		return strings.Fields(fmt.Sprintf("t. ! queue ! videoconvertscale method=bilinear2 ! video/x-raw,width=%d,height=%d ! %s bitrate=%d key-int-max=%d ! fakesink",
			height*16/9, height, x264Element, kbits, fps*int(gop/time.Second)))
	}
	return []work{
		{
			name:   "decode to Gray8 at 640x360",
			ffmpeg: []string{"-vf", "scale=640:360:flags=bilinear,format=gray", "-f", "null", "-"},
			gst:    strings.Fields("videoconvertscale method=bilinear2 ! video/x-raw,format=GRAY8,width=640,height=360 ! fakesink sync=false"),
			own: func(ctx context.Context, f *processors.Fragment) error {
				for _, err := range video.Pictures(ctx, f, video.Options{Format: video.Gray8, Width: 640, Hardware: "software"}) {
					if err != nil {
						return err
					}
				}
				return nil
			},
		},
		{
			name:   "motion, of 5 pictures/s",
			ffmpeg: []string{"-vf", fmt.Sprintf("fps=5,scale=%d:-1:flags=bilinear,format=gray", motion.Width), "-f", "null", "-"},
			gst: strings.Fields(fmt.Sprintf("videorate drop-only=true ! video/x-raw,framerate=5/1 ! videoconvertscale method=bilinear2 ! video/x-raw,format=GRAY8,width=%d,height=%d ! fakesink sync=false",
				motion.Width, motion.Width*9/16)),
			own: func(ctx context.Context, f *processors.Fragment) error {
				_, err := m.Collect(ctx, f)
				return err
			},
		},
		{
			name: "transcode to 720p and 360p",
			ffmpeg: slices.Concat([]string{"-filter_complex", "[0:v]split[a][b];[a]scale=1280:720:flags=bilinear[c];[b]scale=640:360:flags=bilinear[d]", "-map", "[c]"},
				encode("2000k"), []string{"-map", "[d]"}, encode("600k")),
			gst: slices.Concat([]string{"tee", "name=t"}, rung(720, 2000), rung(360, 600)),
			own: func(ctx context.Context, f *processors.Fragment) error {
				_, err := t.Collect(ctx, f)
				return err
			},
		},
	}
}

// BenchmarkVideo compares pictures a second of processors with those of ffmpeg and
// GStreamer, each with all cores of the machine. Processors work on several fragments at
// once, as they do when they are behind.
func BenchmarkVideo(b *testing.B) {
	only, err := regexp.Compile(*flags.only)
	if err != nil {
		b.Fatal(err)
	}
	c := newMaterial(b)
	fmt.Printf("\n%s\n%d pictures of %s, %.1f Mbit/s H.264; medians of %d\n\n%-44s %10s %14s\n", machine(), c.pictures, size, float64(bitrate)/1e6, *flags.rounds,
		"", "pictures/s", "CPU ms/picture")
	for _, w := range works(b) {
		if !only.MatchString(w.name) {
			continue
		}
		speeds := map[string][]float64{}
		who := []string{"ffmpeg", "gst-launch", "Framelog"}
		costs := map[string][]float64{}
		for range *flags.rounds {
			for _, name := range who {
				speed, cost := c.run(b, w, name)
				speeds[name], costs[name] = append(speeds[name], speed), append(costs[name], cost)
			}
			slices.Reverse(who)
		}
		slices.Sort(who)
		for _, name := range who {
			fmt.Printf("%-44s %10.0f %14.2f\n", w.name+", "+name, median(speeds[name]), median(costs[name]))
		}
		for _, name := range []string{"ffmpeg", "gst-launch"} {
			atLeast(os.Stdout, w.name+", Framelog / "+name, median(speeds["Framelog"])/median(speeds[name]), 0.9)
		}
	}
	b.ReportMetric(0, "ns/op")
}

// atLeast prints a number and its goal.
func atLeast(w io.Writer, what string, v, aim float64) {
	verdict := "met"
	if v < aim {
		verdict = "missed"
	}
	fmt.Fprintf(w, "%-64s %8.2f     aim %g: %s\n", what, v, aim, verdict)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func newMaterial(b *testing.B) *material {
	c := &material{path: clip(b, bitrate)}
	copied := testmedia.CopyClip(b, c.path)
	for _, f := range copied.Fragments(testmedia.Place{Seq: 1, Session: 1, Layout: testmedia.Layout, Start: testmedia.Start}, 6) {
		c.fragments = append(c.fragments, processors.NewFragment("bench", f.Entry, f.Chunks...))
	}
	c.pictures = len(copied.Samples[schemas.VideoTrack])
	return c
}

// run returns pictures a second, and CPU time a picture in ms.
func (c *material) run(b *testing.B, w work, name string) (speed, cost float64) {
	b.Helper()
	before, start := testenv.CPU(b), time.Now()
	switch name {
	case "ffmpeg":
		c.command(b, "ffmpeg", "ffmpeg", slices.Concat([]string{"-nostdin", "-loglevel", "error", "-i", c.path}, w.ffmpeg))
	case "gst-launch":
		c.command(b, "gst-launch-1.0", "gstreamer1.0-tools", slices.Concat(
			[]string{"-q", "filesrc", "location=" + c.path, "!", "qtdemux", "!", "h264parse", "!", "avdec_h264", "!"}, w.gst))
	default:
		c.own(b, w)
	}
	took, cpu := time.Since(start), testenv.CPU(b)-before
	return float64(c.pictures) / took.Seconds(), float64(cpu.Microseconds()) / 1000 / float64(c.pictures)
}

func (c *material) command(b *testing.B, bin, debian string, args []string) {
	b.Helper()
	if out, err := exec.CommandContext(b.Context(), testenv.Tool(b, bin, debian), args...).CombinedOutput(); err != nil {
		b.Fatalf("%s: %v\n%s", bin, err, out)
	}
}

// own works on as many fragments at once as there are cores.
func (c *material) own(b *testing.B, w work) {
	b.Helper()
	todo := make(chan *processors.Fragment)
	var wg sync.WaitGroup
	for range runtime.NumCPU() {
		wg.Go(func() {
			for f := range todo {
				if err := w.own(b.Context(), f); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for _, f := range c.fragments {
		todo <- f
	}
	close(todo)
	wg.Wait()
}
