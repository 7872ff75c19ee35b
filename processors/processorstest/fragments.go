package processorstest

import (
	"embed"
	"encoding/binary"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/schemas"
)

// Fragments of one second, each as its entry and its chunks. TestMakeFragments makes them.
//
//go:embed testdata/*.fragment
var files embed.FS

// kinds makes fragments of each kind of files, and of parts of them.
var kinds = []struct {
	name string
	file string
	make func(*recording)
}{
	{"h264", "h264", nil},
	{"h264-audio", "h264-audio", nil},
	{"h265", "h265", nil},
	{"mjpeg", "mjpeg", nil},
	{"open-gop", "open-gop", nil},
	{"truncated", "h264-audio", (*recording).truncate},
	{"one-chunk", "h264-audio", (*recording).join},
	{"audio-missing", "h264-audio", (*recording).silence},
}

// Fragments returns fragments of these kinds; default: one of each. The camera of a
// fragment is named as its kind:
//
//   - h264: B-frames, no sound
//   - h264-audio: with AAC
//   - h265: B-frames, no sound
//   - mjpeg
//   - open-gop: H.264, the leading pictures need the fragment before
//   - truncated: h264-audio, but its writer crashed after some chunks
//   - one-chunk: h264-audio in one chunk
//   - audio-missing: h264-audio, but there is no sound although there is a track for it
//
// They show a moving test pattern, and last a second or less.
func Fragments(t testing.TB, names ...string) []*processors.Fragment {
	t.Helper()
	var all []*processors.Fragment
	for _, k := range kinds {
		if len(names) > 0 && !slices.Contains(names, k.name) {
			continue
		}
		r, err := readRecording(k.file)
		if err != nil {
			t.Fatalf("processorstest: %v", err)
		}
		if k.make != nil {
			k.make(r)
		}
		all = append(all, processors.NewFragment(k.name, r.entry, r.chunks...))
	}
	if len(names) > 0 && len(all) != len(names) {
		t.Fatalf("processorstest: fragments %s: not all of these kinds are known", strings.Join(names, ", "))
	}
	return all
}

// recording is a fragment in a file: the entry and the chunks as in the log, each after its
// length.
type recording struct {
	entry  schemas.Entry
	chunks []*schemas.Chunk
}

func readRecording(name string) (*recording, error) {
	b, err := fs.ReadFile(files, "testdata/"+name+".fragment")
	if err != nil {
		return nil, err
	}
	r := &recording{}
	for first := true; len(b) > 0; first = false {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return nil, errors.New("the file of " + name + " is cut off")
		}
		record := b[size : size+int(n)]
		b = b[size+int(n):]
		if first {
			if r.entry, err = schemas.DecodeEntry(record); err != nil {
				return nil, err
			}
			continue
		}
		c, err := schemas.DecodeChunk(record)
		if err != nil {
			return nil, err
		}
		r.chunks = append(r.chunks, c)
	}
	return r, nil
}

func (r *recording) encode() ([]byte, error) {
	var out []byte
	add := func(b []byte, err error) error {
		out = append(binary.AppendUvarint(out, uint64(len(b))), b...)
		return err
	}
	err := add(schemas.EncodeEntry(&r.entry))
	for _, c := range r.chunks {
		err = errors.Join(err, add(schemas.EncodeChunk(c)))
	}
	return out, err
}

// measure sets what the entry tells of the chunks.
func (r *recording) measure() {
	r.entry.Chunks, r.entry.Bytes = uint32(len(r.chunks)), 0
	for _, c := range r.chunks {
		r.entry.Bytes += int64(c.Size())
		r.entry.Duration = c.MediaEnd() - r.entry.Media
	}
}

func (r *recording) truncate() {
	r.chunks = r.chunks[:3]
	r.entry.Kind, r.entry.Reason = schemas.KindTruncated, schemas.ReasonCrash
	r.measure()
}

func (r *recording) join() {
	one := r.chunks[0]
	one.Last = true
	for _, c := range r.chunks[1:] {
		for _, run := range c.Runs {
			i := slices.IndexFunc(one.Runs, func(r schemas.Run) bool { return r.Track == run.Track })
			one.Runs[i].Samples = append(one.Runs[i].Samples, run.Samples...)
		}
	}
	r.chunks = r.chunks[:1]
	r.measure()
}

func (r *recording) silence() {
	for _, c := range r.chunks {
		c.Runs = slices.DeleteFunc(c.Runs, func(run schemas.Run) bool { return run.Track == schemas.AudioTrack })
	}
	r.measure()
}
