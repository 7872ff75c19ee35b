package bench

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/testenv"
)

// MediaMTX, if -mediamtx names one: it records all cameras and serves low-latency HLS.
const (
	mtxAlwaysName = "mediamtx, recording, HLS always"
	mtxIdleName   = "mediamtx, recording, HLS on demand, nobody watches"
	mtxCrowdName  = "mediamtx, one camera, many low-latency viewers"
)

// mediaMTX is one that runs. Its recordings show that it works.
type mediaMTX struct {
	proc *testenv.Process
	dir  string // of the recordings
	url  string // of its HLS
	cams *cameras
}

func startMediaMTXAlways(b *testing.B, c *cameras) running { return startMediaMTX(b, c, true) }

func startMediaMTXIdle(b *testing.B, c *cameras) running { return startMediaMTX(b, c, false) }

func startMediaMTXCrowd(b *testing.B, c *cameras) running {
	m := startMediaMTX(b, c, false)
	return gather(b, m, c, hlsViewer(m.url+"/"+cameraID(0)+"/index.m3u8"))
}

func startMediaMTX(b testing.TB, c *cameras, always bool) *mediaMTX {
	b.Helper()
	m := &mediaMTX{dir: filepath.Join(b.TempDir(), "recordings"), cams: c}
	address := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(b))
	m.url = "http://" + address
	config := filepath.Join(b.TempDir(), "mediamtx.yml")
	if err := os.WriteFile(config, []byte(mediaMTXConfig(c, address, m.dir, always)), 0o600); err != nil {
		b.Fatal(err)
	}
	m.proc = testenv.Start(b, "mediamtx", exec.Command(*flags.mediamtx, config))
	m.proc.Wait(b, time.Minute, "all cameras are recorded", func() bool {
		for i := range c.n {
			if bytesIn(filepath.Join(m.dir, cameraID(i))) == 0 {
				return false
			}
		}
		return true
	})
	return m
}

// mediaMTXConfig is its configuration: what is not used is off, and what is not named is as it
// comes. HLS has its default parts of 200 ms, as Framelog has.
func mediaMTXConfig(c *cameras, address, dir string, always bool) string {
	var s strings.Builder
	fmt.Fprintf(&s, `logLevel: warn
rtsp: false
rtmp: false
webrtc: false
srt: false
hls: true
hlsAddress: %s
hlsVariant: lowLatency
hlsAlwaysRemux: %t
pathDefaults:
  rtspTransport: tcp
  record: true
  recordFormat: fmp4
  recordPath: %s/%%path/%%Y-%%m-%%d_%%H-%%M-%%S-%%f
paths:
`, address, always, dir)
	for i, url := range c.urls {
		fmt.Fprintf(&s, "  %s:\n    source: %s\n", cameraID(i), url)
	}
	return s.String()
}

func (m *mediaMTX) processes() map[string][]int { return map[string][]int{"mediamtx": {m.proc.PID()}} }

// segments returns how many GOPs have been recorded, by their bytes: its files are hours long.
func (m *mediaMTX) segments(*testing.B) int {
	return int(float64(bytesIn(m.dir)) / (float64(m.cams.bits) / 8 * gop.Seconds()))
}

func (m *mediaMTX) begin(*testing.B)        {}
func (m *mediaMTX) end(*testing.B, *sample) {}

func (m *mediaMTX) stop() {
	m.proc.KillTree()
	_ = os.RemoveAll(m.dir) // in the test's own folder, which is removed at the end too
}

// bytesIn returns the bytes of all files of a folder, 0 if there is none.
func bytesIn(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil // it is not there yet
		}
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
		return nil
	})
	return n
}
