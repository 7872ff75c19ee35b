package s3

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
	"os"
)

// small is how many bytes of a file that is made are in memory; more of it goes to the disk.
const small = 1 << 20

// spool takes a file that is made, with its SHA-256. Close must be called.
type spool struct {
	dir  string
	sum  hash.Hash
	head bytes.Buffer
	f    *os.File // nil: all is in head
	size int64
}

func newSpool(dir string) *spool { return &spool{dir: dir, sum: sha256.New()} }

// Write implements io.Writer.
func (s *spool) Write(b []byte) (n int, err error) {
	if s.f == nil && s.size+int64(len(b)) > small {
		if err := s.create(); err != nil {
			return 0, err
		}
	}
	if s.f == nil {
		n, err = s.head.Write(b)
	} else {
		n, err = s.f.Write(b)
	}
	s.size += int64(n)
	s.sum.Write(b[:n])
	return n, err
}

// create makes a file without a name: it lives until it is closed.
func (s *spool) create() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(s.dir, ".*.part")
	if err != nil {
		return err
	}
	s.f = f
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	_, err = s.head.WriteTo(f)
	return err
}

// all returns what was written.
func (s *spool) all() *io.SectionReader {
	if s.f == nil {
		return io.NewSectionReader(bytes.NewReader(s.head.Bytes()), 0, s.size)
	}
	return io.NewSectionReader(s.f, 0, s.size)
}

// Close implements io.Closer.
func (s *spool) Close() error {
	if s.f == nil {
		return nil
	}
	return s.f.Close()
}
