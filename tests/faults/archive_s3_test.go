package faults

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// The archive is in an S3 store, which is away at first: what is not safe is told, and nothing is
// left out. A segment has the same bytes from Kafka, from memory, from the file of the archive,
// and, when Kafka has removed it, from the store. While the store is away, what it has is not
// called gone. No secret is told.
func TestArchiveInS3(t *testing.T) {
	server := testenv.StartS3(t)
	server.Kill()
	s := testenv.Up(t, testenv.UpOptions{
		Config: fmt.Sprintf("archive:\n  s3: {endpoint: %q, bucket: %s, prefix: site, insecure: true, access_key: %s, secret_key: \"${FRAMELOG_SECRET_S3}\"}\n",
			server.Endpoint, testenv.S3Bucket, testenv.S3Access),
		Env: []string{"FRAMELOG_SECRET_S3=" + testenv.S3Secret},
	})
	now := time.Now().Truncate(time.Second)
	system.RecordPast(t, s, "past", system.Span{From: now.Add(-20 * time.Minute), To: now.Add(-17 * time.Minute)})
	log := openLog(t, s.Broker)
	entries := log.entries(t, "past")
	s.Wait(t, 3*testenv.Patience, "it tells that footage is not safe", func() bool {
		return system.Metric(t, s.URL, "framelog_archive_store_up", "") == 0 && system.Metric(t, s.URL, "framelog_archive_unsafe_seconds", `"past"`) > 30
	})

	server.Restart(t)
	at := filepath.Join(server.Dir, "site")
	dir := archive.Local(at)
	of := archive.Series{Life: entries[0].Life, Topic: schemas.Topic{Camera: "past"}}
	var files []archive.Kept
	s.Wait(t, 6*testenv.Patience, "the complete minutes are archived", func() bool {
		var err error
		if files, err = dir.Files(t.Context(), of); err != nil {
			t.Fatal(err)
		}
		return len(files) >= 2
	})
	entries = slices.DeleteFunc(entries, func(e schemas.Entry) bool { return e.Seq > files[len(files)-1].Last })

	sums := map[uint64]string{} // of what Kafka has
	for _, e := range entries {
		b, err := cmaf.Segment(e, log.log.Chunks(t.Context(), of.Topic, e))
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		for _, part := range b {
			h.Write(part)
		}
		sums[e.Seq] = fmt.Sprintf("%x", h.Sum(nil))
	}
	archived := 0
	for _, k := range files {
		f, err := archive.Open(filepath.Join(at, k.Path()))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Verify(t.Context()); err != nil {
			t.Error(err)
		}
		for _, e := range f.Entries {
			r, err := f.Segment(e.Seq)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, r.Size())
			if _, err := r.ReadAt(b, 0); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprintf("%x", sha256.Sum256(b)); got != sums[e.Seq] {
				t.Errorf("segment %d in the store is %s, and was %s", e.Seq, got, sums[e.Seq])
			}
			archived++
		}
		_ = f.Close() // it was only read
	}
	if archived != len(entries) {
		t.Errorf("%d of %d fragments are archived", archived, len(entries))
	}

	query := fmt.Sprintf("?start=%d&end=%d", entries[0].Start.Unix(), entries[len(entries)-1].End().Unix())
	same := func(from string, paths []string) {
		t.Helper()
		for i, path := range paths {
			status, b, err := s.Get(t, "/hls/past/"+path)
			if got := fmt.Sprintf("%x", sha256.Sum256(b)); err != nil || status != http.StatusOK || got != sums[entries[i].Seq] {
				t.Fatalf("%s: %s: status %d, %v, SHA-256 %s, want %s", from, path, status, err, got, sums[entries[i].Seq])
			}
		}
	}
	check := func(from string) (paths []string) {
		t.Helper()
		_, playlist, err := s.Get(t, "/hls/past/raw.m3u8"+query)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(playlist)) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				paths = append(paths, line)
			}
		}
		if len(paths) != len(entries) {
			t.Fatalf("%s: %d segments of %d:\n%s", from, len(paths), len(entries), playlist)
		}
		same(from, paths)
		return paths
	}
	ofLog := func() float64 { return system.Metric(t, s.URL, "framelog_egress_hls_rebuilt_segments_total", "") }
	paths := check("the log")
	n := ofLog()
	if int(n) < len(entries) {
		t.Errorf("%v segments of %d are read from the log", n, len(entries))
	}
	server.Kill() // so only the log is left beside memory
	same("memory", paths)
	if more := ofLog() - n; more != 0 {
		t.Errorf("%v segments are read from the log again, and not from memory", more)
	}
	server.Restart(t)

	offsets := kadm.Offsets{}
	for _, e := range entries {
		offsets.AddOffset(schemas.Names{}.Media(of.Topic), e.Partition, e.Last+1, -1)
	}
	if res, err := openAdmin(t, s.Broker).DeleteRecords(t.Context(), offsets); err != nil || res.Error() != nil {
		t.Fatal(err, res.Error())
	}
	s.Terminate(testenv.Patience)
	s.Start(t)
	s.WaitReady(t)
	server.Kill()
	checkAway(t, s, query)
	server.Restart(t)
	check("S3")
	if hits, misses, read := system.Metric(t, s.URL, "framelog_archive_s3_cache_hits_total", `"egress"`), system.Metric(t, s.URL, "framelog_archive_s3_cache_misses_total", `"egress"`),
		system.Metric(t, s.URL, "framelog_archive_s3_read_bytes_total", `"egress"`); hits < 1 || misses < 1 || read < 1 {
		t.Errorf("%v hits, %v misses, %v bytes read", hits, misses, read)
	}

	if strings.Contains(s.Log.String(), testenv.S3Secret) {
		t.Error("a secret is logged")
	}
	if b, err := os.ReadFile(filepath.Join(s.Data, "run", "config.yaml")); err != nil || strings.Contains(string(b), testenv.S3Secret) {
		t.Errorf("the configuration of the roles has a secret (%v)", err)
	}
}

// checkAway checks that a range that only the store has is not called gone while the store is
// away.
func checkAway(t *testing.T, s *testenv.Framelog, query string) {
	t.Helper()
	status, playlist, err := s.Get(t, "/hls/past/raw.m3u8"+query)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(playlist)) {
		if line = strings.TrimSpace(line); status == http.StatusOK && line != "" && line[0] != '#' { // the log has the index
			status, playlist, err = s.Get(t, "/hls/past/"+line)
			break
		}
	}
	if err != nil || status != http.StatusServiceUnavailable {
		t.Errorf("the store is away: status %d, %v\n%s", status, err, playlist)
	}
}
