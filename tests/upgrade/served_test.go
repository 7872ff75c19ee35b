package upgrade

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/oracle/hlscheck"
	"github.com/framelog/framelog/tests/testenv"
)

// The camera that is recorded, and its renditions.
const camera = "yard"

var renditions = []string{"raw", "low", "motion"}

// configuration is that of every version: footage never expires.
const configuration = `name: frozen
topics: {retention: 1000000h}
cameras:
  - {id: gate, label: The gate, url: "rtsp://127.0.0.1:9/none", disabled: true}
processors:
  - name: motion
  - name: transcode
    settings: {ladder: [{name: low, height: 90, bitrate: 60k}]}
`

// served is what a Framelog tells of its data.
type served struct {
	Segments map[string][]segment `json:"segments"` // by rendition
	From     time.Time            `json:"from"`     // public time of the first
	To       time.Time            `json:"to"`       // and the end of the last
	Events   []event              `json:"events"`   // between them
	Cameras  []desired            `json:"cameras"`
	Users    []user               `json:"users"`
}

// segment is one of a playlist, with the hashes of its bytes and of its initialization.
type segment struct {
	URI      string        `json:"uri"`
	Seq      uint64        `json:"seq"`
	Session  uint64        `json:"session"` // the discontinuity sequence number
	Start    time.Time     `json:"start"`
	Duration time.Duration `json:"duration"`
	Gap      bool          `json:"gap,omitempty"`
	Hash     string        `json:"hash,omitempty"`
	Init     string        `json:"init,omitempty"`
	InitHash string        `json:"init_hash,omitempty"`
}

type event struct {
	Type      string    `json:"type"`
	Rendition string    `json:"rendition"`
	Seq       uint64    `json:"seq"`
	Start     time.Time `json:"start"`
	End       time.Time `json:"end"`
	Value     float64   `json:"value"`
}

// desired is a camera as it shall be.
type desired struct {
	ID       string `json:"id"`
	Label    string `json:"label"`
	Source   string `json:"source"`
	Disabled bool   `json:"disabled"`
}

type user struct {
	Name       string   `json:"name"`
	Role       string   `json:"role"`
	Cameras    []string `json:"cameras"`
	Renditions []string `json:"renditions"`
}

// playlist returns the media playlist of a rendition; nil if it is not there.
func playlist(t *testing.T, f *testenv.Framelog, rendition string) *hlscheck.Media {
	t.Helper()
	status, body, err := f.Get(t, "/hls/"+camera+"/"+rendition+".m3u8")
	if err != nil || status != http.StatusOK {
		return nil
	}
	m, err := hlscheck.ParseMedia(string(body))
	if err != nil {
		t.Fatalf("%s: %v", rendition, err)
	}
	return m
}

// get fetches what a playlist names, and returns its hash.
func get(t *testing.T, f *testenv.Framelog, uri string) string {
	t.Helper()
	status, body, err := f.Get(t, "/hls/"+camera+"/"+uri)
	if err != nil || status != http.StatusOK {
		t.Fatalf("get %s: %d, %v", uri, status, err)
	}
	return hash(body)
}

// segments returns the complete segments of a playlist.
func segments(t *testing.T, f *testenv.Framelog, m *hlscheck.Media) (all []segment) {
	t.Helper()
	for _, s := range m.Segments {
		one := segment{URI: s.URI, Seq: s.Seq, Session: s.DiscSeq, Start: s.PDT.UTC(), Duration: s.Duration, Gap: s.Gap, Init: s.Map}
		if !s.Gap {
			one.Hash, one.InitHash = get(t, f, s.URI), get(t, f, s.Map)
		}
		all = append(all, one)
	}
	return all
}

// look returns what f serves.
func look(t *testing.T, f *testenv.Framelog) served {
	t.Helper()
	out := served{Segments: map[string][]segment{}}
	for _, r := range renditions {
		m := playlist(t, f, r)
		if m == nil || len(m.Segments) == 0 {
			t.Fatalf("no playlist of %s", r)
		}
		out.Segments[r] = segments(t, f, m)
	}
	raw := out.Segments["raw"]
	last := raw[len(raw)-1]
	out.From, out.To = raw[0].Start, last.Start.Add(last.Duration)
	out.Events = events(t, f, out.From, out.To)
	var cameras struct{ Cameras []desired }
	f.JSON(t, "/v1/cameras", &cameras)
	out.Cameras = cameras.Cameras
	if err := json.Unmarshal(command(t, f, "", "users", "list", "--output", "json"), &out.Users); err != nil {
		t.Fatal(err)
	}
	return out
}

// events returns what motion found between two times.
func events(t *testing.T, f *testenv.Framelog, from, to time.Time) []event {
	t.Helper()
	var found struct{ Events []event }
	f.JSON(t, "/v1/events/"+camera+"?type=motion&joined=false&start="+from.Format(time.RFC3339Nano)+"&end="+to.Format(time.RFC3339Nano), &found)
	return found.Events
}

// command runs a command of this Framelog and returns what it prints.
func command(t *testing.T, f *testenv.Framelog, input string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), testenv.Binary(t), append(args, "--config", f.Config())...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("framelog %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}
