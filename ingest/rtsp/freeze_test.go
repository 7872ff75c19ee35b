package rtsp_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/framelog/framelog/ingest/assemble"
	"github.com/framelog/framelog/ingest/rtsp"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// freezeURL makes this test binary the process that is stopped.
const (
	freezeURL    = "FRAMELOG_TEST_RTSP_FREEZE"
	freezeEngine = "FRAMELOG_TEST_RTSP_ENGINE"
)

// said is a recorder that prints when it gets its first chunk.
type said struct{ any bool }

func (s *said) Write(*schemas.Chunk) error {
	if !s.any {
		fmt.Println("RECORDS")
	}
	s.any = true
	return nil
}

func (*said) NewSession(string)                   {}
func (*said) Truncate(string)                     {}
func (*said) Gap(time.Time, int64, int64, string) {}
func (*said) Lost(schemas.Lost)                   {}

// A process that is stopped for longer than all limits of the camera goes on with
// the same connection, and tells that it stood still; it does not say that the
// camera did.
func TestFrozenProcess(t *testing.T) {
	testenv.SkipShort(t, "seconds of real time")
	const limit = 3 * time.Second
	if url := os.Getenv(freezeURL); url != "" {
		asm := assemble.New(assemble.Config{
			Live: true, KeyframeTimeout: limit, LongInterval: limit, Problem: func(p string) { fmt.Printf("PROBLEM %q\n", p) },
		}, &said{}, nil)
		fmt.Println("ENDED", rtsp.New(rtsp.Config{Engine: os.Getenv(freezeEngine), URL: fixed(t, url), ConnectTimeout: testenv.Patience, StallTimeout: limit, NoDataTimeout: limit}).Run(t.Context(), asm))
		return
	}
	engines(t, func(t *testing.T, engine string) {
		for name, drops := range map[string]bool{"the camera goes on": false, "the camera ends the connection": true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: clip(t, testenv.Clip{Seconds: 3}).With(true, 1)}}})
				self, err := os.Executable()
				if err != nil {
					t.Fatal(err)
				}
				cmd := exec.Command(self, "-test.run=^TestFrozenProcess$", "-test.v")
				cmd.Env = append(os.Environ(), freezeURL+"="+srv.URL("c"), freezeEngine+"="+engine)
				p := testenv.Start(t, "frozen", cmd)
				testenv.Wait(t, testenv.Patience, "it records", func() bool { return strings.Contains(p.Log.String(), "RECORDS") })
				p.Signal(syscall.SIGSTOP)
				time.Sleep(2 * limit)
				if drops {
					srv.Camera("c").Drop()
				}
				p.Signal(syscall.SIGCONT)
				testenv.Wait(t, testenv.Patience, "it tells that it stood still", func() bool { return strings.Contains(p.Log.String(), "stood still for") })
				if drops {
					testenv.Wait(t, testenv.Patience, "the connection ends", func() bool { return strings.Contains(p.Log.String(), "ENDED") })
				} else {
					time.Sleep(limit) // what is wrong would be told by then
				}
				text := p.Log.String()
				if strings.Count(text, "PROBLEM") != 1 || strings.Contains(text, "ENDED") != drops || drops && !strings.Contains(text, "after ingest had stood still") {
					t.Errorf("it said:\n%s", text)
				}
			})
		}
	})
}
