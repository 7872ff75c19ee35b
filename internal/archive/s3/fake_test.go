package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/testenv"
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

// A write that is in conflict with another one is made again, with all its bytes. One that always
// is fails, and is not taken for one of an object that exists.
func TestConflict(t *testing.T) {
	const requests = 3
	for _, conflicts := range []int{2, 100} {
		var bodies []string // the library sends one request after another
		s := open(t, fake(t, func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body) // a short body is found below
			if r.Header.Get("If-None-Match") != "*" {
				t.Errorf("the headers %v", r.Header)
			}
			bodies = append(bodies, string(b))
			if len(bodies) <= conflicts {
				w.WriteHeader(http.StatusConflict)
				_, _ = io.WriteString(w, `<Error><Code>ConditionalRequestConflict</Code></Error>`)
			}
		}), nil)
		err := put(s, "x/1.mp4", []byte("footage"))
		if (err == nil) != (conflicts < requests) || errors.Is(err, fs.ErrExist) {
			t.Errorf("%d conflicts: %v", conflicts, err)
		}
		if len(bodies) != requests || strings.Join(bodies, "") != strings.Repeat("footage", requests) {
			t.Errorf("%d conflicts: the requests are %q", conflicts, bodies)
		}
	}
}

// A server that begins to answer and stands still makes a request fail, with an error of the store.
func TestStandsStill(t *testing.T) {
	for name, c := range map[string]struct {
		stands func(*http.Request) bool
		do     func(ctx context.Context, s *Store) error
	}{
		"list": {
			func(r *http.Request) bool { return r.Method == http.MethodGet },
			func(ctx context.Context, s *Store) error { _, err := s.List(ctx, "x", ""); return err },
		},
		"the next page": {
			func(r *http.Request) bool { return r.URL.Query().Has("continuation-token") },
			func(ctx context.Context, s *Store) error { _, err := s.List(ctx, "more", ""); return err },
		},
		"remove": {
			func(r *http.Request) bool { return r.Method == http.MethodPost },
			func(ctx context.Context, s *Store) error { return s.RemoveAll(ctx, "x") },
		},
		"copy": {
			func(r *http.Request) bool { return r.Method == http.MethodPut },
			func(ctx context.Context, s *Store) error { return s.Rename(ctx, "x/1.mp4", "x/1.mp4.damaged") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			var stands atomic.Int64
			s := open(t, fake(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", "application/xml")
				if c.stands(r) {
					stands.Add(1)
					w.WriteHeader(http.StatusOK)
					_ = http.NewResponseController(w).Flush()
					<-r.Context().Done()
					return
				}
				prefix := r.URL.Query().Get("prefix")
				_, _ = fmt.Fprintf(w, `<ListBucketResult><IsTruncated>%v</IsTruncated><NextContinuationToken>a</NextContinuationToken>`+
					`<Contents><Key>%s1.mp4</Key></Contents></ListBucketResult>`, strings.HasPrefix(prefix, "more"), prefix)
			}), nil)
			s.within = 100 * time.Millisecond
			ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
			defer cancel()
			err := c.do(ctx, s)
			if _, ok := errors.AsType[*fs.PathError](err); !ok || !errors.Is(err, errTimeout) || stands.Load() == 0 {
				t.Errorf("%d requests stood still: %v", stands.Load(), err)
			}
		})
	}
}
