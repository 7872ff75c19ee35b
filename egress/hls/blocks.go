package hls

import "io"

// blocks is bytes in pieces: those of a segment in its parts, one after the
// other, so that neither is a copy of the other. Nobody changes them.
type blocks [][]byte

func (b blocks) size() (n int64) {
	for _, p := range b {
		n += int64(len(p))
	}
	return n
}

// ReadAt implements io.ReaderAt.
func (b blocks) ReadAt(to []byte, from int64) (n int, err error) {
	for _, p := range b {
		if from < int64(len(p)) {
			n += copy(to[n:], p[from:])
			from = 0
		} else {
			from -= int64(len(p))
		}
		if n == len(to) {
			return n, nil
		}
	}
	return n, io.EOF
}

// WriteTo implements io.WriterTo: a piece a call, none of them copied.
func (b blocks) WriteTo(w io.Writer) (written int64, err error) {
	for _, p := range b {
		n, err := w.Write(p)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}
