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
// as a clip exactly those that are shown between its times, with their sound. The timeline tells
// how much there is. All this is the same, with the same bytes at the same URLs, after Kafka has
// removed the first half of the footage, and then all of it, if that is archived.
func TestRanges(t *testing.T) {
	t.Parallel()
	clips := map[string]testenv.Clip{
		"cam": {Seconds: 8, BFrames: 2, Audio: "aac", FPS: 25}, "hevc": {Codec: "h265", Seconds: 8, BFrames: 2, Audio: "aac", FPS: 25},
	}
	urls, cameras, all := map[string]string{}, map[string]*camsim.Camera{}, map[string]*ranges{}
	for id, clip := range clips {
		file := clip.File(t)
		cameras[id], urls[id] = system.Camera(t, camsim.CameraConfig{Feed: system.Load(t, file), HangUp: true})
		all[id] = &ranges{camera: id, source: testenv.FrameHashes(t, file, testenv.HashOptions{})}
	}
	f := testenv.Up(t, testenv.UpOptions{Config: system.Cameras(urls)})
	base := testenv.Nginx(t, "", f.URL)
	for id, r := range all {
		testenv.Wait(t, 2*testenv.Patience, "the clip's end", cameras[id].Over)
		r.begin = settled(t, system.Multivariant(base, id), 8*time.Second).Segments[0].PDT
		r.check(t, f, base)
	}
	begin := all["cam"].begin
	checkInChromium(t, base, "/clip/cam.mp4"+span{2420 * time.Millisecond, 5620 * time.Millisecond}.query(begin))
	early := span{-time.Hour, -59 * time.Minute}.query(begin)
	for url, want := range map[string]int{
		"/hls/cam/index.m3u8" + early: http.StatusNotFound, "/hls/cam/raw.m3u8?start=yesterday": http.StatusBadRequest,
		"/clip/cam.mp4" + early: http.StatusNotFound, "/clip/cam/720p.mp4?start=-1h": http.StatusNotFound,
	} {
		if status, b, err := testenv.Get(t, base+url); err != nil || status != want {
			t.Errorf("%s: %d, %v, %.200s", url, status, err, b)
		}
	}

	for id, r := range all {
		r.segments, r.entries = segmentsOf(t, f.URL, id, r.whole()), archiveAll(t, f, id)
	}
	for _, half := range []bool{true, false} {
		for id, r := range all {
			begin := r.entries[len(r.entries)-1].Seq + 1
			if half {
				begin = r.entries[len(r.entries)/2].Seq
			}
			expire(t, f, id, r.entries, begin)
		}
		f.Kill(t, "egress") // it has segments in memory
		for id, r := range all {
			f.Wait(t, testenv.Patience, "egress", func() bool {
				status, _, err := f.Get(t, "/hls/"+id+"/index.m3u8"+r.whole())
				return err == nil && status == http.StatusOK
			})
			if got := segmentsOf(t, f.URL, id, r.whole()); !maps.Equal(got, r.segments) {
				t.Errorf("%s, half of it expired: %v: segments\n%v, want\n%v", id, half, got, r.segments)
			}
			if half { // ranges over the border
				r.check(t, f, f.URL)
			}
		}
	}
}

// ranges are those of a camera that sent source, whose first frame has the public time begin.
type ranges struct {
	camera   string
	begin    time.Time
	source   testenv.Hashes
	delay    time.Duration
	segments map[string]string
	entries  []schemas.Entry
}

func (r *ranges) whole() string { return span{0, 8 * time.Second}.query(r.begin) }

func (r *ranges) check(t *testing.T, f *testenv.Framelog, base string) {
	t.Helper()
	const frame = 40 * time.Millisecond
	// index is the first frame that is shown at a time or later.
	index := func(at time.Duration) int { return int((at + frame - 1) / frame) }
	for _, c := range []span{{0, 3020 * time.Millisecond}, {2420 * time.Millisecond, 5620 * time.Millisecond}, {6540 * time.Millisecond, 7020 * time.Millisecond}} {
		hls := base + "/hls/" + r.camera + "/index.m3u8" + c.query(r.begin)
		want, got := r.source.Video, testenv.FrameHashes(t, hls, testenv.HashOptions{})
		from, d := media.Window(want, got.Video)
		if n := index(c.to) - index(c.from); d != "" || from > index(c.from) || from+len(got.Video) < index(c.to) || len(got.Video) > n+2*25 {
			t.Errorf("HLS of %s, %v: %s; frames %d to %d, want %d to %d and not much more", r.camera, c, d, from, from+len(got.Video), index(c.from), index(c.to))
		}
		r.checkSound(t, fmt.Sprint("HLS of ", c), c, got.Audio, 60)
		var told time.Duration
		for _, s := range system.MediaPlaylist(t, hls).Segments {
			told += s.Duration
		}
		if shown := time.Duration(len(got.Video)) * frame; (told - shown).Abs() > frame {
			t.Errorf("HLS of %s, %v: the playlist tells %v, ffmpeg plays %v", r.camera, c, told, shown)
		}

		path, header := download(t, base+"/clip/"+r.camera+".mp4"+c.query(r.begin))
		start, end := headerTime(t, header, "Framelog-Start"), headerTime(t, header, "Framelog-End")
		if c.from == 0 {
			r.delay = start.Sub(r.begin) // from the decode time of the first picture until it is shown
		}
		shown := testenv.FrameHashes(t, path, testenv.HashOptions{NoAudio: true, EditList: true}).Video
		if d := media.Diff(want[max(0, index(c.from-r.delay)-1):index(c.to-r.delay)], shown); d != "" {
			t.Errorf("clip of %s, %v: %s", r.camera, c, d)
		}
		if d := end.Sub(start) - time.Duration(len(shown))*frame; d.Abs() > frame || c.from > 0 && r.begin.Add(c.from).Sub(start) >= frame || end.Sub(r.begin.Add(c.to)) >= frame {
			t.Errorf("clip of %s, %v: it has %d pictures, and is to be %v long from %v on", r.camera, c, len(shown), end.Sub(start), start.Sub(r.begin))
		}
		r.checkSound(t, fmt.Sprint("clip of ", c), c, testenv.FrameHashes(t, path, testenv.HashOptions{}).Audio, 6)
		if r.camera != "cam" { // the commands do the same for each codec
			continue
		}
		checkCommand(t, f, path, r.begin.Add(c.from), r.begin.Add(c.to))
		if c.from == 0 {
			checkExport(t, f, path, r.begin.Add(c.from), r.begin.Add(c.to))
		}
	}
	var line timeline.Timeline
	f.JSON(t, "/v1/timeline/"+r.camera+span{-time.Minute, time.Hour}.query(r.begin)+"&step=1m", &line)
	footage, bytes := 0.0, int64(0)
	for _, step := range line.Steps {
		footage, bytes = footage+step.Footage, bytes+step.Bytes
	}
	if math.Abs(footage-8) > 0.1 || bytes == 0 || line.Oldest == nil || !line.Oldest.Truncate(time.Millisecond).Equal(r.begin) {
		t.Errorf("timeline of %s: %.3f s and %d bytes from %v on, want 8 s from %v on", r.camera, footage, bytes, line.Oldest, r.begin)
	}
}

// checkSound checks that decoded sound is that of the source from c.from to c.to, and at most more
// frames before and behind it. What a decoder makes of its first frames depends on those before,
// which it does not have.
func (r *ranges) checkSound(t *testing.T, what string, c span, got []testenv.Hash, more int) {
	t.Helper()
	const warm, frame = 2, 1024 * time.Second / 48000
	if len(got) <= warm {
		t.Fatalf("%s: %s: %d frames of sound", r.camera, what, len(got))
	}
	first, d := media.Window(r.source.Audio, got[warm:])
	from, to := first-warm, first-warm+len(got)
	wantFrom, wantTo := int(max(0, c.from-r.delay)/frame), int((c.to-r.delay)/frame)
	if d != "" || from > wantFrom || to < wantTo || wantFrom-from > more || to-wantTo > more {
		t.Errorf("%s: %s: frames %d to %d of sound, want %d to %d: %s", r.camera, what, from, to, wantFrom, wantTo, d)
	}
}

func headerTime(t *testing.T, header http.Header, name string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, header.Get(name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return at
}

// segmentsOf returns the SHA-256 of each segment and init of a range, by its path.
func segmentsOf(t *testing.T, base, camera, query string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	sum := func(path string) {
		body := get(t, base+"/hls/"+camera+"/"+path)
		if body == "" {
			t.Fatalf("%s is empty", path)
		}
		sums[path] = fmt.Sprintf("%x", sha256.Sum256([]byte(body)))
	}
	for line := range strings.Lines(get(t, base+"/hls/"+camera+"/raw.m3u8"+query)) {
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
func archiveAll(t *testing.T, f *testenv.Framelog, camera string) (entries []schemas.Entry) {
	t.Helper()
	l, err := medialog.Connect(medialog.Config{Kafka: kafka.Config{Brokers: []string{f.Broker}, ClientID: "archive"}}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	of := schemas.Topic{Camera: camera}
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
func expire(t *testing.T, f *testenv.Framelog, camera string, entries []schemas.Entry, before uint64) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(f.Broker))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	topic := schemas.Names{}.Media(schemas.Topic{Camera: camera})
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

// checkInChromium checks that a <video> plays a clip to its end, and as long as its headers say.
func checkInChromium(t *testing.T, base, path string) {
	t.Helper()
	_, header := download(t, base+path)
	want := headerTime(t, header, "Framelog-End").Sub(headerTime(t, header, "Framelog-Start"))
	if got := testenv.Chromium(t).Open(t, base+"/").PlayFile(path); (got.Long-want).Abs() > 40*time.Millisecond || got.First != 0 {
		t.Errorf("Chromium: %+v, want %v from 0 on", got, want)
	}
}
