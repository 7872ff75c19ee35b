package e2e

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/oracle/media"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// gopStart is a picture at which a GOP of a clip starts: its place in display
// order, and how many pictures that follow it in decoding order are shown before
// it.
type gopStart struct{ shown, leading int }

func gopStarts(c *camsim.Clip) []gopStart {
	units := c.Of(schemas.VideoTrack)
	var all []gopStart
	for i, u := range units {
		if !u.Sync {
			continue
		}
		var s gopStart
		for j, o := range units {
			if o.PTS < u.PTS {
				s.shown++
				if j > i {
					s.leading++
				}
			}
		}
		all = append(all, s)
	}
	return all
}

// from returns the clip from its n-th GOP on: what a client gets that joins there.
func from(t *testing.T, c *camsim.Clip, n int) *camsim.Clip {
	t.Helper()
	units := c.Of(schemas.VideoTrack)
	for i, u := range units {
		if u.Sync {
			n--
		}
		if n < 0 {
			joined, err := camsim.NewClip(c.Only(schemas.VideoTrack).Media, units[i:])
			if err != nil {
				t.Fatal(err)
			}
			return joined
		}
	}
	t.Fatal("the clip has too few GOPs")
	return nil
}

// openClips are encodings whose GOPs need the GOP before.
var openClips = []struct {
	name string
	clip testenv.Clip
}{
	{"h264 with recovery points", testenv.Clip{Seconds: 8, FPS: 25, GOP: 27, BFrames: 3, OpenGOP: true}},
	{"h265 with CRA and RASL", testenv.Clip{Codec: "h265", Seconds: 8, FPS: 25, BFrames: 4, OpenGOP: true}},
}

// A camera that sends no IDR is recorded from the first picture at which a decoder
// can begin. A player that begins there shows every picture. A player that joins at
// any segment shows all but the leading pictures of its first.
func TestOpenGOPs(t *testing.T) {
	t.Parallel()
	system.Engines(t, testOpenGOPs)
}

func testOpenGOPs(t *testing.T, engine string) {
	for _, c := range openClips {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const joined = 2 // the GOP at which ingest joins the camera
			file := c.clip.File(t)
			clip := system.Load(t, file)
			starts := gopStarts(clip)
			t.Logf("GOPs start at %v (picture, leading)", starts)
			if n := len(starts); n < 7 || starts[1].leading == 0 {
				t.Fatalf("the clip's GOPs start at %v", starts)
			}
			starts = starts[joined:]
			cam, url := system.Camera(t, camsim.CameraConfig{Feed: from(t, clip, joined), HangUp: true})
			f := system.Up(t, engine, testenv.UpOptions{Config: system.Cameras(map[string]string{"cam": url})})
			hls := system.Multivariant(f.URL, "cam")
			testenv.Wait(t, 2*testenv.Patience, "the clip's end", cam.Over)
			all := testenv.FrameHashes(t, file, testenv.HashOptions{NoAudio: true}).Video
			p := settled(t, hls, time.Duration(len(all)-starts[0].shown)*time.Second/25)
			if len(p.Segments) != len(starts) {
				t.Fatalf("%d segments of %d GOPs", len(p.Segments), len(starts))
			}
			if p.Independent {
				t.Error("the playlist claims that its segments are independent")
			}

			got := testenv.FrameHashes(t, hls, testenv.HashOptions{Input: fromTheStart, NoAudio: true}).Video
			if d := media.Diff(all[starts[0].shown:], got); d != "" {
				t.Errorf("from the first segment on: %s", d)
			}
			for i, s := range starts {
				want := all[s.shown:min(s.shown+40, len(all))]
				input := slices.Clone(fromTheStart)
				input[1] = strconv.Itoa(i)
				got := testenv.FrameHashes(t, hls, testenv.HashOptions{
					Input: input, NoAudio: true, Output: []string{"-frames:v", fmt.Sprint(len(want) + s.leading)},
				}).Video
				// Some decoders show what they make of the leading pictures.
				junk := slices.IndexFunc(got, func(h testenv.Hash) bool { return h.Sum == want[0].Sum })
				if junk < 0 || junk > s.leading {
					t.Errorf("segment %d, from picture %d on: %d pictures come before it, %d lead", i, s.shown, junk, s.leading)
					continue
				}
				got = got[junk:min(len(got), junk+len(want))]
				if d := media.Diff(want, got); d != "" {
					t.Errorf("segment %d, from picture %d on: %s", i, s.shown, d)
				}
			}
		})
	}
}
