package evidence

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/clip"
	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

var topic = schemas.Topic{Camera: "yard"}

// store is a log with fragments.
type store []testmedia.Fragment

func (s store) Entries(_ context.Context, _ schemas.Topic, r medialog.Range) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		for _, f := range s {
			if (r.To.IsZero() || f.Entry.Start.Before(r.To)) && f.Entry.End().After(r.From) && !yield(f.Entry, nil) {
				return
			}
		}
	}
}

func (s store) Entry(_ context.Context, _ schemas.Topic, seq uint64) (schemas.Entry, error) {
	for _, f := range s {
		if f.Entry.Seq == seq {
			return f.Entry, nil
		}
	}
	return schemas.Entry{}, medialog.ErrExpired
}

func (s store) Chunks(_ context.Context, _ schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	return s[slices.IndexFunc(s, func(f testmedia.Fragment) bool { return f.Entry.Seq == e.Seq })].All()
}

// footage is a log with fragments of a second: 7 to 9, a gap, then after an absence of three
// seconds in another session 11 and 12.
func footage() store {
	l := store(testmedia.Synthetic(testmedia.Place{Seq: 7, Session: 3, Epoch: 9, Layout: testmedia.Layout, Start: testmedia.Start}, 4))
	l[3].Entry = testmedia.GapAt(l[2].Entry, time.Second)
	l = append(l, testmedia.Synthetic(testmedia.Place{Seq: 11, Session: 4, Epoch: 20, Layout: testmedia.Layout, Start: at(7)}, 2)...)
	l[4].Entry.Absent, l[4].Entry.AbsentReason = schemas.Ticks(3*time.Second), schemas.AbsentCamera
	l[5].Entry.Kind, l[5].Entry.Reason = schemas.KindTruncated, schemas.ReasonCrash
	for i := range l {
		e := &l[i].Entry
		e.Life, e.Offset, e.Partition, e.First, e.Last = "life1", int64(100+i), int32(i%2), int64(10*i), int64(10*i+4)
	}
	return l
}

// files is a store that has its segments in files, which nobody has compared with their sums.
type files struct {
	store
	t *testing.T
}

func (f files) Segment(context.Context, schemas.Topic, schemas.Entry) (*clip.Stored, error) {
	f.t.Error("an export takes bytes that were not compared with their sum")
	return nil, nil
}

func at(seconds float64) time.Time {
	return testmedia.Start.Add(time.Duration(seconds * float64(time.Second)))
}

func ignore(int64) {}

// exported makes an export of [from, to).
func exported(t *testing.T, l store, key ed25519.PrivateKey, from, to float64) (string, *Manifest) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "export")
	m, err := Export(t.Context(), files{l, t}, Request{
		Topic: topic, Names: schemas.Names{Prefix: "x."}, From: at(from), To: at(to), Key: key, Dir: dir,
		Made: Made{At: at(3600), By: "anna", Host: "host", Software: "v1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir, m
}

func verified(t *testing.T, dir string, key ed25519.PublicKey) *Verified {
	t.Helper()
	v, err := Verify(t.Context(), dir, key, ignore)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// An export tells where each segment comes from and what is missing, and sha256sum confirms it.
func TestExport(t *testing.T) {
	l := footage()
	dir, _ := exported(t, l, nil, -1, 20)
	v := verified(t, dir, nil)
	if len(v.Problems) > 0 || v.Signed || v.Manifest == nil {
		t.Fatalf("%+v", v)
	}
	m := v.Manifest // as it is in the file
	if m.Topic != "x.cam.yard" || m.IndexTopic != "x.cam.yard.index" || m.Made.Muxer != cmaf.Version || !m.From.Equal(at(-1)) || !m.To.Equal(at(20)) {
		t.Errorf("%+v", m)
	}
	if len(m.Clips) != 2 || m.Clips[0].Session != 3 || m.Clips[1].Session != 4 || m.Clips[0].File == m.Clips[1].File {
		t.Fatalf("%+v", m.Clips)
	}
	chain := strings.Repeat("0", 64)
	playable := slices.DeleteFunc(slices.Clone(l), func(f testmedia.Fragment) bool { return !f.Entry.Playable() })
	for _, c := range m.Clips {
		for _, s := range c.Segments {
			e := playable[0].Entry
			b, err := cmaf.Segment(e, playable[0].All())
			if err != nil {
				t.Fatal(err)
			}
			playable = playable[1:]
			bytes := bytes.Join(b, nil)
			chain = sum(fmt.Appendf(nil, "%s %d %d %d %d %d %s\n", chain, e.Seq, e.Epoch, e.Partition, e.First, e.Last, sum(bytes)))
			want := Segment{
				Seq: e.Seq, Epoch: e.Epoch, Partition: e.Partition, FirstOffset: e.First, LastOffset: e.Last, IndexOffset: e.Offset,
				Start: e.Start, End: e.End(), Media: e.Media, At: s.At, Bytes: int64(len(bytes)), SHA256: sum(bytes), Chain: chain,
			}
			if e.Kind == schemas.KindTruncated {
				want.Truncated = e.Reason
			}
			if s != want {
				t.Errorf("segment\n%+v, want\n%+v", s, want)
			}
		}
	}
	want := []Missing{
		{at(-1), at(0), NoEntry, "", 0},
		{at(3), at(4), Gap, schemas.ReasonBudget, 10},
		{at(4), at(7), Absence, schemas.AbsentCamera, 0},
		{at(9), at(20), NoEntry, "", 0},
	}
	if !slices.Equal(m.Missing, want) {
		t.Errorf("missing\n%+v, want\n%+v", m.Missing, want)
	}
	cmd := exec.CommandContext(t.Context(), "sha256sum", "-c", "--strict", SumsName)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if b, err := os.ReadFile(filepath.Join(dir, ManifestName)); err == nil {
		lines := strings.SplitAfter(string(b), "\n")
		if n := len(lines) - 3; !strings.Contains(lines[n], sum([]byte(strings.Join(lines[:n], "")))) {
			t.Errorf("the last lines of the manifest are %q", lines[n:])
		}
	}
}

// Behind a range an entry may tell why nothing was recorded at its end.
func TestMissingAtTheEnd(t *testing.T) {
	_, m := exported(t, footage(), nil, 1.5, 6)
	want := []Missing{{at(3), at(4), Gap, schemas.ReasonBudget, 10}, {at(4), at(6), Absence, schemas.AbsentCamera, 0}}
	if !slices.Equal(m.Missing, want) {
		t.Errorf("missing\n%+v, want\n%+v", m.Missing, want)
	}
}

// Every changed byte of every file is found, and its file is named. So is a file that is cut
// off, or too long.
func TestEveryByte(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]ed25519.PrivateKey{"signed": key, "not signed": nil} {
		t.Run(name, func(t *testing.T) {
			dir, m := exported(t, footage(), key, 0.5, 2)
			if v := verified(t, dir, nil); len(v.Problems) > 0 || v.Signed != (key != nil) {
				t.Fatalf("%+v", v)
			}
			files := map[string]int{ManifestName: 1, SumsName: 1, m.Clips[0].File: 31}
			if key != nil {
				files[SignatureName] = 1
			} else { // the same checks, without those of the signature
				files[ManifestName], files[m.Clips[0].File] = 11, 331
			}
			for name, step := range files {
				path := filepath.Join(dir, name)
				whole, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				named := func(what string) {
					t.Helper()
					got := verified(t, dir, nil).Problems
					if len(got) != 1 || got[0].File != name {
						t.Fatalf("%s: %s: %+v", name, what, got)
					}
				}
				found := func(what string, b []byte) {
					t.Helper()
					if err := os.WriteFile(path, b, 0o600); err != nil {
						t.Fatal(err)
					}
					named(what)
				}
				for i := 0; i < len(whole); i += step {
					poke(t, path, i, whole[i]^1<<(i%8))
					named(fmt.Sprintf("byte %d of %d is changed", i, len(whole)))
					poke(t, path, i, whole[i])
				}
				found("a byte is missing", whole[:len(whole)-1])
				found("a byte is too much", append(bytes.Clone(whole), '\n'))
				if err := os.WriteFile(path, whole, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// Files that are missing, and files that are too many, are named.
func TestMissingFile(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	dir, m := exported(t, footage(), key, 0.5, 2)
	for _, name := range []string{ManifestName, SumsName, SignatureName, m.Clips[0].File} {
		path := filepath.Join(dir, name)
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		var named []string
		for _, p := range verified(t, dir, nil).Problems {
			named = append(named, p.File)
		}
		want := []string{name, name + ".away"}
		if name == ManifestName { // which tells what there should be
			want = want[:1]
		}
		if !slices.Equal(named, want) {
			t.Errorf("%s is called %[1]s.away, named is %v", name, named)
		}
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
	}
}

// poke changes a byte of a file.
func poke(t *testing.T, path string, i int, to byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{to}, int64(i)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// openssl makes the keys and confirms the signature. Another key, and none, are told.
func TestSignature(t *testing.T) {
	openssl := testenv.Tool(t, "openssl", "openssl")
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), openssl, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl %s: %v\n%s", args[0], err, out)
		}
	}
	run("genpkey", "-algorithm", "ed25519", "-out", "key.pem")
	run("pkey", "-in", "key.pem", "-pubout", "-out", "pub.pem")
	key, err := ReadPrivateKey(filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	public, err := ReadPublicKey(filepath.Join(dir, "pub.pem"))
	if err != nil {
		t.Fatal(err)
	}
	export, m := exported(t, footage(), key, 0, 2)
	run("pkeyutl", "-verify", "-pubin", "-inkey", "pub.pem", "-rawin", "-in", filepath.Join(export, ManifestName), "-sigfile", filepath.Join(export, SignatureName))
	if b, err := os.ReadFile(filepath.Join(dir, "pub.pem")); err != nil || !strings.Contains(string(b), m.PublicKey) {
		t.Errorf("the manifest has the key %s: %s", m.PublicKey, b)
	}
	if v := verified(t, export, public); len(v.Problems) > 0 || !v.Signed {
		t.Errorf("%+v", v)
	}

	other, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	unsigned, _ := exported(t, footage(), nil, 0, 2)
	for name, dir := range map[string]string{"another key": export, "no signature": unsigned} {
		v := verified(t, dir, other)
		if len(v.Problems) != 1 || v.Problems[0].File != SignatureName || v.Signed {
			t.Errorf("%s: %+v", name, v)
		}
	}
	for name, read := range map[string]func(string) error{
		"pub.pem":    func(p string) error { _, err := ReadPrivateKey(p); return err },
		"key.pem":    func(p string) error { _, err := ReadPublicKey(p); return err },
		"x25519.pem": func(p string) error { _, err := ReadPrivateKey(p); return err },
	} {
		if name == "x25519.pem" {
			run("genpkey", "-algorithm", "x25519", "-out", name)
		}
		if err := read(filepath.Join(dir, name)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A forger who has no key cannot make another export of a signed one.
func TestForged(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	dir, m := exported(t, footage(), key, 0, 2)
	m.Made.By = "somebody else"
	manifest, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	signature, err := os.ReadFile(filepath.Join(dir, SignatureName))
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{ManifestName: manifest, SumsName: m.sums(manifest, signature)} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if v := verified(t, dir, nil); len(v.Problems) != 1 || v.Problems[0].File != SignatureName || v.Signed {
		t.Errorf("%+v", v)
	}
}

// An export is compared with the log as far as the log still has it.
func TestCompare(t *testing.T) {
	_, m := exported(t, footage(), nil, 0, 20)
	for name, c := range map[string]struct {
		change      func(store) store
		equal, gone int
		problem     string
	}{
		"all":            {func(l store) store { return l }, 5, 0, ""},
		"some":           {func(l store) store { return l[2:] }, 3, 2, ""},
		"none":           {func(store) store { return nil }, 0, 5, ""},
		"another life":   {func(l store) store { l[0].Entry.Life = "life2"; return l }, 4, 1, ""},
		"another copy":   {func(l store) store { l[0].Entry.First++; return l }, 4, 0, "segment 7: the log names another copy"},
		"another sample": {func(l store) store { l[1].Chunks[2].Runs[0].Samples[0].Data = []byte("other"); return l }, 4, 0, "segment 8: its SHA-256"},
	} {
		got, err := m.Compare(t.Context(), c.change(footage()), ignore)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		problem := ""
		for _, p := range got.Problems {
			problem += p.Cause
		}
		if got.Segments != 5 || got.Equal != c.equal || got.Gone != c.gone || !strings.HasPrefix(problem, c.problem) || (problem == "") != (c.problem == "") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	m.Made.Muxer = "m0"
	if _, err := m.Compare(t.Context(), footage(), ignore); !errors.Is(err, ErrMuxer) {
		t.Errorf("another muxer: %v", err)
	}
}

// An export that fails leaves nothing, and none is written over something.
func TestExportFails(t *testing.T) {
	parent := t.TempDir()
	r := Request{Topic: topic, From: at(0), To: at(3), Dir: filepath.Join(parent, "export")}
	l := footage()
	l[2].Chunks = l[2].Chunks[:1]
	l[2].Chunks[0].Runs = nil
	if _, err := Export(t.Context(), l, r); err == nil {
		t.Error("a chunk without samples is exported")
	}
	r.From, r.To = at(-9), at(-8)
	if _, err := Export(t.Context(), footage(), r); !errors.Is(err, clip.ErrNone) {
		t.Errorf("without footage: %v", err)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
	r.From, r.To = at(0), at(3)
	for _, name := range []string{"export", "export.part"} {
		path := filepath.Join(parent, name)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := Export(t.Context(), footage(), r); !errors.Is(err, ErrExists) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s exists: %v", name, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// A manifest is hostile: its names reach no other directory, and what Export does not write is
// refused.
func FuzzManifest(f *testing.F) {
	m := Manifest{Version: version, Clips: []Clip{{File: "a.mp4", Bytes: 5, Header: Header{Bytes: 3}, Segments: []Segment{{At: 3, Bytes: 2}}}}}
	m.Clips[0].Segments[0].Chain = m.Clips[0].Segments[0].link(firstLink)
	b, err := m.encode()
	if err != nil {
		f.Fatal(err)
	}
	if _, err := decode(b); err != nil {
		f.Fatal(err)
	}
	body, _, _ := bytes.Cut(b, []byte("  \"sha256\": \""+sum(b[:len(b)-len(lastLines(firstLink))])))
	f.Add(body)
	for old, other := range map[string]string{`"a.mp4"`: `"../a.mp4"`, `"version": 1`: `"version": 2`, `"at": 3`: `"at": 4`, `"bytes": 5`: `"bytes": 6`, `"seq": 0`: `"seq": 1`, `a.mp4`: `.`, `mp4`: `json`, `"bytes": 3`: `"bytes": -3`} {
		changed := bytes.Replace(body, []byte(old), []byte(other), 1)
		if _, err := decode(slices.Concat(changed, []byte(lastLines(sum(changed))))); err == nil {
			f.Errorf("%s in place of %s is taken", other, old)
		}
		f.Add(changed)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := decode(slices.Concat(body, []byte(lastLines(sum(body)))))
		if err != nil {
			return
		}
		names := map[string]bool{}
		for _, c := range m.Clips {
			if filepath.Base(c.File) != c.File || filepath.Ext(c.File) != ".mp4" || names[c.File] {
				t.Errorf("names %q after %v", c.File, slices.Collect(maps.Keys(names)))
			}
			names[c.File] = true
		}
	})
}
