package hls

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/framelog/framelog/internal/clip"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// archiveLog is a log whose older footage is in a file: each segment has its seq and 100 kB.
type archiveLog struct {
	*fakeLog
	t       *testing.T
	path    string
	opened  int
	archive func(seq uint64) bool
}

func (a *archiveLog) Recent(ctx context.Context, t schemas.Topic, r medialog.Range) iter.Seq2[schemas.Entry, error] {
	return a.Entries(ctx, t, r)
}

func (a *archiveLog) Init(context.Context, schemas.Topic, string) ([]byte, error) {
	return nil, medialog.ErrNotFound
}

func (a *archiveLog) Kept(context.Context, schemas.Topic) (bool, error) { return true, nil }

func (a *archiveLog) Variants(context.Context, string) ([]schemas.Topic, error) { return nil, nil }

func (a *archiveLog) Segment(_ context.Context, _ schemas.Topic, e schemas.Entry) (*clip.Stored, error) {
	if !a.archive(e.Seq) {
		return nil, nil
	}
	file, err := os.Open(a.path)
	if err != nil {
		a.t.Error(err)
		return nil, err
	}
	a.opened++
	return &clip.Stored{File: file, At: int64(e.Seq-testPlace.Seq)*100_000 + 7, Size: 100_000}, nil
}

// A segment of the archive goes out as it stands in its file: whole, in part, and by its head.
// Others are made of the log.
func TestArchivedSegment(t *testing.T) {
	content := make([]byte, 1_000_000)
	for i := range content {
		content[i] = byte(i * 7919 >> 8)
	}
	log := &archiveLog{fakeLog: newFakeLog(), t: t, path: filepath.Join(t.TempDir(), "file"), archive: func(seq uint64) bool { return seq < testPlace.Seq+5 }}
	if err := os.WriteFile(log.path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	log.add("cam", testmedia.Synthetic(testPlace, 9)...)
	_, url := serve(t, Config{}, log)
	get := func(method string, seq uint64, header, value string) (*http.Response, []byte) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, url+"/hls/cam/raw/m1/"+strconv.FormatUint(testPlace.Seq+seq, 10)+".m4s", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(header, value)
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		b, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		return a, b
	}
	for range 2 {
		a, b := get("GET", 3, "Accept", "*/*")
		if want := content[300_007:400_007]; a.StatusCode != http.StatusOK || !bytes.Equal(b, want) || a.ContentLength != 100_000 || a.Header.Get("Content-Type") != typeMedia {
			t.Errorf("%d, %d bytes, %v", a.StatusCode, len(b), a.Header)
		}
	}
	if a, b := get("GET", 4, "Range", "bytes=10-99"); a.StatusCode != http.StatusPartialContent || !bytes.Equal(b, content[400_017:400_107]) {
		t.Errorf("a part: %d, %d bytes", a.StatusCode, len(b))
	}
	if a, b := get("HEAD", 4, "Accept", "*/*"); a.StatusCode != http.StatusOK || len(b) > 0 || a.ContentLength != 100_000 {
		t.Errorf("the head: %d, %d bytes of %d", a.StatusCode, len(b), a.ContentLength)
	}
	if log.opened != 4 {
		t.Errorf("opened %d times", log.opened)
	}
	if a, b := get("GET", 6, "Accept", "*/*"); a.StatusCode != http.StatusOK || len(b) == 100_000 || log.opened != 4 {
		t.Errorf("a segment of the log: %d, %d bytes", a.StatusCode, len(b))
	}
	if a, _ := get("GET", 100, "Accept", "*/*"); a.StatusCode != http.StatusNotFound {
		t.Errorf("a segment that is nowhere: %d", a.StatusCode)
	}
}

// awayArchive is a log with an archive behind it whose store does not answer.
type awayArchive struct {
	*archiveLog
	err error
}

func (a *awayArchive) Segment(context.Context, schemas.Topic, schemas.Entry) (*clip.Stored, error) {
	return nil, fmt.Errorf("archive: %w", a.err)
}

func (a *awayArchive) Kept(context.Context, schemas.Topic) (bool, error) { return false, a.err }

func (a *awayArchive) Entries(context.Context, schemas.Topic, medialog.Range) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) { yield(schemas.Entry{}, a.err) }
}

// If the archive does not answer, the answer says so, and where to look; and the log of the server has
// the error. If the log does not answer, nothing is said of the archive.
func TestArchiveIsAway(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		away bool // the archive
	}{
		"a disk":               {&fs.PathError{Op: "open", Path: "/secret", Err: syscall.EIO}, true},
		"a store that is slow": {&fs.PathError{Op: "get", Path: "/secret", Err: context.DeadlineExceeded}, true},
		"the log is slow":      {context.DeadlineExceeded, false},
	} {
		log := &awayArchive{&archiveLog{fakeLog: newFakeLog(), t: t}, c.err}
		f := testmedia.Synthetic(testPlace, 3)
		log.add("cam", f...)
		var lines bytes.Buffer
		s, err := New(Config{}, log, slog.New(slog.NewTextHandler(&lines, nil)), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, url := range []string{
			"/hls/cam/raw/m1/" + strconv.FormatUint(f[0].Entry.Seq, 10) + ".m4s",
			"/hls/cam/raw.m3u8" + rangeQuery(0, 3),
			"/hls/cam/720p.m3u8" + rangeQuery(0, 3),
		} {
			lines.Reset()
			w := get(s, url)
			text := want(t, w, http.StatusServiceUnavailable)
			told := strings.Contains(text, "the archive does not answer") && strings.Contains(text, "archive.dir or archive.s3")
			if told != c.away || strings.Contains(text, "secret") || w.Header().Get("Retry-After") == "" {
				t.Errorf("%s, %s: %v %s", name, url, w.Header(), text)
			}
			if strings.Contains(lines.String(), "/secret") != c.away {
				t.Errorf("%s, %s: the log has %q", name, url, lines.String())
			}
		}
		s.tasks.close()
	}
}
