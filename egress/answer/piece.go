package answer

import (
	"errors"
	"io"
	"os"
)

// CopyPiece copies at most n bytes. end: there are no more. If the reader is a part of a file, the
// writer gets a part of the file itself, so that the system can copy it (sendfile). Nobody else
// may read the file meanwhile.
func CopyPiece(to io.Writer, from io.Reader, n int64) (copied int64, end bool, err error) {
	whole, ok := from.(*io.LimitedReader)
	if !ok {
		copied, err = io.CopyN(to, from, n)
		if errors.Is(err, io.EOF) {
			return copied, true, nil
		}
		return copied, false, err
	}
	n = min(n, whole.N)
	file, at, left := fileOf(whole.R)
	if file == nil {
		copied, err = io.Copy(to, &io.LimitedReader{R: whole.R, N: n})
		whole.N -= copied
		return copied, whole.N == 0 || copied < n, err
	}
	n = min(n, left)
	if _, err := file.Seek(at, io.SeekStart); err != nil {
		return 0, false, err
	}
	copied, err = io.Copy(to, &io.LimitedReader{R: file, N: n})
	whole.N -= copied
	if _, failed := whole.R.(io.Seeker).Seek(copied, io.SeekCurrent); err == nil {
		err = failed
	}
	return copied, whole.N == 0 || left == copied || copied < n, err
}

// fileOf returns the file of a section, where that is read next, and how much of it is left; nil:
// it is none of a file.
func fileOf(r io.Reader) (file *os.File, at, left int64) {
	s, ok := r.(*io.SectionReader)
	if !ok {
		return nil, 0, 0
	}
	outer, base, size := s.Outer()
	file, ok = outer.(*os.File)
	passed, err := s.Seek(0, io.SeekCurrent)
	if !ok || err != nil {
		return nil, 0, 0
	}
	return file, base + passed, size - passed
}
