package cli

import (
	"bytes"
	"io"
)

// trimmer removes spaces at the ends of lines. A tabwriter leaves them if the
// last cell is empty.
type trimmer struct {
	out  io.Writer
	line []byte
}

func (t *trimmer) Write(b []byte) (int, error) {
	t.line = append(t.line, b...)
	for {
		line, rest, ok := bytes.Cut(t.line, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		if _, err := t.out.Write(append(bytes.TrimRight(line, " "), '\n')); err != nil {
			return 0, err
		}
		t.line = append([]byte(nil), rest...)
	}
}
