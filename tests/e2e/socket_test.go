package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/egress/live/livetest"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/oracle/media"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// What a client decodes of what comes over the socket, through Nginx and `framelog up`, is
// what the camera sent, to the last frame; and the bytes are those of HLS. Of a camera with the
// shortest chunks each picture is a part.
func TestSamplesOverTheSocket(t *testing.T) {
	pauses := testenv.WatchPauses(t)
	clip := testenv.Clip{Seconds: 12, BFrames: 2, Audio: "aac"}
	file := clip.File(t)
	want := testenv.FrameHashes(t, file, testenv.HashOptions{NoAudio: true}).Video
	cams, config := map[string]*camsim.Camera{}, "cameras:\n"
	for _, id := range []string{"cam", "fine"} {
		cam, url := system.Camera(t, camsim.CameraConfig{Feed: system.Load(t, file), HangUp: true})
		cam.Refuse(true) // until the clients are there
		cams[id] = cam
		config += fmt.Sprintf("  - {id: %s, url: %q", id, url)
		if id == "fine" {
			config += ", chunk_duration: 1ms"
		}
		config += "}\n"
	}
	f := testenv.Up(t, testenv.UpOptions{Config: config})
	base := testenv.Nginx(t, "", f.URL)
	// Up is ready when the cameras are stored. Egress hears of them a moment later.
	f.Wait(t, testenv.Patience, "both cameras", func() bool {
		var list struct{ Cameras []struct{ ID string } }
		f.JSON(t, "/v1/cameras", &list)
		return len(list.Cameras) == len(cams)
	})
	clients := map[string]*livetest.Client{}
	for id := range cams {
		clients[id] = livetest.Connect(t, base+"/live", nil)
		clients[id].Subscribe(1, id, "", nil)
	}
	began := time.Now()
	for _, cam := range cams {
		cam.Refuse(false)
	}
	for id, cam := range cams {
		testenv.Wait(t, 2*testenv.Patience, "the clip's end", cam.Over)
		p := settled(t, system.Multivariant(base, id), time.Duration(clip.Seconds)*time.Second)
		segments := map[uint64]string{}
		for _, s := range p.Segments {
			segments[s.Seq] = get(t, system.Resolve(t, p.URL, s.URI))
		}
		last := p.Segments[len(p.Segments)-1].Seq
		var got bytes.Buffer // all of it
		of := map[uint64]*bytes.Buffer{}
		count := 0
		testenv.Wait(t, testenv.Patience, "the last part", func() bool {
			got.Reset()
			clear(of)
			count = 0
			for _, m := range clients[id].Media() {
				got.Write(m.Data)
				if !m.Init {
					count++
				}
				if of[m.Seq] == nil {
					of[m.Seq] = &bytes.Buffer{}
				}
				of[m.Seq].Write(m.Data)
			}
			return of[last] != nil && of[last].Len() >= len(segments[last])
		})
		// If the machine stood still, the ends of fragments may have been left out.
		holes := pauses.Longest(began, time.Now()) > time.Second &&
			slices.ContainsFunc(clients[id].Heard(), func(l string) bool { return strings.HasPrefix(l, "left out") })
		delete(of, 0) // the init segment
		for seq, b := range of {
			want := segments[seq]
			if holes {
				want = want[:min(b.Len(), len(want))]
			}
			if b.String() != want {
				t.Errorf("%s: fragment %d has other bytes over the socket (%d) than in HLS (%d)", id, seq, b.Len(), len(segments[seq]))
			}
		}
		if holes {
			t.Logf("%s: the machine stood still, so footage was left out, and its pictures are not compared: %q", id, clients[id].Heard())
			continue
		}
		out := filepath.Join(t.TempDir(), id+".mp4")
		if err := os.WriteFile(out, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		have := testenv.FrameHashes(t, out, testenv.HashOptions{NoAudio: true}).Video
		// A client begins with the newest fragment, which may not be the first.
		if from, diff := media.Window(want, have); diff != "" || from+len(have) != len(want) || len(have) < len(want)/2 {
			t.Errorf("%s: from frame %d: %s (in: %s; out: %s)\n%q", id, from, diff, media.Summary(want), media.Summary(have), clients[id].Heard())
		}
		t.Logf("%s: %d pictures in %d parts", id, len(have), count)
		if fine := count == len(have); fine != (id == "fine") {
			t.Errorf("%s: %d pictures in %d parts", id, len(have), count)
		}
	}
}
