// Package system holds what the tests of a whole Framelog share: cameras for it
// to record, and clients of its API, its playlists and its page.
package system

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// Serve runs an RTSP server with simulated cameras until the test ends.
func Serve(t testing.TB, cfg camsim.Config) *camsim.Server {
	t.Helper()
	s, err := camsim.Start(t.Context(), cfg)
	if err != nil {
		t.Fatalf("system: serve cameras: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// Camera serves one camera on an RTSP server of its own. It returns the camera
// and its URL.
func Camera(t testing.TB, cfg camsim.CameraConfig) (*camsim.Camera, string) {
	t.Helper()
	cfg.Path = "cam"
	s := Serve(t, camsim.Config{Cameras: []camsim.CameraConfig{cfg}})
	return s.Camera(cfg.Path), s.URL(cfg.Path)
}

// Load reads an MP4 file for a camera to send once.
func Load(t testing.TB, file string) *camsim.Clip {
	t.Helper()
	c, err := camsim.LoadMP4(file)
	if err != nil {
		t.Fatalf("system: load clip: %v", err)
	}
	return c
}

// Loop makes a clip, or takes it from the cache, for a camera to send without
// end.
func Loop(t testing.TB, c testenv.Clip) *camsim.Clip {
	t.Helper()
	return Load(t, c.File(t)).With(true, 1)
}

// Cameras returns the YAML that configures cameras, given their URLs by id.
func Cameras(urls map[string]string) string {
	var b strings.Builder
	b.WriteString("cameras:\n")
	for _, id := range slices.Sorted(maps.Keys(urls)) {
		fmt.Fprintf(&b, "  - id: %s\n    url: %s\n", id, urls[id])
	}
	return b.String()
}

// Status is what the API says of one camera.
type Status struct {
	schemas.Status
	Stale bool
}

// Statuses returns what the API at base says of its cameras, by id. Cameras that
// have no status yet are left out.
func Statuses(t testing.TB, base string) (map[string]Status, error) {
	t.Helper()
	status, body, err := testenv.Get(t, base+"/v1/cameras")
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("system: list cameras: status %d: %s", status, body)
	}
	var list struct {
		Cameras []struct {
			ID     string
			Status *Status
		}
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("system: list cameras: %w", err)
	}
	all := map[string]Status{}
	for _, c := range list.Cameras {
		if c.Status != nil {
			all[c.ID] = *c.Status
		}
	}
	return all, nil
}

// PutCamera creates or replaces a camera by the API at base. body is JSON.
func PutCamera(t testing.TB, base, id, body string) {
	t.Helper()
	if code, answer := TryPutCamera(t, base, id, body); code/100 != 2 {
		t.Fatalf("system: put camera %s: status %d: %s", id, code, answer)
	}
}

// TryPutCamera is PutCamera where the API may refuse it.
func TryPutCamera(t testing.TB, base, id, body string) (code int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, base+"/v1/cameras/"+id, strings.NewReader(body))
	if err != nil {
		t.Fatalf("system: put camera %s: %v", id, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("system: put camera %s: %v", id, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("system: put camera %s: status %d: %v", id, resp.StatusCode, err)
	}
	return resp.StatusCode, string(b)
}

// Metric sums the samples of a metric whose labels contain label; "" takes all.
// /metrics leaves out a role that does not answer in time, so Metric asks until
// there are samples.
func Metric(t testing.TB, base, name, label string) (sum float64) {
	t.Helper()
	re := regexp.MustCompile(`(?m)^` + name + `(\{[^}]*\})? (\S+)$`)
	if !testenv.Poll(t, 2*testenv.Patience, func() (found bool) {
		_, body, err := testenv.Get(t, base+"/metrics")
		if err != nil {
			return false
		}
		for _, m := range re.FindAllStringSubmatch(string(body), -1) {
			v, err := strconv.ParseFloat(m[2], 64)
			if err == nil && strings.Contains(m[1], label) {
				sum, found = sum+v, true
			}
		}
		return found
	}) {
		t.Errorf("system: no metric %s with %s", name, label)
	}
	return sum
}
