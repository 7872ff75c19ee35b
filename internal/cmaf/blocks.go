package cmaf

import "io"

// Blocks is bytes in pieces. A segment is the list of its chunks, so that no
// byte of media is held twice. They never change.
type Blocks [][]byte

// Size is the number of bytes in all pieces.
func (b Blocks) Size() (n int64) {
	for _, p := range b {
		n += int64(len(p))
	}
	return n
}

// ReadAt implements io.ReaderAt.
func (b Blocks) ReadAt(to []byte, from int64) (n int, err error) {
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

// WriteTo implements io.WriterTo. It writes one piece a call and copies nothing.
func (b Blocks) WriteTo(w io.Writer) (written int64, err error) {
	for _, p := range b {
		n, err := w.Write(p)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}
