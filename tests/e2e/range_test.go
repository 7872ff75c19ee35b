package e2e

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/egress/timeline"
	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/oracle/media"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// A past range has the frames that the camera sent then: over HLS those of whole segments, and
// as a clip exactly those that are shown between its times. The timeline tells how much there
// is. All this is the same, with the same bytes at the same URLs, after Kafka has removed the
// first half of the footage, and then all of it, if that is archived.
func TestRanges(t *testing.T) {
	t.Parallel()
	file := testenv.Clip{Seconds: 8, BFrames: 2, Audio: "aac", FPS: 25}.File(t)
	cam, source := system.Camera(t, camsim.CameraConfig{Feed: system.Load(t, file), HangUp: true})
	f := testenv.Up(t, testenv.UpOptions{Config: system.Cameras(map[string]string{"cam": source})})
	base := testenv.Nginx(t, "", f.URL)
	testenv.Wait(t, 2*testenv.Patience, "the clip's end", cam.Over)
	live := settled(t, system.Multivariant(base, "cam"), 8*time.Second).Segments
	r := &ranges{begin: live[0].PDT, frames: testenv.FrameHashes(t, file, testenv.HashOptions{NoAudio: true}).Video}
	r.check(t, f, base)
	clip := "/clip/cam.mp4" + span{2420 * time.Millisecond, 5620 * time.Millisecond}.query(r.begin)
	checkInChromium(t, base, clip, 3200*time.Millisecond)
	early := span{-time.Hour, -59 * time.Minute}.query(r.begin)
	for url, want := range map[string]int{
		"/hls/cam/index.m3u8" + early: http.StatusNotFound, "/hls/cam/raw.m3u8?start=yesterday": http.StatusBadRequest,
		"/clip/cam.mp4" + early: http.StatusNotFound, "/clip/cam/720p.mp4?start=-1h": http.StatusNotFound,
	} {
		if status, b, err := testenv.Get(t, base+url); err != nil || status != want {
			t.Errorf("%s: %d, %v, %.200s", url, status, err, b)
		}
	}

	whole := span{0, 8 * time.Second}.query(r.begin)
	segments := segmentsOf(t, f.URL, whole)
	entries := archiveAll(t, f)
	for i, begin := range []uint64{entries[len(entries)/2].Seq, entries[len(entries)-1].Seq + 1} {
		expire(t, f, entries, begin)
		f.Kill(t, "egress") // it has segments in memory
		f.Wait(t, testenv.Patience, "egress", func() bool {
			status, _, err := f.Get(t, "/hls/cam/index.m3u8"+whole)
			return err == nil && status == http.StatusOK
		})
		if got := segmentsOf(t, f.URL, whole); !maps.Equal(got, segments) {
			t.Errorf("Kafka begins at %d: segments\n%v, want\n%v", begin, got, segments)
		}
		if i == 0 { // ranges over the border
			r.check(t, f, f.URL)
		}
	}
}

// ranges are those of a camera whose first frame has the public time begin.
type ranges struct {
	begin  time.Time
	frames []testenv.Hash
	delay  time.Duration
}

func (r *ranges) check(t *testing.T, f *testenv.Framelog, base string) {
	t.Helper()
	// index is the first frame that is shown at a time or later.
	index := func(at time.Duration) int { return int((at*25 + time.Second - 1) / time.Second) }
	for _, c := range []span{{0, 3020 * time.Millisecond}, {2420 * time.Millisecond, 5620 * time.Millisecond}, {6540 * time.Millisecond, 7020 * time.Millisecond}} {
		want := r.frames[index(c.from):index(c.to)]
		got := testenv.FrameHashes(t, base+"/hls/cam/index.m3u8"+c.query(r.begin), testenv.HashOptions{NoAudio: true}).Video
		from, d := media.Window(r.frames, got)
		if d != "" || from > index(c.from) || from+len(got) < index(c.to) || len(got) > len(want)+2*25 {
			t.Errorf("HLS of %v: %s; frames %d to %d, want %d to %d and not much more", c, d, from, from+len(got), index(c.from), index(c.to))
		}

		path, header := download(t, base+"/clip/cam.mp4"+c.query(r.begin))
		start, err := time.Parse(time.RFC3339Nano, header.Get("Framelog-Start"))
		if err != nil {
			t.Fatal(err)
		}
		if c.from == 0 {
			r.delay = start.Sub(r.begin) // from the decode time of the first picture until it is shown
		}
		shown := testenv.FrameHashes(t, path, testenv.HashOptions{NoAudio: true, EditList: true}).Video
		if d := media.Diff(r.frames[max(0, index(c.from-r.delay)-1):index(c.to-r.delay)], shown); d != "" {
			t.Errorf("clip of %v: %s", c, d)
		}
		checkCommand(t, f, path, r.begin.Add(c.from), r.begin.Add(c.to))
		if c.from == 0 {
			checkExport(t, f, path, r.begin.Add(c.from), r.begin.Add(c.to))
		}
	}
	var line timeline.Timeline
	f.JSON(t, "/v1/timeline/cam"+span{-time.Minute, time.Hour}.query(r.begin)+"&step=1m", &line)
	footage, bytes := 0.0, int64(0)
	for _, step := range line.Steps {
		footage, bytes = footage+step.Footage, bytes+step.Bytes
	}
	if math.Abs(footage-8) > 0.1 || bytes == 0 || line.Oldest == nil || !line.Oldest.Truncate(time.Millisecond).Equal(r.begin) {
		t.Errorf("timeline: %.3f s and %d bytes from %v on, want 8 s from %v on", footage, bytes, line.Oldest, r.begin)
	}
}

// segmentsOf returns the SHA-256 of each segment and init of a range, by its path.
func segmentsOf(t *testing.T, base, query string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	sum := func(path string) {
		body := get(t, base+"/hls/cam/"+path)
		if body == "" {
			t.Fatalf("%s is empty", path)
		}
		sums[path] = fmt.Sprintf("%x", sha256.Sum256([]byte(body)))
	}
	for line := range strings.Lines(get(t, base+"/hls/cam/raw.m3u8"+query)) {
		line = strings.TrimSpace(line)
		if _, rest, ok := strings.Cut(line, `#EXT-X-MAP:URI="`); ok {
			sum(strings.TrimSuffix(rest, `"`))
		} else if line != "" && line[0] != '#' {
			sum(line)
		}
	}
	if len(sums) < 9 {
		t.Fatalf("segments %v", sums)
	}
	return sums
}

// archiveAll writes all that the log has of the camera into the archive, and returns its entries.
func archiveAll(t *testing.T, f *testenv.Framelog) (entries []schemas.Entry) {
	t.Helper()
	l, err := medialog.Connect(medialog.Config{Kafka: kafka.Config{Brokers: []string{f.Broker}, ClientID: "archive"}}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	of := schemas.Topic{Camera: "cam"}
	for e, err := range l.Entries(t.Context(), of, medialog.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	again := func(yield func(schemas.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
	written := 0
	write := func(file []schemas.Entry) {
		if err := archive.Write(t.Context(), archive.Local(filepath.Join(f.Data, "archive")), l, of, file); err != nil {
			t.Fatal(err)
		}
		written += len(file)
	}
	for file := range archive.Cut(of, again) {
		write(file)
	}
	write(entries[written:]) // nothing comes behind it
	return entries
}

// expire deletes the media of all fragments below a seq, as retention does in time.
func expire(t *testing.T, f *testenv.Framelog, entries []schemas.Entry, before uint64) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(f.Broker))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	topic := schemas.Names{}.Media(schemas.Topic{Camera: "cam"})
	var offsets kadm.Offsets
	for _, e := range entries {
		if e.Seq < before {
			offsets.AddOffset(topic, e.Partition, e.Last+1, -1)
		}
	}
	if res, err := kadm.NewClient(client).DeleteRecords(t.Context(), offsets); err != nil || res.Error() != nil {
		t.Fatal(err, res.Error())
	}
}

// expireIndex deletes all entries before one.
func expireIndex(t *testing.T, f *testenv.Framelog, before schemas.Entry) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(f.Broker))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var offsets kadm.Offsets
	offsets.AddOffset(schemas.Names{}.Index(schemas.Topic{Camera: "cam"}), 0, before.Offset, -1)
	if res, err := kadm.NewClient(client).DeleteRecords(t.Context(), offsets); err != nil || res.Error() != nil {
		t.Fatal(err, res.Error())
	}
}

// span is a range of time since footage begins.
type span struct{ from, to time.Duration }

func (s span) query(begin time.Time) string {
	v := url.Values{"start": {begin.Add(s.from).Format(time.RFC3339Nano)}, "end": {begin.Add(s.to).Format(time.RFC3339Nano)}}
	return "?" + v.Encode()
}

// download fetches a clip into a file.
func download(t *testing.T, url string) (path string, header http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	path = filepath.Join(t.TempDir(), "clip.mp4")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if n, err := out.ReadFrom(w.Body); err != nil || n != w.ContentLength || w.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %d bytes of %d, %v", url, w.Status, n, w.ContentLength, err)
	}
	return path, w.Header
}

// checkCommand checks that framelog clip writes the same file, and replaces none.
func checkCommand(t *testing.T, f *testenv.Framelog, path string, from, to time.Time) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "command.mp4")
	run := func() (string, error) {
		text, err := exec.CommandContext(t.Context(), testenv.Binary(t), "clip", "cam", "--config", f.Config(), "--out", out,
			"--from", from.Format(time.RFC3339Nano), "--to", to.Format(time.RFC3339Nano)).CombinedOutput()
		return string(text), err
	}
	if text, err := run(); err != nil {
		t.Fatalf("framelog clip: %v\n%s", err, text)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(out); err != nil || !slices.Equal(got, want) {
		t.Errorf("framelog clip writes %d bytes, HTTP sends %d (%v)", len(got), len(want), err)
	}
	if text, err := run(); err == nil {
		t.Errorf("framelog clip replaces a file: %s", text)
	}
	if names, err := filepath.Glob(filepath.Join(filepath.Dir(out), "*")); err != nil || len(names) != 1 {
		t.Errorf("framelog clip leaves %v (%v)", names, err)
	}
}

// checkExport checks that framelog export writes the same file, that framelog verify confirms it
// alone and against the log, and that it finds a changed byte.
func checkExport(t *testing.T, f *testenv.Framelog, path string, from, to time.Time) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "export")
	run := func(args ...string) (string, error) {
		text, err := exec.CommandContext(t.Context(), testenv.Binary(t), append(args, "--config", f.Config())...).CombinedOutput()
		return string(text), err
	}
	if text, err := run("export", "cam", "--out", dir, "--from", from.Format(time.RFC3339Nano), "--to", to.Format(time.RFC3339Nano)); err != nil {
		t.Fatalf("framelog export: %v\n%s", err, text)
	}
	clips, err := filepath.Glob(filepath.Join(dir, "*.mp4"))
	if err != nil || len(clips) != 1 {
		t.Fatalf("framelog export writes %v (%v)", clips, err)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(clips[0]); err != nil || !slices.Equal(got, want) {
		t.Errorf("framelog export writes %d bytes, HTTP sends %d (%v)", len(got), len(want), err)
	}
	text, err := run("verify", dir, "--against-log")
	if err != nil || !strings.Contains(text, "Every byte is as it was exported") || !strings.Contains(text, " 0 with others, and 0 not any more") {
		t.Errorf("framelog verify: %v\n%s", err, text)
	}
	want[len(want)/2] ^= 1
	if err := os.WriteFile(clips[0], want, 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := run("verify", dir); err == nil || !strings.Contains(text, filepath.Base(clips[0])+": segment") {
		t.Errorf("framelog verify of a changed clip: %v\n%s", err, text)
	}
}

// checkInChromium checks that a <video> plays a clip to its end, and how long that is.
func checkInChromium(t *testing.T, base, path string, long time.Duration) {
	t.Helper()
	p := testenv.Chromium(t).Open(t, base+"/")
	got := p.PlayFile(path).Long
	if got < long || got > long+2*40*time.Millisecond {
		t.Errorf("Chromium: %v long, want %v", got, long)
	}
}
