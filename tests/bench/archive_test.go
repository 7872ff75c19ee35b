package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	clips "github.com/framelog/framelog/egress/clip"
	"github.com/framelog/framelog/egress/hls"
	"github.com/framelog/framelog/egress/timeline"
	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/internal/archive/s3"
	cut "github.com/framelog/framelog/internal/clip"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

const archiveName = "archive"

// BenchmarkArchive prints how soon old footage is found, and how fast it is cut out, served and
// archived.
func BenchmarkArchive(b *testing.B) {
	only, err := regexp.Compile(*flags.only)
	if err != nil {
		b.Fatal(err)
	}
	if !only.MatchString(archiveName) {
		return
	}
	fmt.Printf("\n%s\n", machine())
	broker := startBroker(b)
	b.Run("find", func(b *testing.B) { findOld(b, broker) })
	b.Run("media", func(b *testing.B) { serveOld(b) })
	b.Run("write", func(b *testing.B) { archiveCost(b, broker) })
	b.ReportMetric(0, "ns/op")
}

// footage is the log with the archive behind it, as framelog egress has it.
type footage struct {
	*archive.Joined
	logOnly
}

// logOnly lies deeper in footage than Joined, so methods that both have are those of Joined.
type logOnly struct{ tails }

type tails interface {
	archive.Log
	Tail(ctx context.Context, t schemas.Topic, from medialog.Position) iter.Seq2[medialog.Event, error]
	Topics(ctx context.Context) ([]schemas.Topic, error)
}

func withArchive(l tails, dir string) footage {
	return footage{archive.NewJoined(l, archive.NewSet(archive.Local(dir), nil, nil)), logOnly{l}}
}

func known(string) bool { return true }

// findOld measures playlists and timelines: 30 days of one camera in the archive, the newest 24
// hours of them in the log too.
func findOld(b *testing.B, broker string) {
	l, days, now := tiny(), *flags.days, time.Now().Truncate(time.Second)
	l.recordInTime(b, broker, yard, now.Add(-24*time.Hour), 24*time.Hour)
	var recent []schemas.Entry
	for e, err := range connect(b, broker).Entries(b.Context(), yard, medialog.Range{}) {
		if err != nil {
			b.Fatal(err)
		}
		recent = append(recent, e)
	}
	dir := fastDir(b)
	entries := append(l.before(recent[0], time.Duration(days-1)*24*time.Hour), recent[:len(recent)-150]...)
	began := time.Now()
	files := l.archived(b, archive.Local(dir), yard, entries)
	fmt.Printf("%d days in %d files of the archive (made in %v), %d fragments in the log, ten pictures of a few bytes in each fragment\n",
		days, files, time.Since(began).Round(time.Second), len(recent))

	z := archive.NewSummariser(archive.Local(dir), slog.New(slog.DiscardHandler))
	began = time.Now()
	for range 1 + days/20 {
		if err := z.Look(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	fmt.Printf("summaries of them (made in %v)\n", time.Since(began).Round(time.Second))

	day, month := newSpan(now.Add(-24*time.Hour), now), newSpan(now.Add(-30*24*time.Hour), now)
	older, year := newSpan(now.Add(-72*time.Hour), now.Add(-48*time.Hour)), newSpan(now.Add(-365*24*time.Hour), now)
	for _, c := range []struct {
		what       string
		path       string
		cold, warm float64
	}{
		{"playlist of 24 hours in the log", "/hls/yard/raw.m3u8?" + day, 100, 10},
		{"playlist of 24 hours in the archive", "/hls/yard/raw.m3u8?" + older, 100, 10},
		{"timeline of a month, steps of 1 h", "/v1/timeline/yard?step=1h&" + month, 100, 0},
		{"timeline of a month, steps of 15 min", "/v1/timeline/yard?step=15m&" + month, 100, 0},
		{"timeline of a year, steps of 24 h", "/v1/timeline/yard?step=24h&" + year, 0, 0},
	} {
		var cold, warm, coldCPU, warmCPU []float64
		for range *flags.rounds {
			runtime.GC() // the footage was made in this process
			own := connect(b, broker)
			if _, err := own.IndexEnd(b.Context(), schemas.Topic{Camera: "other"}); err != nil {
				b.Fatal(err)
			}
			s := newViewer(b, own, dir)
			wall, cpu := s.get(b, c.path)
			cold, coldCPU = append(cold, wall), append(coldCPU, cpu)
			for range 5 {
				wall, cpu := s.get(b, c.path)
				warm, warmCPU = append(warm, wall), append(warmCPU, cpu)
			}
		}
		line(os.Stdout, fmt.Sprintf("%s, cold (%.1f ms of CPU)", c.what, median(coldCPU)), median(cold), c.cold, "ms")
		line(os.Stdout, fmt.Sprintf("%s, warm (%.1f ms of CPU)", c.what, median(warmCPU)), median(warm), c.warm, "ms")
	}
}

func newSpan(from, to time.Time) string {
	return url.Values{"start": {from.UTC().Format(time.RFC3339)}, "end": {to.UTC().Format(time.RFC3339)}}.Encode()
}

// viewer is an egress that has just started: it is connected to the broker, and has read nothing.
// Files are in the memory of the system.
type viewer struct{ http.Handler }

func newViewer(b *testing.B, l tails, dir string) viewer {
	b.Helper()
	all := withArchive(l, dir)
	stream, err := hls.New(hls.Config{}, all, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- stream.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-done })
	mux := http.NewServeMux()
	mux.Handle("/hls/", stream)
	for _, r := range append(timeline.New(timeline.Config{ReadTimeout: time.Minute}, timeline.Deps{Log: all, Known: known}).Routes(),
		clips.New(clips.Config{}, clips.Deps{Log: all, Known: known}).Routes()...) {
		mux.HandleFunc(r.Pattern, r.Handler)
	}
	return viewer{mux}
}

// get returns how long a request takes, without a network, and the CPU time of this process, both
// in milliseconds.
func (v viewer) get(b *testing.B, path string) (wall, cpu float64) {
	b.Helper()
	r, w := httptest.NewRequestWithContext(b.Context(), "GET", path, nil), httptest.NewRecorder()
	before, began := selfCPU(b), time.Now()
	v.ServeHTTP(w, r)
	d, used := time.Since(began), selfCPU(b)-before
	if w.Code != http.StatusOK || w.Body.Len() < 300 {
		b.Fatalf("%s: %d, %d bytes", path, w.Code, w.Body.Len())
	}
	return float64(d) / float64(time.Millisecond), float64(used) / float64(time.Millisecond)
}

// archiveMinutes is how many minutes of footage are cut out and served.
const archiveMinutes = 5

// serveOld measures clips and segments that only the archive has, from real footage.
func serveOld(b *testing.B) {
	l := loop(testmedia.CopyClip(b, clip(b, bitrate)).Fragments(testmedia.Place{
		Seq: 1, Session: 1, Epoch: 1, Start: testmedia.Start,
		Layout: schemas.Layout{Target: 2, Part: schemas.PartTarget(6, schemas.MediaTimescale/fps), Video: schemas.H264},
	}, 6))
	newest := l[0].Entry
	newest.Life, newest.Seq = "life1", 1<<20
	newest.Start = time.Now().Truncate(time.Hour).Add(-time.Hour)
	newest.Media = schemas.Ticks(time.Duration(newest.Start.UnixNano()))
	length := archiveMinutes * time.Minute
	entries := l.before(newest, length)
	dir := b.TempDir()
	l.archived(b, archive.Local(dir), yard, append(entries, newest))
	from, to := newest.Start.Add(time.Second-length), newest.Start.Add(-time.Minute-time.Second)
	at := newSpan(from, to)
	v := newViewer(b, gone{}, dir)
	own := httptest.NewServer(v)
	defer own.Close()

	// What a machine takes to write the same bytes to the same disk is in both files.
	var rates, ratios, fileRatios, cpuRatios []float64
	for range *flags.rounds {
		before, began := selfCPU(b), time.Now()
		n := discard(b, own.URL+"/clip/yard.mp4?"+at)
		overHTTP, cpu := time.Since(began), selfCPU(b)-before
		rates = append(rates, float64(n)/1e6/cpu.Seconds())

		out, err := os.Create(filepath.Join(b.TempDir(), "own.mp4"))
		if err != nil {
			b.Fatal(err)
		}
		before, began = selfCPU(b), time.Now()
		cutTo(b, archive.NewJoined(gone{}, archive.NewSet(archive.Local(dir), nil, nil)), from, to, out)
		toFile, cpu := time.Since(began), selfCPU(b)-before
		if err := out.Close(); err != nil {
			b.Fatal(err)
		}

		before, began = cpuOfChildren(b), time.Now()
		testmedia.FFmpeg(b, "-i", own.URL+"/hls/yard/raw.m3u8?"+at, "-c", "copy", "-y", filepath.Join(b.TempDir(), "cut.mp4"))
		peer := time.Since(began)
		ratios, fileRatios = append(ratios, peer.Seconds()/overHTTP.Seconds()), append(fileRatios, peer.Seconds()/toFile.Seconds())
		cpuRatios = append(cpuRatios, (cpuOfChildren(b)-before).Seconds()/cpu.Seconds())
	}
	line(os.Stdout, "clip, MB/s of a core, its client and the HTTP between them included", median(rates), 0, "")
	atLeast(os.Stdout, "clip to a file, how many times as fast as ffmpeg -c copy cuts it out of HLS", median(fileRatios), 10)
	line(os.Stdout, "the same by CPU time, of ffmpeg without the server", median(cpuRatios), 0, "")
	line(os.Stdout, "clip to a client over HTTP, how many times as fast as that ffmpeg", median(ratios), 0, "")
	b.Run("export", func(b *testing.B) {
		exportOld(b, "local files", archive.Local(dir), from, to)
		store := s3Store(b)
		l.archived(b, store, yard, append(entries, newest))
		exportOld(b, "S3", store, from, to)
	})
	b.Run("segments", func(b *testing.B) { segmentsOld(b, own.URL, dir, at) })
}

// s3Store is the archive in an S3 server on this machine, with a cache that holds a part of it.
func s3Store(b *testing.B) archive.Dir {
	server := testenv.StartS3(b)
	given := func(s string) func() (string, error) { return func() (string, error) { return s, nil } }
	store, err := s3.New(s3.Config{
		Endpoint: server.Endpoint, Bucket: testenv.S3Bucket, Region: testenv.S3Region, PathStyle: true, Insecure: true,
		AccessKey: given(testenv.S3Access), SecretKey: given(testenv.S3Secret), Cache: 64 << 20,
	}, b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	return archive.In(store)
}

// exportOld measures what makes a clip alone, as framelog clip does, without a disk to write to, and
// framelog archive verify. The CPU time is that of this process, without an S3 server's.
func exportOld(b *testing.B, place string, from archive.Dir, start, end time.Time) {
	var clips, checks, clipped, checked []float64
	measure := func(cores, walls *[]float64, work func() int64) {
		cpu, began := selfCPU(b), time.Now()
		n := work()
		*walls = append(*walls, float64(n)/1e6/time.Since(began).Seconds())
		*cores = append(*cores, float64(n)/1e6/(selfCPU(b)-cpu).Seconds())
	}
	for range *flags.rounds {
		log := archive.NewJoined(gone{}, archive.NewSet(from, nil, nil))
		measure(&clips, &clipped, func() int64 {
			return cutTo(b, log, start, end, io.Discard)
		})
		measure(&checks, &checked, func() (n int64) {
			for c, err := range from.Verify(b.Context(), archive.Selection{}) {
				if err != nil || c.Result != archive.Intact {
					b.Fatal(c, err)
				}
				n += c.Size
			}
			return n
		})
	}
	what := fmt.Sprintf("clip export from %s, MB/s of a core (%.0f MB/s of time)", place, median(clipped))
	if place == "S3" {
		line(os.Stdout, what, median(clips), 0, "")
	} else {
		atLeast(os.Stdout, what, median(clips), 1000)
	}
	line(os.Stdout, fmt.Sprintf("archive verify of %s, MB/s of a core (%.0f MB/s of time)", place, median(checked)), median(checks), 0, "")
}

// cutTo writes a clip, and returns its bytes.
func cutTo(b *testing.B, log cut.Log, start, end time.Time, to io.Writer) int64 {
	b.Helper()
	all, err := cut.Plan(b.Context(), log, yard, start, end)
	if err != nil {
		b.Fatal(err)
	}
	f, err := all[0].Prepare(b.Context(), log, func(int64) {})
	if err != nil {
		b.Fatal(err)
	}
	r := f.Reader(b.Context())
	n, err := r.WriteTo(to)
	if err = errors.Join(err, r.Close()); err != nil || n != f.Size() {
		b.Fatal(n, err)
	}
	return n
}

// segmentsOld compares the segments of a range with the same bytes as files of Nginx.
func segmentsOld(b *testing.B, own, old, at string) {
	status, body, err := testenv.Get(b, own+"/hls/yard/raw.m3u8?"+at)
	if err != nil || status != http.StatusOK {
		b.Fatal(status, err)
	}
	dir := b.TempDir()
	var paths []string
	for scan := bufio.NewScanner(strings.NewReader(string(body))); scan.Scan(); {
		if !strings.HasSuffix(scan.Text(), ".m4s") {
			continue
		}
		path := "/hls/yard/" + scan.Text()
		_, segment, err := testenv.Get(b, own+path)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, path), segment, 0o600)
		}
		if err != nil {
			b.Fatal(err)
		}
		paths = append(paths, path)
	}
	nginx, process := plainNginx(b, dir)
	workers := testenv.Descendants(process.PID())
	var walls, cpus []float64
	for range *flags.rounds {
		var m, t speed
		for range 4 {
			fresh := httptest.NewServer(newViewer(b, gone{}, old)) // it has no segment in memory
			m.add(b, fresh.URL, paths, nil)
			t.add(b, nginx, paths, workers)
			fresh.Close()
		}
		walls, cpus = append(walls, t.wall.Seconds()/m.wall.Seconds()), append(cpus, t.cpu.Seconds()/m.cpu.Seconds())
		fmt.Printf("segments of the archive: %v, and %v of CPU for %d MB; Nginx: %v, %v\n", m.wall, m.cpu, m.bytes/1e6, t.wall, t.cpu)
	}
	atLeast(os.Stdout, "segments of the archive / Nginx with the same bytes as files", median(walls), 0.8)
	line(os.Stdout, "the same by CPU time of server and client", median(cpus), 0, "")
}

// speed is how long it takes to get bytes over one connection.
type speed struct {
	bytes     int64
	wall, cpu time.Duration // cpu: of this process, which has the client, and of servers
}

func (s *speed) add(b *testing.B, server string, paths []string, pids []int) {
	b.Helper()
	used := func() time.Duration {
		sum := selfCPU(b)
		for _, pid := range pids {
			cpu, err := cpuOf(pid)
			if err != nil {
				b.Fatal(err)
			}
			sum += cpu
		}
		return sum
	}
	cpu, began := used(), time.Now()
	for _, p := range paths {
		s.bytes += discard(b, server+p)
	}
	s.wall, s.cpu = s.wall+time.Since(began), s.cpu+used()-cpu
}

func discard(b *testing.B, u string) int64 {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, u, nil)
	if err != nil {
		b.Fatal(err)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer a.Body.Close()
	n, err := io.Copy(io.Discard, a.Body)
	if err != nil || a.StatusCode != http.StatusOK || n == 0 {
		b.Fatalf("%s: %d, %d bytes, %v", u, a.StatusCode, n, err)
	}
	return n
}

// archiveCost measures the CPU time of archiving a minute of 16 cameras from a broker.
func archiveCost(b *testing.B, broker string) {
	const minutes = 4
	l := loop(testmedia.CopyClip(b, clip(b, bitrate)).Fragments(testmedia.Place{
		Start: testmedia.Start, Layout: schemas.Layout{Target: 2, Part: schemas.PartTarget(6, schemas.MediaTimescale/fps), Video: schemas.H264},
	}, 6))
	gate := schemas.Topic{Camera: "gate"}
	l.record(b, connect(b, broker), gate, time.Now().Add(-(minutes+2)*time.Minute), (minutes+2)*time.Minute)
	log := connect(b, broker)
	var cores []float64
	for range *flags.rounds {
		dir, files, cpu := b.TempDir(), 0, selfCPU(b)
		for file, err := range archive.Cut(gate, log.Entries(b.Context(), gate, medialog.Range{})) {
			if err == nil {
				err = archive.Write(b.Context(), archive.Local(dir), log, gate, file)
			}
			if err != nil {
				b.Fatal(err)
			}
			files++
		}
		cores = append(cores, (selfCPU(b)-cpu).Seconds()/float64(files)*16/60)
	}
	line(os.Stdout, "archiving 16 cameras of 4 Mbit/s, cores (CPU seconds a second)", median(cores), 0.01, "")
}

// selfCPU is the CPU time of this process, and cpuOfChildren that of those it has waited for.
func selfCPU(b *testing.B) time.Duration       { return rusage(b, unix.RUSAGE_SELF) }
func cpuOfChildren(b *testing.B) time.Duration { return rusage(b, unix.RUSAGE_CHILDREN) }

func rusage(b *testing.B, who int) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(who, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
