package answer

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// taker is a writer that can be given files. It remembers whether it was given one.
type taker struct {
	bytes.Buffer
	files int
}

func (w *taker) ReadFrom(from io.Reader) (int64, error) {
	if l, ok := from.(*io.LimitedReader); ok {
		if _, ok := l.R.(*os.File); ok {
			w.files++
		}
	}
	return w.Buffer.ReadFrom(from)
}

// Pieces together are all that there was, from whatever they are read. Parts of files go to the
// writer as such.
func TestCopyPiece(t *testing.T) {
	all := make([]byte, 100)
	for i := range all {
		all[i] = byte(i)
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, all, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	section := func() *io.SectionReader {
		s := io.NewSectionReader(file, 10, 80)
		if _, err := s.Seek(5, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		return s
	}
	for name, c := range map[string]struct {
		from  io.Reader
		want  []byte
		files bool
	}{
		"no limit":                {bytes.NewReader(all), all, false},
		"a limit":                 {io.LimitReader(bytes.NewReader(all), 70), all[:70], false},
		"a limit beyond the end":  {io.LimitReader(bytes.NewReader(all), 700), all, false},
		"part of a file":          {io.LimitReader(section(), 30), all[15:45], true},
		"part to its end":         {io.LimitReader(section(), 75), all[15:90], true},
		"part beyond its end":     {io.LimitReader(section(), 700), all[15:90], true},
		"a section of bytes":      {io.LimitReader(io.NewSectionReader(bytes.NewReader(all), 10, 20), 15), all[10:25], false},
		"nothing is left of them": {io.LimitReader(section(), 0), nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			var to taker
			var sum int64
			for end := false; !end; {
				var n int64
				var err error
				if n, end, err = CopyPiece(&to, c.from, 20); err != nil {
					t.Fatal(err)
				}
				sum += n
			}
			if !bytes.Equal(to.Bytes(), c.want) || sum != int64(len(c.want)) {
				t.Errorf("%d bytes of %v, want %v", sum, to.Bytes(), c.want)
			}
			if (to.files > 0) != c.files {
				t.Errorf("%d files", to.files)
			}
		})
	}
}
