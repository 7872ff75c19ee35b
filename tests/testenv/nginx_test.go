package testenv_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/framelog/framelog/tests/testenv"
)

// Files come from the folder, all else from upstream.
func TestNginx(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "upstream "+r.URL.Path)
	}))
	t.Cleanup(srv.Close)
	files := t.TempDir()
	const segment = "/hls/cam/raw/m1/7.m4s"
	if err := os.MkdirAll(filepath.Join(files, filepath.Dir(segment)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(files, segment), []byte("file"), 0o600); err != nil {
		t.Fatal(err)
	}
	base := testenv.Nginx(t, files, srv.URL)
	for path, want := range map[string]string{segment: "file", "/hls/cam/index.m3u8": "upstream /hls/cam/index.m3u8"} {
		resp, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(b) != want {
			t.Errorf("%s: %q, want %q", path, b, want)
		}
	}
}
