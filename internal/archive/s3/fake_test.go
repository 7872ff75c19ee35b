package s3

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// fake is the settings of a store whose server answers as a test wants.
func fake(t *testing.T, answer http.HandlerFunc) Config {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return Config{
		Endpoint: strings.TrimPrefix(server.URL, "http://"), Bucket: "bucket", Region: "region", PathStyle: true, Insecure: true,
		AccessKey: given("user"), SecretKey: given("secret"),
	}
}

// An object without a byte has no range: some stores refuse to read the end of it.
func TestEmptyObject(t *testing.T) {
	c := fake(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		_, _ = io.WriteString(w, `<Error><Code>InvalidRange</Code></Error>`)
	})
	o, err := open(t, c, nil).Open(t.Context(), "x/1.mp4")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		info, err := o.Stat()
		if err != nil || info.Name() != "x/1.mp4" || info.Size() != 0 {
			t.Fatalf("%v, %v", info, err)
		}
	}
	if n, err := o.ReadAt(make([]byte, 1), 0); n != 0 || err != io.EOF { //nolint:errorlint // io.ReaderAt says so
		t.Errorf("%d bytes, %v", n, err)
	}
}
