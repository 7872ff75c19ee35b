package rtsp_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/ingest/rtsp"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// Variables by which the benchmark starts its parts as processes of their own,
// so that CPU time is that of one part alone.
const (
	benchURLs  = "FRAMELOG_TEST_RTSP_URLS"
	benchKind  = "FRAMELOG_TEST_RTSP_ENGINE"
	benchServe = "FRAMELOG_TEST_RTSP_SERVE"
)

type count struct{ units, bytes atomic.Int64 }

func (*count) Tracks([]schemas.Track) error { return nil }
func (*count) Tick(time.Time) error         { return nil }

func (c *count) Unit(u ingest.Unit) error {
	c.units.Add(1)
	c.bytes.Add(int64(len(u.Data)))
	return nil
}

// cpu is the CPU time of this process.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAgainstGStreamer prints the CPU time a second of 16 cameras of
// 1080p30 at 4 Mbit/s, through this source with either engine and through gst-launch's
// rtspsrc ! depay ! parse ! fakesink, one after the other.
func BenchmarkAgainstGStreamer(b *testing.B) {
	const cameras, warm, span = 16, 2 * time.Second, 10 * time.Second
	if path := os.Getenv(benchServe); path != "" {
		serve(b, path, cameras)
		return
	}
	if urls := os.Getenv(benchURLs); urls != "" {
		receive(b, os.Getenv(benchKind), strings.Fields(urls), warm, span)
		return
	}
	if testing.Short() {
		b.Skip("takes half a minute")
	}
	path := testenv.Clip{Seconds: 10, Size: "1920x1080", KBits: 4000}.File(b)
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	child := func(env ...string) *exec.Cmd {
		cmd := exec.Command(self, "-test.run=^$", "-test.bench=BenchmarkAgainstGStreamer", "-test.benchtime=1x")
		cmd.Env = append(os.Environ(), env...)
		return cmd
	}
	srv := testenv.Start(b, "cameras", child(benchServe+"="+path))
	var urls string
	testenv.Wait(b, 20*time.Second, "the cameras", func() bool {
		_, rest, ok := strings.Cut(srv.Log.String(), "URLS ")
		line, _, whole := strings.Cut(rest, "\n")
		urls = line
		return ok && whole
	})
	for b.Loop() {
		ours := map[string]float64{}
		for _, engine := range []string{rtsp.EngineGStreamer, rtsp.EngineNative} {
			out, err := child(benchURLs+"="+urls, benchKind+"="+engine).CombinedOutput()
			if err != nil {
				b.Fatalf("%v\n%s", err, out)
			}
			_, rest, _ := strings.Cut(string(out), "CPU ")
			if ours[engine], err = strconv.ParseFloat(strings.Fields(rest + " -")[0], 64); err != nil {
				b.Fatalf("%s", out)
			}
		}
		args := []string{"-q"}
		for _, u := range strings.Fields(urls) {
			args = append(args, "rtspsrc", "location="+u, "protocols=tcp", "latency=0", "!",
				"rtph264depay", "!", "h264parse", "config-interval=-1", "!",
				"video/x-h264,stream-format=avc,alignment=au", "!", "fakesink", "sync=false", "async=false")
		}
		gst := testenv.Start(b, "gst-launch", exec.Command("gst-launch-1.0", args...))
		time.Sleep(warm)
		before := cpuOf(b, gst.PID())
		time.Sleep(span)
		theirs := (cpuOf(b, gst.PID()) - before).Seconds() / span.Seconds()
		gst.KillTree()
		for engine, used := range ours {
			b.ReportMetric(used*1000/cameras, engine+"-mcores/camera")
			b.ReportMetric(used/theirs, engine+"-ratio")
		}
		b.ReportMetric(theirs*1000/cameras, "gst-launch-mcores/camera")
	}
}

// cpuOf is the CPU time of another process, from /proc in ticks of 10 ms.
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	f := strings.Fields(rest)
	var sum int64
	for _, s := range f[11:13] {
		v, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += v
	}
	return time.Duration(sum) * 10 * time.Millisecond
}

func serve(b *testing.B, path string, cameras int) {
	feed, err := camsim.LoadMP4(path)
	if err != nil {
		b.Fatal(err)
	}
	var cfg camsim.Config
	for i := range cameras {
		cfg.Cameras = append(cfg.Cameras, camsim.CameraConfig{Path: fmt.Sprint(i), Feed: feed.With(true, 1), SentLimit: 1})
	}
	srv, err := camsim.Start(context.Background(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	urls := ""
	for i := range cameras {
		urls += srv.URL(fmt.Sprint(i)) + " "
	}
	fmt.Println("URLS " + urls)
	select {} // until the parent kills it
}

func receive(b *testing.B, engine string, urls []string, warm, span time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	var c count
	done := make(chan error, len(urls))
	for _, u := range urls {
		go func() { done <- rtsp.New(rtsp.Config{URL: fixed(b, u), Engine: engine}).Run(ctx, &c) }()
	}
	time.Sleep(warm)
	used, units := cpu(), c.units.Load()
	time.Sleep(span)
	fmt.Printf("CPU %.4f cores, %d units\n", (cpu()-used).Seconds()/span.Seconds(), c.units.Load()-units)
	cancel()
	for range urls {
		<-done
	}
}
