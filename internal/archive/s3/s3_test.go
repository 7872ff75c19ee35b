package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/framelog/framelog/tests/testenv"
)

func given(s string) func() (string, error) { return func() (string, error) { return s, nil } }

func config(server *testenv.S3) Config {
	return Config{
		Endpoint: server.Endpoint, Bucket: testenv.S3Bucket, Prefix: "a/b", Region: testenv.S3Region, PathStyle: true, Insecure: server.CA == "",
		CA: server.CA, AccessKey: given(testenv.S3Access), SecretKey: given(testenv.S3Secret), Cache: 4 << 20,
	}
}

func open(t *testing.T, c Config, reg prometheus.Registerer) *Store {
	t.Helper()
	s, err := New(c, t.TempDir(), reg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// footage is n bytes that do not repeat.
func footage(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // it never fails
	return b
}

func put(s *Store, path string, b []byte) error {
	return s.Create(context.Background(), path, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// What was written is read, at any place and with any length, through a cache of any size. What is in
// memory is not read again, and the cache keeps to its limit.
func TestReadAt(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := open(t, config(testenv.StartS3(t)), reg)
	b := footage(10<<20 + 12345)
	if err := put(s, "x/1.mp4", b); err != nil {
		t.Fatal(err)
	}
	o, err := s.Open(t.Context(), "x/1.mp4")
	if err != nil {
		t.Fatal(err)
	}
	check := func(o Object, at, n int) {
		t.Helper()
		got := make([]byte, n)
		read, err := o.ReadAt(got, int64(at))
		want := b[min(at, len(b)):min(at+n, len(b))]
		if !bytes.Equal(got[:read], want) || (err == io.EOF) != (len(want) < n) || err != nil && err != io.EOF { //nolint:errorlint // io.ReaderAt says so
			t.Fatalf("%d bytes at %d: %d bytes, %v", n, at, read, err)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 100 {
		if i == 50 { // its end is in memory from here on
			if info, err := o.Stat(); err != nil || info.Size() != int64(len(b)) {
				t.Fatal(info, err)
			}
		}
		at := random.IntN(len(b) + 10)
		switch random.IntN(4) {
		case 0:
			at = len(b) - random.IntN(100<<10)
		case 1:
			at = at / block * block
		}
		check(o, at, random.IntN(2)*random.IntN(2<<20))
	}
	check(o, 0, len(b))
	check(o, len(b), 1)
	if n := testutil.ToFloat64(s.m.cached); n > 4<<20 || n < 3<<20 {
		t.Errorf("%v bytes are in memory", n)
	}
	hits, read := testutil.ToFloat64(s.m.hits), testutil.ToFloat64(s.m.read)
	check(o, 5<<20, 1000)
	if before := testutil.ToFloat64(s.m.misses); before == 0 {
		t.Error("no misses are counted")
	}
	check(o, 5<<20+5000, 1000)
	if got := testutil.ToFloat64(s.m.hits); got < hits+1 {
		t.Errorf("%v hits, after %v", got, hits)
	}
	if got := testutil.ToFloat64(s.m.read); got > read+block {
		t.Errorf("%v bytes were read for 2,000", got-read)
	}
	for _, small := range []int{0, 1, 100} {
		name := fmt.Sprintf("x/small-%d", small)
		b = footage(small)
		if err := put(s, name, b); err != nil {
			t.Fatal(err)
		}
		o, _ := s.Open(t.Context(), name)
		check(o, 0, small)
		check(o, 0, small+1)
		if info, err := o.Stat(); err != nil || info.Size() != int64(small) {
			t.Errorf("of %d bytes: %v, %v", small, info, err)
		}
		check(o, 0, small)
	}
	missing, _ := s.Open(t.Context(), "x/none")
	if _, err := missing.Stat(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one that is missing: %v", err)
	}
	if _, err := missing.ReadAt(make([]byte, 1), 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one that is missing: %v", err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

// No object is replaced, whoever writes first. What fails while it is made leaves nothing, here
// and in the store.
func TestCreate(t *testing.T) {
	server := testenv.StartS3(t)
	c := config(server)
	s := open(t, c, nil)
	for range 2 {
		if err := s.Make(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := put(s, "x/1.mp4", []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := put(s, "x/1.mp4", []byte("second")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("again: %v", err)
	}
	failure := errors.New("no footage")
	err := s.Create(t.Context(), "x/2.mp4", func(w io.Writer) error {
		_, err := w.Write(footage(3 << 20))
		return errors.Join(failure, err)
	})
	if !errors.Is(err, failure) {
		t.Error(err)
	}
	if found, err := s.List(t.Context(), "x", ""); err != nil || len(found) != 1 || found[0].Name() != "1.mp4" {
		t.Errorf("it has %v, %v", found, err)
	}
	if left, err := os.ReadDir(s.spool); err != nil || len(left) > 0 {
		t.Errorf("the spool has %v, %v", left, err)
	}
	if b, err := os.ReadFile(filepath.Join(server.Dir, "a/b/x/1.mp4")); err != nil || string(b) != "first" {
		t.Errorf("it is %q, %v", b, err)
	}
}

// cutter passes connections on to a server. After limit bytes from clients it calls cut once, and
// passes nothing on any more.
func cutter(t *testing.T, to string, limit int64, cut func()) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var passed atomic.Int64
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer client.Close()
				server, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer server.Close()
				go func() { _, _ = io.Copy(client, server) }()
				b := make([]byte, 32<<10)
				for {
					n, err := client.Read(b)
					if err != nil {
						return
					}
					before := passed.Add(int64(n)) - int64(n)
					if before < limit && before+int64(n) >= limit {
						cut()
					}
					if before+int64(n) >= limit {
						return
					}
					if _, err := server.Write(b[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// The server is killed in the middle of an upload. Nothing of the file is there afterwards, and it
// can be written when the server is back.
func TestKilledInPut(t *testing.T) {
	server := testenv.StartS3(t)
	b := footage(8 << 20)
	c := config(server)
	killed := make(chan struct{})
	c.Endpoint = cutter(t, server.Endpoint, 5<<20, func() {
		server.Kill()
		close(killed)
	})
	err := put(open(t, c, nil), "x/1.mp4", b)
	<-killed
	if path, ok := errors.AsType[*fs.PathError](err); !ok || errors.Is(err, fs.ErrExist) {
		t.Errorf("killed: %v", path)
	}
	server.Restart(t)
	s := open(t, config(server), nil)
	o, _ := s.Open(t.Context(), "x/1.mp4")
	if _, err := o.Stat(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half a file: %v", err)
	}
	if found, err := s.List(t.Context(), "x", ""); err != nil || len(found) > 0 {
		t.Errorf("half a file: %v, %v", found, err)
	}
	if err := put(s, "x/1.mp4", b); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(io.NewSectionReader(o, 0, 1<<30))
	if err != nil || sha256.Sum256(got) != sha256.Sum256(b) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// A store that is away, stands still, has other keys, or no bucket says so, in a bounded time, with
// an error of the file system that names no secret.
func TestAway(t *testing.T) {
	server := testenv.StartS3(t)
	ops := func(s *Store) map[string]error {
		all := map[string]error{"create": put(s, "x/2.mp4", []byte("x")), "remove": s.Remove(t.Context(), "x/1.mp4"), "make": s.Make(t.Context())}
		_, all["list"] = s.List(t.Context(), "", "")
		o, _ := s.Open(t.Context(), "x/1.mp4")
		_, all["stat"] = o.Stat()
		_, all["read"] = o.ReadAt(make([]byte, 10), 0)
		return all
	}
	check := func(name string, c Config) {
		t.Helper()
		for op, err := range ops(open(t, c, nil)) {
			if _, ok := errors.AsType[*fs.PathError](err); !ok || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) || strings.Contains(err.Error(), c.Bucket+"-secret") {
				t.Errorf("%s, %s: %v", name, op, err)
			}
		}
	}
	other := config(server)
	other.SecretKey = given(other.Bucket + "-secret-that-is-wrong")
	check("another secret", other)
	missing := config(server)
	missing.SecretKey = func() (string, error) { return "", errors.New("it is not set") }
	check("no secret", missing)
	none := config(server)
	none.Bucket = "none"
	check("another bucket", none)
	server.Kill()
	check("away", config(server))

	server.Restart(t)
	server.Stop(t)
	defer server.Continue()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	o, _ := open(t, config(server), nil).Open(ctx, "x/1.mp4")
	if _, err := o.ReadAt(make([]byte, 10), 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it stands still: %v", err)
	}
}

// The certificate is checked, with the authority of the configuration.
func TestTLS(t *testing.T) {
	server := testenv.StartS3TLS(t)
	c := config(server)
	if err := open(t, c, nil).Make(t.Context()); err != nil {
		t.Error(err)
	}
	c.CA = ""
	if err := open(t, c, nil).Make(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without its authority: %v", err)
	}
	c.CA = filepath.Join(t.TempDir(), "none.pem")
	if _, err := New(c, t.TempDir(), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// All names come, over many pages of the store's answer, and those behind a name.
func TestList(t *testing.T) {
	server := testenv.StartS3(t)
	s := open(t, config(server), nil)
	dir := filepath.Join(server.Dir, "a", "b", "x")
	for _, d := range []string{"y", "z/deep"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, d, "1"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1100 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(10000+i)), []byte("12345"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found, err := s.List(t.Context(), "x", "")
	if err != nil || len(found) != 1102 || found[0].Name() != "10000" || found[1099].Name() != "11099" || !found[1100].IsDir() || found[1101].Name() != "z" {
		t.Fatalf("%d names, %v", len(found), err)
	}
	if info, err := found[0].Info(); err != nil || info.Size() != 5 || time.Since(info.ModTime()) > time.Hour {
		t.Error(info, err)
	}
	if found, err = s.List(t.Context(), "x", "11098"); err != nil || len(found) != 3 || found[0].Name() != "11099" {
		t.Errorf("%v, %v", found, err)
	}
	if err := s.RemoveAll(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if found, err = s.List(t.Context(), "x", ""); err != nil || len(found) > 0 {
		t.Errorf("%d names are left, %v", len(found), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.List(ctx, "x", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("a list that was ended: %v", err)
	}
}

// A file that is hidden stays readable, comes back as it was, and is removed with its marker. A marker
// of an older file of the same name hides none.
func TestHide(t *testing.T) {
	server := testenv.StartS3(t)
	s := open(t, config(server), nil)
	const file, hidden = "x/1-2.mp4", "x/.deleted-100-1-2.mp4"
	names := func() (all []string) {
		found, err := s.List(t.Context(), "x", "")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range found {
			info, _ := e.Info()
			all = append(all, fmt.Sprint(e.Name(), " ", info.Size()))
		}
		return all
	}
	want := func(want ...string) {
		t.Helper()
		if got := names(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("it lists %q, want %q", got, want)
		}
	}
	if err := put(s, file, []byte("12345")); err != nil {
		t.Fatal(err)
	}
	for _, wanted := range []error{nil, fs.ErrNotExist} {
		if err := s.Rename(t.Context(), file, hidden); !errors.Is(err, wanted) {
			t.Fatal(err)
		}
	}
	want(".deleted-100-1-2.mp4 5")
	o, _ := s.Open(t.Context(), hidden)
	if b, err := io.ReadAll(io.NewSectionReader(o, 0, 100)); err != nil || string(b) != "12345" {
		t.Errorf("%q, %v", b, err)
	}
	if err := s.Unhide(t.Context(), hidden, file); err != nil {
		t.Fatal(err)
	}
	want("1-2.mp4 5")
	if err := errors.Join(s.Rename(t.Context(), file, hidden), s.Remove(t.Context(), hidden)); err != nil {
		t.Fatal(err)
	}
	want()
	if err := s.Unhide(t.Context(), hidden, file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one that is removed: %v", err)
	}

	at := filepath.Join(server.Dir, "a", "b")
	if err := os.MkdirAll(filepath.Join(at, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(at, hidden), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(at, hidden), old, old); err != nil {
		t.Fatal(err)
	}
	if err := put(s, file, []byte("67")); err != nil {
		t.Fatal(err)
	}
	want(".deleted-100-1-2.mp4 0", "1-2.mp4 2")
	if err := s.Remove(t.Context(), hidden); err != nil {
		t.Fatal(err)
	}
	want("1-2.mp4 2")
	if err := s.Rename(t.Context(), file, file+".damaged"); err != nil {
		t.Fatal(err)
	}
	want("1-2.mp4.damaged 2")
}
