// Package bench measures Framelog, FFmpeg, GStreamer and, where there is one, MediaMTX on
// the same input (`make bench`): CPU time and memory of every process, delays, and how soon a browser
// shows a picture. It fails only if something did not do its work, never because of
// a number.
package bench

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/testenv"
)

// The input, and the segments that everything makes of it.
const (
	gop     = 2 * time.Second
	fps     = 30
	bitrate = 4_000_000
	size    = "1920x1080"
	length  = 20 * time.Second // of the clip, which loops
)

var flags = struct {
	cameras, rounds *int
	days, viewers   *int
	mbit            *float64
	seconds, warm   *time.Duration
	only, mediamtx  *string
	browser         *bool
}{
	flag.Int("cameras", 16, "how many cameras"),
	flag.Int("rounds", 3, "how often everything is measured; medians are printed"),
	flag.Int("days", 30, "how many days are in the archive"),
	flag.Int("viewers", 100, "how many viewers one camera has, where they are counted"),
	flag.Float64("mbit", bitrate/1e6, "what each camera of the whole path sends, in Mbit/s"),
	flag.Duration("seconds", 30*time.Second, "how long each measurement is"),
	flag.Duration("warm", 12*time.Second, "how long everything runs before it is measured"),
	flag.String("only", "", "regular expression over the names of what is measured"),
	flag.String("mediamtx", "", "path to a MediaMTX, which is then measured too"),
	flag.Bool("browser", true, "also measure in Chromium, where it is installed"),
}

func TestMain(m *testing.M) {
	if os.Getenv(standInVariable) != "" {
		if err := standIn(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if file := os.Getenv(serveVariable); file != "" {
		if err := serve(file, os.Getenv(serveCount)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	os.Exit(m.Run())
}

// subject is one thing to measure: start starts it for all cameras and returns
// when they are being recorded.
type subject struct {
	name    string
	start   func(b *testing.B, c *cameras) running
	cameras int // 0: all
}

// running is a started subject.
type running interface {
	// processes are the ids of its processes by role.
	processes() map[string][]int
	// segments returns how many segments it has made so far for all cameras
	// together; -1 if it makes none.
	segments(b *testing.B) int
	// begin and end are called right before and after the measured time.
	begin(b *testing.B)
	end(b *testing.B, s *sample)
	stop()
}

func subjects() []subject {
	all := []subject{
		{name: ffmpegName, start: startFFmpeg},
		{name: gstHLSName, start: startGstHLS},
		{name: gstSinkName, start: startGstSink},
		{name: alwaysName, start: startAlways},
		{name: idleName, start: startIdle},
		{name: watchedName, start: startWatched},
		{name: nativeAlwaysName, start: startNativeAlways},
		{name: nativeIdleName, start: startNativeIdle},
		{name: socketName, start: startSocket},
		{name: socketFineName, start: startSocketFine},
		{name: crowdSocketName, start: startCrowdOverSocket, cameras: 1},
		{name: crowdHLSName, start: startCrowdOverHLS, cameras: 1},
	}
	if *flags.mediamtx != "" {
		all = append(all,
			subject{name: mtxAlwaysName, start: startMediaMTXAlways},
			subject{name: mtxIdleName, start: startMediaMTXIdle},
			subject{name: mtxCrowdName, start: startMediaMTXCrowd, cameras: 1})
	}
	return all
}

// BenchmarkFramelog measures all subjects. Rounds alternate the order, so that
// other work on the machine and its temperature affect all alike.
func BenchmarkFramelog(b *testing.B) {
	only, err := regexp.Compile(*flags.only)
	if err != nil {
		b.Fatal(err)
	}
	all := slices.DeleteFunc(subjects(), func(s subject) bool { return !only.MatchString(s.name) })
	c := startCameras(b, *flags.cameras, int(*flags.mbit*1e6))
	r := &results{
		Cameras: c.n, Seconds: flags.seconds.Seconds(), Rounds: *flags.rounds, Machine: machine(),
		Input: fmt.Sprintf("%s, %d frames/s, %.1f Mbit/s H.264, GOP of %v", size, fps, float64(c.bits)/1e6, gop),
	}
	for round := range *flags.rounds {
		for _, s := range all {
			fmt.Fprintf(os.Stderr, "bench: round %d of %d: %s\n", round+1, *flags.rounds, s.name)
			r.Samples = append(r.Samples, measure(b, s, c, round))
		}
		slices.Reverse(all)
	}
	if *flags.browser && only.MatchString(browserName) {
		b.Run("browser", func(b *testing.B) { r.Browser = browser(b, c) })
	}
	r.print(os.Stdout)
	r.save(b)
	b.ReportMetric(0, "ns/op")
}

// measure runs one subject once.
func measure(b *testing.B, s subject, c *cameras, round int) *sample {
	b.Helper()
	if s.cameras > 0 {
		c = c.first(s.cameras)
	}
	run := s.start(b, c)
	defer run.stop()
	time.Sleep(*flags.warm) // the subjects must have run for a while
	segments, lost := run.segments(b), c.overflows(b)
	run.begin(b)
	before := takeUsage(b, run.processes(), c.pid)
	time.Sleep(*flags.seconds)
	after := takeUsage(b, run.processes(), c.pid)
	out := newSample(b, before, after)
	out.Subject, out.Round = s.name, round
	run.end(b, out)
	out.Lost = c.overflows(b) - lost
	if segments >= 0 {
		out.Segments = run.segments(b) - segments
		// A segment may end at either edge, and the loop's end may cut one.
		if least := c.n * (int(*flags.seconds/gop) - 1); out.Segments < least {
			b.Errorf("%s made %d segments where %d were due: its numbers mean nothing", s.name, out.Segments, least)
		}
	}
	return out
}

// clip returns the file that all cameras send, with so many bits a second.
func clip(b *testing.B, bits int) string {
	b.Helper()
	return testenv.Clip{
		Seconds: int(length / time.Second), Size: size, FPS: fps, GOP: int(gop/time.Second) * fps, KBits: bits / 1000,
	}.File(b)
}
