package testenv

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// flashes is a source of pictures that are white for the first fifth of each
// second, else black; beeps is one of a tone of 1 kHz in the same fifths.
const (
	flashes = "color=black:size=320x240:rate=25:duration=%[1]d,drawbox=color=white:t=fill:enable='lt(mod(n,25),5)'"
	beeps   = "aevalsrc='if(lt(mod(t,1),0.2),0.5*sin(2*PI*1000*t),0)':s=48000:d=%[1]d"
)

// FlashAndBeep returns the path of a file of so many seconds. Each second begins
// with a flash of the picture (H.264, 25/s, GOPs of 1 s) and a beep of 1 kHz, both
// of 200 ms. The sound is raw.
func FlashAndBeep(t testing.TB, seconds int) string {
	t.Helper()
	return CachedFile(t, fmt.Sprintf("flash-%d.mov", seconds), func(path string) error {
		return FFmpeg(t, "-f", "lavfi", "-i", fmt.Sprintf(flashes, seconds), "-f", "lavfi", "-i", fmt.Sprintf(beeps, seconds),
			"-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-g", "25", "-c:a", "pcm_s16le", "-f", "mov", "-y", path)
	})
}

// Beep is the beep at one flash.
type Beep struct {
	After time.Duration // from the start of the flash to that of the beep; negative: the beep is early
	Hz    float64       // its frequency, in the middle
}

// Beeps decodes pictures and sound of a file or URL that is made of FlashAndBeep,
// and returns the beep at each flash. length is how much of it is decoded.
func Beeps(t testing.TB, input string, options []string, length time.Duration) []Beep {
	t.Helper()
	dir := t.TempDir()
	pictures, sound := filepath.Join(dir, "pictures"), filepath.Join(dir, "sound")
	args := append(append([]string{}, options...), "-i", input, "-t", fmt.Sprintf("%.3f", length.Seconds()),
		"-map", "0:v:0", "-vf", "scale=16:16,signalstats,metadata=print:key=lavfi.signalstats.YAVG:file="+pictures,
		"-map", "0:a:0", "-af", "aresample=48000,pan=mono|c0=c0,asetnsamples=n=240:p=0,astats=metadata=1:reset=1,ametadata=print:file="+sound,
		"-f", "null", "-")
	if out, err := ffmpeg(t, args...).CombinedOutput(); err != nil {
		t.Fatalf("testenv: decode %s: %v\n%s", input, err, out)
	}
	var shown, heard []float64 // in seconds: when flashes and beeps begin
	lit := true                // what lasts from the first frame on has no start
	for _, f := range frames(t, pictures) {
		on := f.values["lavfi.signalstats.YAVG"] > 100
		if on && !lit {
			shown = append(shown, f.time)
		}
		lit = on
	}
	loud := true
	tones := map[int][]float64{}
	for _, f := range frames(t, sound) {
		on := f.values["lavfi.astats.Overall.RMS_level"] > -30
		if on && !loud {
			heard = append(heard, f.time)
		}
		if n := len(heard); on && n > 0 && f.time-heard[n-1] > 0.03 && f.time-heard[n-1] < 0.15 {
			tones[n-1] = append(tones[n-1], f.values["lavfi.astats.1.Zero_crossings"]/2/0.005)
		}
		loud = on
	}
	var out []Beep
	for _, at := range shown {
		best := -1
		for i, h := range heard {
			if best < 0 || math.Abs(h-at) < math.Abs(heard[best]-at) {
				best = i
			}
		}
		if best < 0 {
			continue
		}
		b := Beep{After: time.Duration((heard[best] - at) * float64(time.Second))}
		for _, hz := range tones[best] {
			b.Hz += hz / float64(len(tones[best]))
		}
		out = append(out, b)
	}
	return out
}

// frame is what ffmpeg's metadata filter prints on one frame.
type frame struct {
	time   float64
	values map[string]float64
}

func frames(t testing.TB, file string) []frame {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	defer f.Close()
	var out []frame
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		if _, at, ok := strings.Cut(line, "pts_time:"); ok {
			v, _ := strconv.ParseFloat(strings.TrimSpace(at), 64)
			out = append(out, frame{time: v, values: map[string]float64{}})
		} else if key, text, ok := strings.Cut(line, "="); ok && len(out) > 0 {
			if v, err := strconv.ParseFloat(text, 64); err == nil {
				out[len(out)-1].values[key] = v
			}
		}
	}
	return out
}
