package faults

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/oracle/media"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// digest notes a hash of all that a processor sees of a fragment, but for its time.
func digest(ctx context.Context, in *processors.Fragment, out *processors.Output) error {
	h := sha256.New()
	var first [4]int64 // DTS, by track
	for c, err := range in.Chunks(ctx) {
		if err != nil {
			return err
		}
		fmt.Fprintln(h, c.Index, c.Last, c.OpenGOP, c.Tracks)
		for _, r := range c.Runs {
			for _, s := range r.Samples {
				if first[r.Track] == 0 {
					first[r.Track] = s.DTS
				}
				fmt.Fprintln(h, r.Track, s.DTS-first[r.Track], s.PTSOffset, s.Duration, s.Sync)
				h.Write(s.Data)
			}
		}
	}
	return out.Note("digest", fmt.Sprintf("%x", h.Sum(nil)))
}

// TestReplayOverCrash: a camera is repeated as another one, and ingest is killed meanwhile.
// The copy has each sample once, and a processor gives the same for it, at any speed.
func TestReplayOverCrash(t *testing.T) {
	t.Parallel()
	file := testenv.Clip{Seconds: 12, BFrames: 2, Audio: "aac", FPS: 25}.File(t)
	cam, url := system.Camera(t, camsim.CameraConfig{Feed: system.Load(t, file), HangUp: true})
	cam.Refuse(true) // until the processor is there
	f := testenv.Up(t, testenv.UpOptions{Config: system.Cameras(map[string]string{"cam": url})})
	system.Process(t, f.Broker, processors.Processor{Name: "digest", Process: digest})
	cam.Refuse(false)
	r := openLog(t, f.Broker)
	testenv.Wait(t, 2*testenv.Patience, "the clip's end", cam.Over)
	var source []schemas.Entry
	pictures := func(id string) (all []schemas.Entry, video, sound []recorded) {
		all = r.entries(t, id)
		return all, r.footage(t, id, all, schemas.VideoTrack), r.footage(t, id, all, schemas.AudioTrack)
	}
	testenv.Wait(t, testenv.Patience, "all of the clip in the log", func() bool {
		all, video, _ := pictures("cam")
		source = all
		return len(video) == 12*25
	})

	out := testenv.Start(t, "framelog replay", exec.CommandContext(t.Context(), testenv.Binary(t), "replay", "cam",
		"--from", source[0].Start.Format(time.RFC3339Nano), "--to-camera", "copy", "--config", f.Config()))
	r.grown(t, "copy", time.Time{}, 3)
	if f.Kill(t, "ingest") == 0 {
		t.Fatal("no ingest was killed")
	}
	if code := out.ExitCode(3 * testenv.Patience); code != 0 || !out.Log.Contains("complete.") {
		t.Fatalf("framelog replay: exit code %d\n%s", code, out.Log)
	}

	copies, video, sound := pictures("copy")
	checkOrder(t, "copy", copies)
	checkWhole(t, "copy", copies)
	_, wantVideo, wantSound := pictures("cam")
	for what, x := range map[string][2][]recorded{"pictures": {video, wantVideo}, "sound": {sound, wantSound}} {
		if !slices.EqualFunc(x[0], x[1], func(a, b recorded) bool {
			return string(a.Data) == string(b.Data) && a.PTSOffset == b.PTSOffset && a.Duration == b.Duration && a.Sync == b.Sync
		}) {
			t.Errorf("%s: %d samples that differ from the %d of the source", what, len(x[0]), len(x[1]))
		}
	}
	if sessions(copies) < 2 {
		t.Error("ingest was killed when the replay was complete: this test shows nothing")
	}

	// The processor begins at the live edge, so it may have missed the first fragments.
	notes := func(id string, after, last uint64) (all []string) {
		testenv.Wait(t, 2*testenv.Patience, "the processor's output of "+id, func() bool {
			all = nil
			for _, e := range r.entriesOf(t, schemas.Topic{Camera: id, Rendition: "digest"}) {
				if e.Playable() && e.Seq > after {
					all = append(all, e.Note)
				}
				if e.Seq == last {
					return true
				}
			}
			return false
		})
		return all
	}
	last := copies[len(copies)-1].Seq
	got, want := notes("copy", 0, last), notes("cam", 0, source[len(source)-1].Seq)
	n := min(len(got), len(want))
	if n < 3 || !slices.Equal(got[len(got)-n:], want[len(want)-n:]) {
		t.Errorf("the processor gives\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	fragments := len(slices.DeleteFunc(slices.Clone(source), func(e schemas.Entry) bool { return !e.Playable() }))
	var whole []string // what it gives for all fragments; it follows the copy now
	for _, speed := range []string{"--speed=4", "--fast"} {
		testenv.Wait(t, testenv.Patience, "the end of the replay in its status", func() bool {
			all, err := system.Statuses(t, f.URL)
			return err == nil && all["copy"].State == schemas.StateEnded
		})
		again := testenv.Start(t, "framelog replay "+speed, exec.CommandContext(t.Context(), testenv.Binary(t), "replay", "cam",
			"--from", source[0].Start.Format(time.RFC3339Nano), speed, "--to-camera", "copy", "--config", f.Config()))
		if code := again.ExitCode(3 * testenv.Patience); code != 0 || !again.Log.Contains("complete.") {
			t.Fatalf("framelog replay %s: exit code %d\n%s", speed, code, again.Log)
		}
		copies = r.entries(t, "copy")
		got := notes("copy", last, copies[len(copies)-1].Seq)
		last = copies[len(copies)-1].Seq
		if n := min(len(got), len(want)); len(got) != fragments || !slices.Equal(got[len(got)-n:], want[len(want)-n:]) || whole != nil && !slices.Equal(got, whole) {
			t.Errorf("%s: the processor gives for %d fragments\n%s\nwant\n%s", speed, fragments, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		whole = got
	}

	// Other software gets the same by RTSP.
	port := testenv.FreePort(t)
	served := testenv.Start(t, "framelog replay --rtsp", exec.CommandContext(t.Context(), testenv.Binary(t), "replay", "cam", "--from",
		source[0].Start.Format(time.RFC3339Nano), "--to", source[len(source)-1].End().Format(time.RFC3339Nano), "--rtsp", fmt.Sprintf(":%d", port), "--config", f.Config()))
	rtsp := fmt.Sprintf("rtsp://127.0.0.1:%d/cam", port)
	served.Wait(t, testenv.Patience, "its URL", func() bool { return served.Log.Contains(rtsp) })
	tcp := testenv.HashOptions{NoAudio: true, Input: []string{"-rtsp_transport", "tcp"}, Timeout: 2 * testenv.Patience}
	if d := media.Diff(testenv.FrameHashes(t, file, testenv.HashOptions{NoAudio: true}).Video, testenv.FrameHashes(t, rtsp, tcp).Video); d != "" {
		t.Errorf("by RTSP: %s", d)
	}
	if code := served.ExitCode(testenv.Patience); code != 0 || !served.Log.Contains("complete.") {
		t.Errorf("framelog replay --rtsp: exit code %d\n%s", code, served.Log)
	}

	// The API shows both; the replay has ended.
	testenv.Wait(t, testenv.Patience, "the end of the replay in its status", func() bool {
		all, err := system.Statuses(t, f.URL)
		return err == nil && all["copy"].State == schemas.StateEnded
	})
	if code, answer := system.TryPutCamera(t, f.URL, "thief", `{"url":"framelog://cam/raw?from=2026-01-31T08:00:00Z&to=2026-01-31T08:05:00Z"}`); code != 400 || !strings.Contains(answer, "framelog replay") {
		t.Errorf("a replay by the API: %d %s", code, answer)
	}
}
