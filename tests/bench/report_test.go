package bench

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/framelog/framelog/tests/testenv"
)

// results are all that a run has measured.
type results struct {
	Machine string      `json:"machine"`
	Input   string      `json:"input"`
	Cameras int         `json:"cameras"`
	Seconds float64     `json:"seconds"`
	Rounds  int         `json:"rounds"`
	Samples []*sample   `json:"samples"`
	Browser []*watching `json:"browser,omitempty"`
}

// of applies f to a subject's samples. It returns the median and, if there are
// several, their range.
func (r *results) of(subject string, f func(s *sample) float64) (median, low, high float64, ok bool) {
	var v []float64
	for _, s := range r.Samples {
		if s.Subject == subject {
			v = append(v, f(s))
		}
	}
	if len(v) == 0 {
		return 0, 0, 0, false
	}
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2, v[0], v[len(v)-1], true
}

func (r *results) roles(subject string) []string {
	for _, s := range r.Samples {
		if s.Subject == subject {
			return slices.Sorted(maps.Keys(s.Cores))
		}
	}
	return nil
}

func (r *results) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n%d cameras: %s; %.0f s each, medians of %d\n\n", r.Machine, r.Cameras, r.Input, r.Seconds, r.Rounds)
	fmt.Fprintf(w, "%-52s %7s %15s %8s %8s %8s %7s\n", "", "cores", "lowest-highest", "PSS MB", "MB/cam", "others", "lost")
	for _, sub := range subjects() {
		cores, low, high, ok := r.of(sub.name, (*sample).cores)
		if !ok {
			continue
		}
		pss, _, _, _ := r.of(sub.name, func(s *sample) float64 { return float64(sum(s.PSS)) / 1e6 })
		cams := float64(cmp.Or(sub.cameras, r.Cameras))
		others, _, _, _ := r.of(sub.name, func(s *sample) float64 { return s.Others })
		lost, _, _, _ := r.of(sub.name, func(s *sample) float64 { return float64(s.Lost) })
		fmt.Fprintf(w, "%-52s %7.3f %15s %8.0f %8.1f %8.2f %7.0f\n", sub.name, cores, fmt.Sprintf("%.3f-%.3f", low, high), pss, pss/cams, others, lost)
		roles := r.roles(sub.name)
		if len(roles) < 2 {
			continue
		}
		for _, role := range roles {
			c, low, high, _ := r.of(sub.name, func(s *sample) float64 { return s.Cores[role] })
			m, _, _, _ := r.of(sub.name, func(s *sample) float64 { return float64(s.PSS[role]) / 1e6 })
			fmt.Fprintf(w, "  %-50s %7.3f %15s %8.0f %8.1f\n", role, c, fmt.Sprintf("%.3f-%.3f", low, high), m, m/cams)
		}
	}
	fmt.Fprintln(w)
	r.ratio(w, "whole path, always / ffmpeg -c copy", 2.5, alwaysName, "", ffmpegName)
	r.ratio(w, "whole path, always / rtspsrc to hlssink2", 0, alwaysName, "", gstHLSName)
	r.ratio(w, "whole path, on_demand / ffmpeg -c copy", 0, idleName, "", ffmpegName)
	r.ratio(w, "ingest / rtspsrc to fakesink", 1.25, idleName, "ingest", gstSinkName)
	r.ratio(w, "whole path, native engine, always / GStreamer's", 0, nativeAlwaysName, "", alwaysName)
	r.ratio(w, "whole path, native engine, on_demand / GStreamer's", 0, nativeIdleName, "", idleName)
	r.ratio(w, "ingest, native engine / rtspsrc to fakesink", 0, nativeIdleName, "ingest", gstSinkName)
	r.ratio(w, "whole path, native engine, always / ffmpeg -c copy", 0, nativeAlwaysName, "", ffmpegName)
	r.ratio(w, "whole path, watched / ffmpeg -c copy", 0, watchedName, "", ffmpegName)
	r.ratio(w, "whole path, always / mediamtx", 2, alwaysName, "", mtxAlwaysName)
	r.ratio(w, "whole path, on_demand / mediamtx", 2, idleName, "", mtxIdleName)
	r.ratio(w, "whole path, native engine, always / mediamtx", 1.5, nativeAlwaysName, "", mtxAlwaysName)
	r.ratio(w, "whole path, native engine, on_demand / mediamtx", 1.2, nativeIdleName, "", mtxIdleName)
	r.ratio(w, "one camera, many viewers, over the socket / low-latency HLS", 0, crowdSocketName, "", crowdHLSName)
	r.ratio(w, "the same, egress alone", 0, crowdSocketName, "egress", crowdHLSName)
	r.ratio(w, "one camera, many viewers, over the socket / mediamtx", 0.5, crowdSocketName, "", mtxCrowdName)
	for _, name := range []string{alwaysName, idleName, watchedName, nativeAlwaysName, nativeIdleName} {
		if m, _, _, ok := r.of(name, func(s *sample) float64 { return float64(sum(s.PSS)) / 1e6 / float64(r.Cameras) }); ok {
			line(w, "MB a camera: "+name, m, 9, "")
		}
	}
	r.delay(w, watchedName, "camera to playlist, p50", 400, func(d *delays) float64 { return d.P50 })
	r.delay(w, watchedName, "camera to playlist, p99", 700, func(d *delays) float64 { return d.P99 })
	r.delay(w, watchedName, "the same by Framelog's histogram, p50", 0, func(d *delays) float64 { return d.OwnP50 })
	r.delay(w, watchedName, "the same by Framelog's histogram, p99", 0, func(d *delays) float64 { return d.OwnP99 })
	for name, what := range map[string]string{socketName: "chunks of 200 ms", socketFineName: "chunks of one picture"} {
		r.delay(w, name, "camera to socket, "+what+", p50", 0, func(d *delays) float64 { return d.P50 })
		r.delay(w, name, "camera to socket, "+what+", p99", 0, func(d *delays) float64 { return d.P99 })
	}
	r.ratio(w, "whole path, chunks of one picture / of 200 ms", 0, socketFineName, "", socketName)
	for _, b := range r.Browser {
		first, delay := 300.0, 0.5
		if b.Via == "hls" {
			first, delay = 400, 0
		}
		line(w, "page over "+b.Via+": first picture, camera watched already", quantile(b.WarmMS, 0.5), first, "ms")
		line(w, "page over "+b.Via+": first picture, nobody watched", b.ColdMS, 0, "ms")
		line(w, "page over "+b.Via+": distance from the edge, p50", b.EdgeP50, 1, "s")
		line(w, "page over "+b.Via+": distance from the edge, p90", b.EdgeP90, 0, "s")
		line(w, "page over "+b.Via+": camera to screen, p50", b.DelayP50, delay, "s")
		line(w, "page over "+b.Via+": camera to screen, p90", b.DelayP90, 0, "s")
		fmt.Fprintf(w, "%d stalls, %d of %d frames dropped\n", b.Stalls, b.Dropped, b.Frames)
	}
}

// ratio prints the median of the rounds' ratios, of a role's cores if one is named; of one that
// has no such role, all count.
func (r *results) ratio(w io.Writer, what string, aim float64, subject, role, by string) {
	var v []float64
	for round := range r.Rounds {
		var over, under float64
		for _, s := range r.Samples {
			switch {
			case s.Round != round:
			case s.Subject == by && role != "" && s.Cores[role] > 0:
				under = s.Cores[role]
			case s.Subject == by:
				under = s.cores()
			case s.Subject == subject && role != "":
				over = s.Cores[role]
			case s.Subject == subject:
				over = s.cores()
			}
		}
		if over > 0 && under > 0 {
			v = append(v, over/under)
		}
	}
	if slices.Sort(v); len(v) > 0 {
		line(w, what, (v[(len(v)-1)/2]+v[len(v)/2])/2, aim, "")
	}
}

func (r *results) delay(w io.Writer, subject, what string, aim float64, f func(d *delays) float64) {
	v, _, _, ok := r.of(subject, func(s *sample) float64 {
		if s.Delay == nil {
			return 0
		}
		return f(s.Delay)
	})
	if ok {
		line(w, what, v, aim, "ms")
	}
}

// line prints a number and, if there is one, its goal.
func line(w io.Writer, what string, v, aim float64, unit string) {
	verdict := ""
	switch {
	case aim > 0 && v <= aim:
		verdict = fmt.Sprintf("aim %g: met", aim)
	case aim > 0:
		verdict = fmt.Sprintf("aim %g: missed", aim)
	}
	digits := 2
	if unit == "ms" {
		digits = 0
	}
	text := fmt.Sprintf("%-64s %8.*f %-3s %s", what, digits, v, unit, verdict)
	fmt.Fprintln(w, strings.TrimRight(text, " "))
}

// save writes everything to .cache/bench.json.
func (r *results) save(b *testing.B) {
	b.Helper()
	path := filepath.Join(testenv.Cache(b), "bench.json")
	raw, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = os.WriteFile(path, append(raw, '\n'), 0o644)
	}
	if err != nil {
		b.Fatalf("save results: %v", err)
	}
	fmt.Printf("\nevery measurement: %s\n", path)
}
