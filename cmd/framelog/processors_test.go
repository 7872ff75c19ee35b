package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/framelog/framelog/tests/testenv"
)

// TestProcessorsUnderUp: up runs the processors of the configuration, each instance in a
// process of its own. It starts one again that has died, and stops them after ingest and
// before egress. Meanwhile snapshots are decoded, and commands process the past.
func TestProcessorsUnderUp(t *testing.T) {
	t.Parallel()
	f := testenv.Up(t, testenv.UpOptions{Args: []string{"--demo", "--log-level", "debug"}, Config: `
ingest: {disk_reserve: 0}
processors:
  - name: transcode
    cameras: [demo-harbour]
    instances: 2
    settings: {ladder: [{name: small, height: 90, bitrate: 100k}], hardware: software}
  - {name: still, kind: thumbnail, cameras: [demo-harbour]}
`})
	if n := len(f.Children()["process"]); n != 3 {
		t.Errorf("%d processes, want 3", n)
	}
	listed := func(rendition string) int {
		code, body, err := f.Get(t, "/hls/demo-harbour/"+rendition+".m3u8")
		if err != nil || code != http.StatusOK {
			return 0
		}
		return bytes.Count(body, []byte("\n#EXTINF:"))
	}
	f.Wait(t, 2*testenv.Patience, "the variant", func() bool { return listed("small") >= 3 })
	checkSnapshots(t, f, "demo-harbour")

	restarts := regexp.MustCompile(`framelog_up_restarts_total\{role="process-transcode(\.2)?"\} [1-9]`)
	if f.Kill(t, "process") == 0 {
		t.Error("no process was there to be killed")
	}
	f.Wait(t, testenv.Patience, "the processes again", func() bool {
		_, metrics, err := f.Get(t, "/metrics")
		return err == nil && len(restarts.FindAll(metrics, -1)) == 2
	})

	framelog := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), testenv.Binary(t), append([]string{"process", "transcode", "--config", f.Config()}, args...)...)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("framelog process %v: %v\n%s", args, err, errs.String())
		}
		if !strings.Contains(errs.String(), " fragments\n") {
			t.Errorf("it does not tell its progress: %s", errs.String())
		}
		return string(out)
	}
	seqs := func(out string) (all []uint64) {
		for s := bufio.NewScanner(strings.NewReader(out)); s.Scan(); {
			var l struct {
				Camera string
				Seq    uint64
				Bytes  map[string]int64
				Error  string
			}
			if err := json.Unmarshal(s.Bytes(), &l); err != nil || l.Camera != "demo-harbour" || len(l.Bytes) != 1 || l.Error != "" {
				t.Fatalf("%s: %v", s.Text(), err)
			}
			for _, n := range l.Bytes {
				if n < 500 {
					t.Errorf("%s: %d bytes", s.Text(), n)
				}
			}
			all = append(all, l.Seq)
		}
		return all
	}
	dry := seqs(framelog("--from", "-1h", "--dry-run", "--json"))
	if listed("small-2") != 0 {
		t.Error("a dry run has written a rendition")
	}
	done := seqs(framelog("--from", "-1h", "--suffix", "-2", "--json"))
	if len(dry) < 3 || len(done) < len(dry) || !slices.Equal(dry, done[:len(dry)]) {
		t.Errorf("a dry run of %v, then %v", dry, done)
	}
	for i, seq := range done {
		if seq != done[0]+uint64(i) {
			t.Errorf("%d follows %d", seq, done[i-1])
		}
	}
	f.Wait(t, testenv.Patience, "the rendition of past footage", func() bool { return listed("small-2") > 0 })

	if code := f.Stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	var order []string
	for _, m := range regexp.MustCompile(`msg=stopping role=up child=(\S+)`).FindAllStringSubmatch(f.Log.String(), -1) {
		order = append(order, m[1])
	}
	if want := []string{"ingest", "process-still", "process-transcode.2", "process-transcode", "archive", "monitor", "egress", "camsim", "broker"}; !slices.Equal(order, want) {
		t.Errorf("stopped in the order %v, want %v", order, want)
	}
}
