package answer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// An answer names what is away, and where to look. It does not tell the error itself, which may name
// hosts and files.
func TestAway(t *testing.T) {
	const brokers, archive = "look at the brokers", "archive.dir or archive.s3"
	refused := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for name, x := range map[string]struct {
		err  error
		what string
		look []string
	}{
		"a disk":                       {fmt.Errorf("clip: %w", &fs.PathError{Op: "open", Path: "/secret", Err: syscall.EIO}), "the archive does not answer", []string{archive}},
		"a store that is not in reach": {fmt.Errorf("archive: %w", &fs.PathError{Op: "get", Path: "/secret", Err: refused}), "the archive does not answer", []string{archive}},
		"a store that is slow":         {&fs.PathError{Op: "get", Path: "/secret", Err: context.DeadlineExceeded}, "the archive does not answer", []string{archive}},
		"a broker":                     {fmt.Errorf("medialog: %w", refused), "the log does not answer", []string{brokers}},
		"any other error":              {errors.New("secret"), "the log does not answer", []string{brokers}},
		"too slow, nobody knows who":   {fmt.Errorf("clip: %w", context.DeadlineExceeded), "the footage could not be read in time", []string{brokers, archive}},
	} {
		w := httptest.NewRecorder()
		Away(w, x.err)
		var got Error
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if got.Error != x.what || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: %s, want %q", name, w.Body, x.what)
		}
		for _, place := range []string{brokers, archive} {
			if strings.Contains(got.Remedy, place) != slices.Contains(x.look, place) {
				t.Errorf("%s: the remedy is %q", name, got.Remedy)
			}
		}
	}
}
