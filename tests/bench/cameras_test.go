package bench

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/testenv"
)

// Variables that make this test program serve the cameras. They run in a process of
// their own, so that their CPU time is not counted.
const (
	serveVariable = "FRAMELOG_TEST_BENCH_SERVE"
	serveCount    = "FRAMELOG_TEST_BENCH_COUNT"
)

// cameras are the cameras in their process.
type cameras struct {
	n    int
	pid  int
	urls []string
	bits int64 // a second, of one
	http string
}

// sending is when a unit was sent, by the hash of its slices.
type sending struct {
	Hash uint64
	At   int64 // Unix time in ns
}

// serve runs in that process. It returns only with an error: its parent kills it.
func serve(file, count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return fmt.Errorf("bench: number of cameras: %w", err)
	}
	feed, err := camsim.LoadMP4(file)
	if err != nil {
		return err
	}
	bytes := 0
	for _, u := range feed.Units {
		bytes += len(u.Data)
	}
	var cfg camsim.Config
	for i := range n {
		cfg.Cameras = append(cfg.Cameras, camsim.CameraConfig{Path: strconv.Itoa(i), Feed: feed.With(true, 1), SentLimit: 300 * fps})
	}
	srv, err := camsim.Start(context.Background(), cfg)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("bench: listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sent/{camera}", func(w http.ResponseWriter, r *http.Request) {
		var all []sending
		for _, s := range srv.Camera(r.PathValue("camera")).Sent() {
			all = append(all, sending{slices264(s.Data), s.At.UnixNano()})
		}
		_ = json.NewEncoder(w).Encode(all) // the parent sees an error
	})
	mux.HandleFunc("GET /overflows", func(w http.ResponseWriter, _ *http.Request) {
		var sum int64
		for i := range n {
			sum += int64(srv.Camera(strconv.Itoa(i)).Overflows())
		}
		fmt.Fprint(w, sum)
	})
	fmt.Printf("CAMERAS http://%s %s %d \n", ln.Addr(), srv.Addr(), int64(float64(bytes*8)/feed.Duration().Seconds()))
	return http.Serve(ln, mux) //nolint:gosec // of this test alone
}

// slices264 names a unit by its slices (NAL unit types 1 to 5): parameter sets and
// delimiters may be added or removed on the way.
func slices264(data []byte) uint64 {
	h := sha256.New()
	for len(data) > 4 {
		n := binary.BigEndian.Uint32(data)
		data = data[4:]
		if n == 0 || int64(n) > int64(len(data)) {
			break
		}
		if t := data[0] & 0x1f; t >= 1 && t <= 5 {
			h.Write(data[:n])
		}
		data = data[n:]
	}
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// startCameras starts n cameras, each at another point of the GOP, as cameras do. A
// camera begins with its first client.
func startCameras(b *testing.B, n, bits int) *cameras {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), serveVariable+"="+clip(b, bits), serveCount+"="+strconv.Itoa(n))
	p := testenv.Start(b, "cameras", cmd)
	c := &cameras{n: n, pid: p.PID()}
	var addr string
	p.Wait(b, 30*time.Second, "cameras are there", func() bool {
		_, rest, _ := strings.Cut(p.Log.String(), "CAMERAS ")
		got, _ := fmt.Sscan(rest, &c.http, &addr, &c.bits)
		return got == 3 && strings.Contains(rest, "\n")
	})
	var wg sync.WaitGroup
	for i := range n {
		url := fmt.Sprintf("rtsp://%s/%d", addr, i)
		c.urls = append(c.urls, url)
		wg.Go(func() {
			time.Sleep(gop * time.Duration(i) / time.Duration(n))
			_ = exec.Command(testenv.Tool(b, "ffmpeg", "ffmpeg"), "-nostdin", "-loglevel", "error", "-rtsp_transport", "tcp",
				"-i", url, "-c", "copy", "-frames:v", "1", "-f", "null", "-").Run() // if it fails, that shows later
		})
	}
	wg.Wait()
	return c
}

// first returns the first n of the cameras.
func (c *cameras) first(n int) *cameras {
	some := *c
	some.n, some.urls = n, c.urls[:n]
	return &some
}

func (c *cameras) get(b *testing.B, path string) []byte {
	b.Helper()
	status, body, err := testenv.Get(b, c.http+path)
	if err != nil || status != http.StatusOK {
		b.Fatalf("cameras: get %s: %d, %v", path, status, err)
	}
	return body
}

// sent returns what a camera has sent, the oldest first.
func (c *cameras) sent(b *testing.B, camera int) (all []sending) {
	b.Helper()
	if err := json.Unmarshal(c.get(b, fmt.Sprintf("/sent/%d", camera)), &all); err != nil {
		b.Fatal(err)
	}
	return all
}

// overflows counts the packets that the cameras had to drop because a client
// did not take them.
func (c *cameras) overflows(b *testing.B) int {
	b.Helper()
	n, err := strconv.Atoi(string(c.get(b, "/overflows")))
	if err != nil {
		b.Fatal(err)
	}
	return n
}
