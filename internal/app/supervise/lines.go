package supervise

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"sync"
)

// maxLine is the longest line of a child, in bytes. Longer lines are cut.
const maxLine = 64 << 10

// lines joins the output of the children in one stream, line by line. It copies
// structured lines that name their role. Other lines, such as those of a panic or
// a library, become the text of a warning.
type lines struct {
	mu   sync.Mutex
	w    io.Writer
	log  *slog.Logger
	said map[string]string // by role: the last line that was not structured
}

// last is the last line of a role that was not structured.
func (l *lines) last(role string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.said[role]
}

// copy writes the lines of r until r ends.
func (l *lines) copy(role string, r io.Reader) {
	br := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := br.ReadSlice('\n')
		cut := errors.Is(err, bufio.ErrBufferFull)
		if len(line) > 0 {
			l.line(role, bytes.TrimRight(line, "\r\n"))
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = br.ReadSlice('\n')
		}
		if cut {
			l.log.Warn("a line of output was too long and is cut", "role", role)
		}
		if err != nil {
			return
		}
	}
}

// line writes one line.
func (l *lines) line(role string, b []byte) {
	if len(bytes.TrimSpace(b)) == 0 {
		return
	}
	text := bytes.HasPrefix(b, []byte("time=")) && bytes.Contains(b, []byte(" role="))
	json := b[0] == '{' && b[len(b)-1] == '}' && bytes.Contains(b, []byte(`"role":`))
	if !text && !json {
		l.mu.Lock()
		l.said[role] = string(b)
		l.mu.Unlock()
		l.log.Warn(string(b), "role", role)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.w.Write(append(bytes.Clone(b), '\n')) // an error could be written nowhere else
}
