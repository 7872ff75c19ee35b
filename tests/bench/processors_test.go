package bench

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/oracle/hlscheck"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// Two numbers of processors in a whole Framelog.
const (
	variantName    = "added delay of a variant"
	idleMotionName = "motion on cameras without footage"
	idleCameras    = 100
)

// BenchmarkProcessors prints how much later than raw a transcoded variant has the same
// part in its playlist, and what a processor costs that has nothing to do.
func BenchmarkProcessors(b *testing.B) {
	only, err := regexp.Compile(*flags.only)
	if err != nil {
		b.Fatal(err)
	}
	fmt.Printf("\n%s\n", machine())
	if only.MatchString(variantName) {
		b.Run("variant", variantDelay)
	}
	if only.MatchString(idleMotionName) {
		b.Run("idle", idleMotion)
	}
	b.ReportMetric(0, "ns/op")
}

// variantDelay: two viewers ask for each part before it is there, as low-latency players do.
func variantDelay(b *testing.B) {
	c := startCameras(b, 1, bitrate)
	f := testenv.Up(b, testenv.UpOptions{Config: configOf(c, "on_demand") +
		"processors:\n  - name: transcode\n    settings: {ladder: [{name: 360p, height: 360, bitrate: 600k}]}\n"})
	base := f.URL + "/hls/" + cameraID(0) + "/"
	f.Wait(b, time.Minute, "the variant is listed", func() bool {
		status, body, err := f.Get(b, "/hls/"+cameraID(0)+"/index.m3u8")
		return err == nil && status == http.StatusOK && strings.Contains(string(body), "360p.m3u8")
	})
	until := time.Now().Add(*flags.warm + *flags.seconds)
	var raw, variant map[string]time.Time
	var wg sync.WaitGroup
	wg.Go(func() { raw = partTimes(b, base+"raw.m3u8", until) })
	wg.Go(func() { variant = partTimes(b, base+"360p.m3u8", until) })
	wg.Wait()
	var added []float64
	for part, at := range variant {
		if first, ok := raw[part]; ok {
			added = append(added, float64(at.Sub(first))/float64(time.Millisecond))
		}
	}
	if len(added) < 10 {
		b.Fatalf("%d parts of raw and %d of the variant, %d of them the same", len(raw), len(variant), len(added))
	}
	slices.Sort(added)
	fmt.Printf("%-44s p50 %.0f ms, p99 %.0f ms, of %d parts     aim < 300 ms and the encoder's own\n", variantName, median(added), added[len(added)*99/100], len(added))
}

var partName = regexp.MustCompile(`(\d+)\.\d+\.(\d+)\.m4s$`)

// partTimes returns when each part was first listed, by its seq and index.
func partTimes(b *testing.B, playlist string, until time.Time) map[string]time.Time {
	times, query := map[string]time.Time{}, ""
	for time.Now().Before(until) {
		status, body, err := testenv.Get(b, playlist+query)
		at := time.Now()
		if err != nil || status != http.StatusOK {
			b.Errorf("get %s%s: %d, %v", playlist, query, status, err)
			return times
		}
		m, err := hlscheck.ParseMedia(string(body))
		if err != nil {
			b.Error(err)
			return times
		}
		for _, s := range append(slices.Clone(m.Segments), m.Open) {
			for _, p := range s.Parts {
				name := partName.FindStringSubmatch(p.URI)
				if key := strings.Join(name[1:], "."); times[key].IsZero() && query != "" {
					times[key] = at
				}
			}
		}
		query = fmt.Sprintf("?_HLS_msn=%d&_HLS_part=%d", m.Open.Seq, len(m.Open.Parts))
	}
	return times
}

// idleMotion: cameras that cannot be reached. The processor waits for the footage of all.
func idleMotion(b *testing.B) {
	urls := map[string]string{}
	for i := range idleCameras {
		urls["idle-"+strconv.Itoa(i)] = "rtsp://127.0.0.1:9/none"
	}
	f := testenv.Up(b, testenv.UpOptions{Config: system.Cameras(urls) + "processors:\n  - name: motion\n"})
	b.Cleanup(func() { _ = os.RemoveAll(f.Data) })
	f.Wait(b, time.Minute, "all cameras are known", func() bool {
		all, err := system.Statuses(b, f.URL)
		return err == nil && len(all) == idleCameras
	})
	time.Sleep(*flags.warm)
	pids := map[string][]int{"process": f.Children()["process"]}
	if len(pids["process"]) != 1 {
		b.Fatalf("no process of motion among %v", f.Children())
	}
	before := takeUsage(b, pids, os.Getpid())
	time.Sleep(*flags.seconds)
	s := newSample(b, before, takeUsage(b, pids, os.Getpid()))
	fmt.Printf("%-44s %.4f cores, %.0f MB, of %d cameras\n", idleMotionName, s.Cores["process"], float64(s.PSS["process"])/1e6, idleCameras)
}
