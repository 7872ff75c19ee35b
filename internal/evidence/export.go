package evidence

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/framelog/framelog/internal/clip"
	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/internal/fsync"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// Request asks for an export.
type Request struct {
	Topic    schemas.Topic
	Names    schemas.Names
	From, To time.Time // public time
	Made     Made      // Muxer is set by Export
	// Key signs the manifest. nil: it is not signed.
	Key ed25519.PrivateKey
	// Dir is the directory to write. It must not exist.
	Dir string
	// Progress is called for each file that is read and written, with its size, and then with
	// the bytes that are done. nil: it is not called.
	Progress func(what string, total int64) func(bytes int64)
}

// ErrExists is returned if the directory of an export is there already.
var ErrExists = errors.New("it exists")

// Export writes an export. The directory is there only as a whole, and on disk when Export
// returns. It reads the footage twice, compares what an archive gives with its sums, and holds one
// chunk of it at a time. Errors: ErrExists; clip.ErrNone; those of the log and of the file system.
func Export(ctx context.Context, log clip.Log, r Request) (_ *Manifest, err error) {
	if _, err := os.Lstat(r.Dir); err == nil {
		return nil, fmt.Errorf("%s: %w", r.Dir, ErrExists)
	}
	log = compared{log}
	m, clips, err := r.plan(ctx, log)
	if err != nil {
		return nil, err
	}
	part := filepath.Clean(r.Dir) + ".part"
	if err := os.Mkdir(part, 0o777); errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%s: %w", part, ErrExists)
	} else if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(part) // this call has made it
		}
	}()
	if err := r.write(ctx, log, m, clips, part); err != nil {
		return nil, err
	}
	if err := fsync.Dir(part); err != nil {
		return nil, err
	}
	if err := os.Rename(part, r.Dir); err != nil {
		return nil, err
	}
	return m, fsync.Dir(filepath.Dir(filepath.Clean(r.Dir)))
}

// compared is a log without clip.Files, so that all bytes of an archive are compared with their sums.
type compared struct{ clip.Log }

// plan finds the clips, and what is missing.
func (r *Request) plan(ctx context.Context, log clip.Log) (*Manifest, []*clip.Clip, error) {
	clips, err := clip.Plan(ctx, log, r.Topic, r.From, r.To)
	if err != nil {
		return nil, nil, err
	}
	m := &Manifest{
		Version: version, Camera: r.Topic.Camera, Rendition: r.Topic.Name(),
		Topic: r.Names.Media(r.Topic), IndexTopic: r.Names.Index(r.Topic),
		From: r.From.UTC(), To: r.To.UTC(), Made: r.Made, Clips: []Clip{},
	}
	m.Made.At, m.Made.Muxer = r.Made.At.UTC(), cmaf.Version
	if r.Key != nil {
		if m.PublicKey, err = showPublic(r.Key.Public().(ed25519.PublicKey)); err != nil {
			return nil, nil, err
		}
	}
	m.Missing, err = r.missing(ctx, log)
	return m, clips, err
}

// missing reads what the range does not have.
func (r *Request) missing(ctx context.Context, log clip.Log) ([]Missing, error) {
	f := finder{r: r, until: r.From, all: []Missing{}}
	for e, err := range log.Entries(ctx, r.Topic, medialog.Range{From: r.From, To: r.To}) {
		if err != nil {
			return nil, fmt.Errorf("evidence: %w", err)
		}
		f.take(&e)
	}
	// What comes behind the range tells why nothing was recorded at its end.
	for e, err := range log.Entries(ctx, r.Topic, medialog.Range{From: r.To}) {
		if err != nil {
			return nil, fmt.Errorf("evidence: %w", err)
		}
		f.take(&e)
		break
	}
	f.unknown(r.To)
	return f.all, nil
}

// finder finds what a range does not have.
type finder struct {
	r     *Request
	until time.Time // up to where all is told
	all   []Missing
}

func (f *finder) take(entry *schemas.Entry) {
	for e := range entry.Expand() {
		if e.Absent > 0 {
			from := e.Start.Add(-schemas.FromTicks(e.Absent))
			f.unknown(from)
			f.add(Absence, e.AbsentReason, 0, from, e.Start)
		} else {
			f.unknown(e.Start)
		}
		if e.Kind == schemas.KindGap {
			f.add(Gap, e.Reason, e.Seq, e.Start, e.End())
		}
		if e.End().After(f.until) {
			f.until = e.End()
		}
	}
}

// unknown adds the time from until to t.
func (f *finder) unknown(t time.Time) {
	if t.Sub(f.until) > unseen {
		f.add(NoEntry, "", 0, f.until, t)
	}
}

// add adds what of [from, to) is in the range.
func (f *finder) add(kind, reason string, seq uint64, from, to time.Time) {
	if from.Before(f.r.From) {
		from = f.r.From
	}
	if to.After(f.r.To) {
		to = f.r.To
	}
	if from.Before(to) {
		f.all = append(f.all, Missing{from.UTC(), to.UTC(), kind, reason, seq})
	}
}

// unseen is how much time without an entry is not told: the public times of neighbours may
// differ by a frame.
const unseen = 100 * time.Millisecond

// write writes all files into a directory.
func (r *Request) write(ctx context.Context, log clip.Log, m *Manifest, clips []*clip.Clip, dir string) error {
	before := firstLink
	for i, one := range clips {
		f, err := one.Prepare(ctx, log, r.progress("read", one.Bytes()))
		if errors.Is(err, clip.ErrNone) {
			continue // no picture of it is shown in the range
		}
		if err != nil {
			return err
		}
		name := f.Name()
		if len(clips) > 1 {
			name = fmt.Sprintf("%s-%d.mp4", strings.TrimSuffix(name, ".mp4"), i+1)
		}
		c, err := r.writeClip(ctx, f, filepath.Join(dir, name))
		if err != nil {
			return fmt.Errorf("evidence: %s: %w", name, err)
		}
		for j := range c.Segments {
			before = c.Segments[j].link(before)
			c.Segments[j].Chain = before
		}
		m.Clips = append(m.Clips, c)
	}
	if len(m.Clips) == 0 {
		return clip.ErrNone
	}
	manifest, err := m.encode()
	if err != nil {
		return err
	}
	var signature []byte
	if r.Key != nil {
		signature = ed25519.Sign(r.Key, manifest)
		if err := writeFile(filepath.Join(dir, SignatureName), signature); err != nil {
			return err
		}
	}
	if err := writeFile(filepath.Join(dir, ManifestName), manifest); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, SumsName), m.sums(manifest, signature))
}

func (r *Request) progress(what string, total int64) func(bytes int64) {
	if r.Progress == nil {
		return func(int64) {}
	}
	return r.Progress(what, total)
}

// writeClip writes a clip, and returns what the manifest tells of it.
func (r *Request) writeClip(ctx context.Context, f *clip.File, path string) (c Clip, err error) {
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return c, err
	}
	defer func() { err = cmp.Or(err, to.Close()) }()
	from := f.Reader(ctx)
	defer from.Close()
	whole, done := sha256.New(), r.progress("written", f.Size())
	copied := func(n int64) (string, error) {
		part := sha256.New()
		_, err := io.CopyN(io.MultiWriter(to, whole, part), from, n)
		done(n)
		return hexed(part), err
	}
	segments := f.Segments()
	first := &segments[0].Entry
	c = Clip{
		File: filepath.Base(path), Bytes: f.Size(), From: f.From.UTC(), To: f.To.UTC(), Life: first.Life, Session: first.Session, Config: first.Config,
		Header: Header{Bytes: segments[0].At},
	}
	if c.Header.SHA256, err = copied(c.Header.Bytes); err != nil {
		return c, err
	}
	for _, s := range segments {
		e := &s.Entry
		one := Segment{
			Seq: e.Seq, Epoch: e.Epoch, Partition: e.Partition, FirstOffset: e.First, LastOffset: e.Last, IndexOffset: e.Offset,
			Start: e.Start.UTC(), End: e.End().UTC(), Media: e.Media, LostPackets: e.Lost.Packets, LostUnits: e.Lost.Units, At: s.At, Bytes: s.Size,
		}
		if e.Kind == schemas.KindTruncated {
			one.Truncated = cmp.Or(e.Reason, "unknown")
		}
		if one.SHA256, err = copied(s.Size); err != nil {
			return c, err
		}
		c.Segments = append(c.Segments, one)
	}
	c.SHA256 = hexed(whole)
	return c, to.Sync()
}

func hexed(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

func writeFile(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
