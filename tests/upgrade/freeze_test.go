package upgrade

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

var freeze = flag.String("freeze", "", "keep the data of this tree as those of this version")

// clip is what the camera sends: 1 s from a keyframe to the next, in few bytes.
var clip = testenv.Clip{Size: "160x90", FPS: 10, GOP: 10, Seconds: 6, KBits: 60}

// TestFreeze records two sessions, and keeps the data directory as kill -9 leaves it.
func TestFreeze(t *testing.T) {
	if *freeze == "" {
		t.Skip("only with -freeze VERSION, when a version is released")
	}
	dir := filepath.Join("testdata", *freeze)
	if _, err := os.Stat(filepath.Join(dir, "served.json")); err == nil {
		t.Fatalf("%s is there already, and never changes", dir)
	}
	// At this address nobody listens when the data are read.
	s := system.Serve(t, camsim.Config{Listen: "127.77.0.1:0", Cameras: []camsim.CameraConfig{{Path: "cam", Feed: system.Loop(t, clip)}}})
	f := testenv.Up(t, testenv.UpOptions{Config: configuration})
	system.PutCamera(t, f.URL, camera, `{"label": "The yard", "url": "`+s.URL("cam")+`"}`)
	command(t, f, "correct horse battery staple\n", "users", "add", "anna", "--role", "viewer", "--cameras", camera, "--password-stdin")
	waitSegments(t, f, 4)
	if code := f.Stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	f.Start(t)
	f.WaitReady(t)
	waitSegments(t, f, 8)
	was := look(t, f)
	f.KillAll()

	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b, err := json.MarshalIndent(was, "", " ")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "served.json"), append(b, '\n'), 0o644)
	}
	if err == nil {
		err = pack(f.Data, filepath.Join(dir, "data.tar.gz"))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// waitSegments waits until each rendition has n segments.
func waitSegments(t *testing.T, f *testenv.Framelog, n int) {
	t.Helper()
	f.Wait(t, 3*testenv.Patience, "segments of all renditions", func() bool {
		for _, r := range renditions {
			if m := playlist(t, f, r); m == nil || len(m.Segments) < n {
				return false
			}
		}
		return true
	})
}

// pack writes the regular files below dir into an archive.
func pack(dir, to string) (err error) {
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	z, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		return err
	}
	w := tar.NewWriter(z)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		if err != nil || !d.IsDir() && !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if d.IsDir() {
			return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: filepath.ToSlash(name) + "/", Mode: int64(info.Mode().Perm())})
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: filepath.ToSlash(name), Mode: int64(info.Mode().Perm()), Size: int64(len(b))}); err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	})
	return errors.Join(err, w.Close(), z.Close())
}

// unpack is the opposite of pack.
func unpack(t *testing.T, from, dir string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	z, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(z)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o700)
		} else if b, readErr := io.ReadAll(r); readErr != nil {
			err = readErr
		} else {
			err = os.WriteFile(path, b, fs.FileMode(h.Mode))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// versions are the versions of testdata.
func versions(t *testing.T) (all []string) {
	t.Helper()
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "v") {
			all = append(all, e.Name())
		}
	}
	return all
}
