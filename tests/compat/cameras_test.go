package compat

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/ingest/rtsp"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// kind is a kind of stream, without or with sound.
type kind struct {
	name  string
	video piece
	sound *sound
	vlc   bool // VLC's output is tried too
}

func kinds() (all []kind) {
	all = []kind{
		{name: "H.264 baseline", video: piece{Profile: "baseline"}, vlc: true},
		{name: "H.264 main", video: piece{Profile: "main"}},
		{name: "H.264 high, B-frames", video: piece{BFrames: 2}, vlc: true},
		{name: "H.264 interlaced", video: piece{Params: "tff=1"}},
		{name: "H.264 open GOPs", video: piece{BFrames: 2, Params: "open-gop=1"}},
		{name: "H.264 intra refresh", video: piece{Params: "intra-refresh=1"}},
		{name: "H.265", video: piece{Codec: "h265"}, vlc: true},
		{name: "H.265, B-frames", video: piece{Codec: "h265", BFrames: 2}},
		{name: "H.265 open GOPs (CRA, RASL)", video: piece{Codec: "h265", BFrames: 2, Params: "open-gop=1"}},
		{name: "MJPEG", video: piece{Codec: "mjpeg"}},
	}
	for i := range sounds {
		s := &sounds[i]
		all = append(all, kind{name: s.name, sound: s, vlc: s.vlc != ""})
	}
	return all
}

// trial is one kind of stream from one server.
type trial struct {
	kind
	id     string
	column int
	clip   clip
	source map[int]string
	// What the API said last: whether the camera was live, and its problem.
	live    bool
	problem string
	video   schemas.Codec
	// twin is the same with the native engine.
	twin *trial
}

// both returns the trials of both engines.
func both(trials []*trial) (all []*trial) {
	for _, tr := range trials {
		all = append(all, tr, tr.twin)
	}
	return all
}

const (
	trialLong = 28 * time.Second
	together  = 8 // cameras at once
)

var only = flag.String("kinds", "", "try these rows of docs/cameras.md alone: a regular expression")

// Every kind of stream from every server, with both engines for RTSP, which are to make the same
// of it. docs/cameras.md has the results.
func TestCameras(t *testing.T) {
	testenv.Long(t)
	x := table{file: "cameras.md", name: "cameras", head: []string{"stream", "ffmpeg, relay", "GStreamer", "VLC"}}
	var trials []*trial
	rows, err := regexp.Compile(*only)
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range kinds() {
		if !rows.MatchString(k.name) {
			continue
		}
		k.video.Long = trialLong
		c := makeClip(t, 0, 0, k.video)
		x.rows = append(x.rows, []string{k.name, untried, untried, untried})
		hashes := sourceHashes(t, []clip{c})
		for column, tried := range map[int]bool{1: k.sound == nil || k.sound.ffmpeg != nil, 2: true, 3: k.vlc} {
			if tried {
				tr := trial{kind: k, id: fmt.Sprintf("c%d-%d", i, column), column: column, clip: c, source: hashes}
				twin := tr
				twin.id, tr.twin = tr.id+"-native", &twin
				trials = append(trials, &tr)
			}
		}
	}
	f := testenv.Up(t, testenv.UpOptions{})
	r := startRelay(t)
	for len(trials) > 0 {
		some := trials[:min(len(trials), together)]
		trials = trials[len(some):]
		for _, tr := range some {
			url := ""
			switch tr.column {
			case 1:
				wav, args := "", []string(nil)
				if tr.sound != nil {
					wav, args = beeps(t, trialLong, "wav"), tr.sound.ffmpeg
					if tr.sound.codec == "aac" { // from a file, whose configuration is known before it begins
						wav, args = beeps(t, trialLong, "m4a", args...), nil
					}
				}
				r.publish(t, tr.id, tr.clip, wav, args...)
				testenv.Wait(t, testenv.Patience, "the publisher", func() bool { n := r.runs(tr.id); return len(n) > 0 && !n[0].began.IsZero() })
				url = r.url(tr.id)
			case 2:
				url = gstServer(t, tr.clip, tr.sound)
			case 3:
				url = vlcServer(t, tr.clip, tr.sound)
			}
			put(t, f, tr.id, url)
			putWith(t, f, tr.twin.id, url, rtsp.EngineNative)
		}
		enough := time.Now().Add(12 * time.Second) // enough sound to judge
		// A stream without a random access point has a problem after 20 s.
		over := time.Now().Add(26 * time.Second)
		testenv.Wait(t, testenv.Patience, "the cameras", func() bool {
			done := 0
			said, err := system.Statuses(t, f.URL)
			if err != nil {
				t.Fatal(err)
			}
			for _, tr := range both(some) {
				if st := said[tr.id]; st.State == schemas.StateLive {
					if tr.live, tr.problem, tr.video = true, st.Problem, st.Video; strings.HasPrefix(st.Problem, "Kafka does not answer") {
						tr.problem = "" // the machine is busy: that says nothing of the camera
					}
				} else if !tr.live {
					tr.problem = st.Error
				}
				if recorded(t, f, tr.id) > trialLong/2 && (tr.sound == nil || time.Now().After(enough)) {
					done++
				}
			}
			return done == 2*len(some) || time.Now().After(over)
		})
		for _, tr := range some {
			for _, row := range x.rows {
				if row[0] == tr.name {
					row[tr.column] = tr.verdict(t, f)
					if native := tr.twin.verdict(t, f); native != row[tr.column] {
						row[tr.column] += "; native engine: " + native
					}
					t.Logf("%s, %s: %s", tr.name, x.head[tr.column], row[tr.column])
				}
			}
		}
	}
	x.check(t)
}

// recorded returns how much footage a camera's playlist lists.
func recorded(t *testing.T, f *testenv.Framelog, id string) time.Duration {
	t.Helper()
	p := system.MediaPlaylist(t, system.Multivariant(f.URL, id))
	if p == nil {
		return 0
	}
	var sum time.Duration
	for _, s := range p.Segments {
		sum += s.Duration
	}
	return sum
}

var volume = regexp.MustCompile(`max_volume: (-?[0-9.]+) dB`)

// verdict returns the table's cell for a trial.
func (tr *trial) verdict(t *testing.T, f *testenv.Framelog) string {
	t.Helper()
	why := ""
	if tr.problem != "" {
		why = ": “" + strings.ReplaceAll(tr.problem, "|", "/") + "”"
	}
	url := f.URL + "/hls/" + tr.id + "/index.m3u8"
	if recorded(t, f, tr.id) == 0 {
		if tr.live && tr.problem == "" {
			return "no HLS of " + string(tr.video)
		}
		return "not recorded" + why
	}
	if strings.HasPrefix(tr.problem, "no keyframe for ") {
		// How much plays depends on when the server begins its file anew, with the one
		// keyframe that it has.
		return "what follows its only keyframe" + why
	}
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	ends := []string{"-nostdin", "-hide_banner", "-live_start_index", "0", "-max_reload", "3", "-m3u8_hold_counters", "3", "-t", "9", "-i", url}
	ffmpeg := testenv.Tool(t, "ffmpeg", "ffmpeg")
	if tr.sound != nil {
		// The latest segments, without what the first ones may lack.
		for i := range ends {
			if ends[i] == "-live_start_index" {
				ends[i+1] = "-3"
			}
		}
		probe := func(from string) string {
			out, _ := exec.CommandContext(ctx, testenv.Tool(t, "ffprobe", "ffmpeg"), "-v", "error", "-live_start_index", from,
				"-select_streams", "a", "-show_entries", "stream=codec_name", "-of", "csv=p=0", url).Output()
			return strings.TrimSpace(strings.SplitN(string(out), "\n", 2)[0])
		}
		codec := probe("-3")
		if first := probe("0"); first != codec {
			t.Errorf("%s: the first segment's sound is %q, the latest's %q", tr.id, first, codec)
		}
		if codec == "" {
			return "no sound" + why
		}
		var errs bytes.Buffer
		cmd := exec.CommandContext(ctx, ffmpeg, append(ends, "-vn", "-af", "bandpass=f=1000:width_type=h:w=50,volumedetect", "-f", "null", "-")...)
		cmd.Stderr = &errs
		_ = cmd.Run()
		m := volume.FindStringSubmatch(errs.String())
		if m == nil {
			return "no sound" + why
		}
		if db, _ := strconv.ParseFloat(m[1], 64); db < -30 {
			return "silence (" + m[1] + " dB)" + why
		}
		if codec != tr.sound.codec {
			return "converted to " + strings.ToUpper(codec) + why
		}
		return "as it is" + why
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, ffmpeg, append(ends, "-an", "-fps_mode", "passthrough", "-vf", toGray, "-f", "rawvideo", "-")...)
	cmd.Stdout = &out
	_ = cmd.Run()
	d := &decoder{}
	d.read(&out, false)
	frames, missed, damaged := 0, 0, 0
	for i, x := range d.all {
		if i > 0 && x.Frame >= 0 && x.Frame < d.all[i-1].Frame {
			break // the clip has begun again
		}
		frames++
		if i > 0 && x.Frame != d.all[i-1].Frame+1 {
			missed++
		}
		if x.Hash != tr.source[x.Frame] {
			damaged++
		}
	}
	switch {
	case frames < 90:
		return fmt.Sprintf("%d pictures", frames) + why
	case missed > 0 || damaged > 0:
		return fmt.Sprintf("%d pictures, %d times one is missing, %d damaged", frames, missed, damaged) + why
	}
	return "as it is" + why
}
