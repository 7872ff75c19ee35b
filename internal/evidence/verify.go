package evidence

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// Problem is something in an export that is not as it was written.
type Problem struct {
	File  string `json:"file"` // in the directory
	Cause string `json:"cause"`
}

// Verified is what Verify has found.
type Verified struct {
	// Manifest is nil if it cannot be read. Then nothing else is checked.
	Manifest *Manifest
	Problems []Problem // none: every byte of every file is as it was written
	// Signed: the signature is right. Whoever has the private key of Manifest.PublicKey made it.
	Signed bool
}

func (v *Verified) add(file, format string, args ...any) {
	v.Problems = append(v.Problems, Problem{file, fmt.Sprintf(format, args...)})
}

// Verify checks an export alone: the manifest, the clips, the sums, and the signature. key is
// whom the signature must be of; nil: of anyone, and there need not be one. read is called with
// the bytes of clips that are read. Errors: those of the file system, but not that a file is
// missing, which is a problem.
func Verify(ctx context.Context, dir string, key ed25519.PublicKey, read func(bytes int64)) (*Verified, error) {
	v := &Verified{Problems: []Problem{}}
	manifest, err := v.file(dir, ManifestName)
	if manifest == nil {
		return v, err
	}
	m, err := decode(manifest)
	if err != nil {
		v.add(ManifestName, "%v; nothing else is checked, but \"sha256sum -c %s\" can tell which clips are as they were", err, SumsName)
		return v, nil
	}
	v.Manifest = m
	signature, err := v.checkSignature(dir, m, manifest, key)
	if err != nil {
		return v, err
	}
	sums, err := v.file(dir, SumsName)
	if err != nil {
		return v, err
	}
	whole := m.PublicKey == "" || v.Signed // else the sum of the signature is not known
	if sums != nil && whole && !bytes.Equal(sums, m.sums(manifest, signature)) {
		v.add(SumsName, "it is not what manifest.json and the signature give")
	}
	for i := range m.Clips {
		if err := v.checkClip(ctx, dir, &m.Clips[i], read); err != nil {
			return v, err
		}
	}
	return v, v.checkOthers(dir, m)
}

// maxFile is the most bytes of a file that is read as a whole: a manifest of a year.
const maxFile = 1 << 30

// file reads a small file; nil if it is missing, which is a problem.
func (v *Verified) file(dir, name string) ([]byte, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		v.add(name, "it is missing")
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// checkSignature checks the signature, and returns it; nil if there is none.
func (v *Verified) checkSignature(dir string, m *Manifest, manifest []byte, want ed25519.PublicKey) ([]byte, error) {
	own, err := m.key()
	switch {
	case err != nil:
		v.add(ManifestName, "its public key: %v", err)
		return nil, nil
	case own == nil && want != nil:
		v.add(SignatureName, "the export is not signed")
		return nil, nil
	case own == nil:
		return nil, nil
	}
	signature, err := v.file(dir, SignatureName)
	if signature == nil {
		return nil, err
	}
	if want != nil && !want.Equal(own) {
		v.add(SignatureName, "it is of another key than the one that was given: %s", m.PublicKey)
		return signature, nil
	}
	if v.Signed = ed25519.Verify(own, manifest, signature); !v.Signed {
		v.add(SignatureName, "it is not the signature of manifest.json: one of them is changed")
	}
	return signature, nil
}

// checkClip reads a clip, and names which parts of it are changed.
func (v *Verified) checkClip(ctx context.Context, dir string, c *Clip, read func(bytes int64)) error {
	f, err := os.Open(filepath.Join(dir, c.File))
	if errors.Is(err, fs.ErrNotExist) {
		v.add(c.File, "it is missing")
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	whole := sha256.New()
	before := len(v.Problems)
	check := func(what string, size int64, want string) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := sha256.New()
		n, err := io.CopyN(io.MultiWriter(whole, part), f, size)
		read(n)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		switch got := hexed(part); {
		case n < size:
			v.add(c.File, "%s is cut off", what)
		case got != want:
			v.add(c.File, "%s is changed: its SHA-256 is %s, and was %s", what, got, want)
		}
		return nil
	}
	if err := check("the header", c.Header.Bytes, c.Header.SHA256); err != nil {
		return err
	}
	for i := range c.Segments {
		s := &c.Segments[i]
		if err := check(fmt.Sprintf("segment %d", s.Seq), s.Bytes, s.SHA256); err != nil {
			return err
		}
	}
	more, err := io.Copy(whole, f)
	if err != nil {
		return err
	}
	switch {
	case more > 0:
		v.add(c.File, "there are %d bytes behind its end", more)
	case hexed(whole) != c.SHA256 && len(v.Problems) == before:
		v.add(ManifestName, "its sum of %s is not that of the parts", c.File)
	}
	return nil
}

// checkOthers names files that are no part of the export.
func (v *Verified) checkOthers(dir string, m *Manifest) error {
	known := map[string]bool{ManifestName: true, SumsName: true, SignatureName: m.PublicKey != ""}
	for i := range m.Clips {
		known[m.Clips[i].File] = true
	}
	found, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range found {
		if !known[f.Name()] {
			v.add(f.Name(), "it is no part of the export")
		}
	}
	return nil
}

// Log is the part of the log that Compare uses; *medialog.Log implements it.
type Log interface {
	Entry(ctx context.Context, t schemas.Topic, seq uint64) (schemas.Entry, error)
	Chunks(ctx context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error]
}

// Compared is how an export compares with the log.
type Compared struct {
	Segments int       `json:"segments"` // of the export
	Equal    int       `json:"equal"`    // that the log has, with the same bytes
	Gone     int       `json:"gone"`     // that the log does not have any more
	Problems []Problem `json:"problems"` // the others
}

// ErrMuxer is returned if the log gives other bytes today, since this version makes segments
// in another form.
var ErrMuxer = errors.New("evidence: this version makes segments in another form than the one that made the export")

// Compare compares the segments with the log, as far as it still has them. read is called with
// the bytes of segments. Errors: ErrMuxer; those of the log.
func (m *Manifest) Compare(ctx context.Context, log Log, read func(bytes int64)) (*Compared, error) {
	if m.Made.Muxer != cmaf.Version {
		return nil, fmt.Errorf("%w: %s, and not %s", ErrMuxer, cmaf.Version, m.Made.Muxer)
	}
	t := schemas.Topic{Camera: m.Camera, Rendition: m.Rendition}
	if t.IsRaw() {
		t = t.Source()
	}
	got := &Compared{Problems: []Problem{}}
	for i := range m.Clips {
		c := &m.Clips[i]
		for j := range c.Segments {
			s := &c.Segments[j]
			got.Segments++
			there, cause, err := s.compare(ctx, log, t, c.Life)
			switch {
			case err != nil:
				return nil, fmt.Errorf("evidence: segment %d: %w", s.Seq, err)
			case !there:
				got.Gone++
			case cause != "":
				got.Problems = append(got.Problems, Problem{c.File, fmt.Sprintf("segment %d: %s", s.Seq, cause)})
			default:
				got.Equal++
			}
			read(s.Bytes)
		}
	}
	return got, nil
}

// compare compares a segment with the log. there: the log has it. cause: what is different.
func (s *Segment) compare(ctx context.Context, log Log, t schemas.Topic, life string) (there bool, cause string, err error) {
	e, err := log.Entry(ctx, t, s.Seq)
	switch {
	case gone(err):
		return false, "", nil
	case err != nil:
		return false, "", err
	case e.Life != life:
		return false, "", nil // the camera was purged, and began again
	case !e.Playable() || e.Epoch != s.Epoch || e.Partition != s.Partition || e.First != s.FirstOffset || e.Last != s.LastOffset:
		return true, "the log names another copy of it", nil
	}
	parts, err := cmaf.Segment(e, log.Chunks(ctx, t, e))
	if gone(err) {
		return false, "", nil
	}
	if err != nil {
		return false, "", err
	}
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	if got := hexed(h); got != s.SHA256 {
		return true, fmt.Sprintf("its SHA-256 is %s in the log", got), nil
	}
	return true, "", nil
}

func gone(err error) bool {
	for _, kind := range []error{medialog.ErrExpired, medialog.ErrNotFound, medialog.ErrNoTopic} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}
