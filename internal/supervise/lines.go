package supervise

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"sync"
)

// maxLine is the longest line of a child that is passed on whole.
const maxLine = 64 << 10

// lines makes one stream of the children's output, line by line. A line that
// is structured and names its role passes as it is; any other (a panic, a
// library's complaint) is put into a message.
type lines struct {
	mu   sync.Mutex
	w    io.Writer
	log  *slog.Logger
	said map[string]string // the last plain line of each role
}

// last is the last plain line of a role.
func (l *lines) last(role string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.said[role]
}

// copy passes on r's lines until it ends.
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
	_, _ = l.w.Write(append(bytes.Clone(b), '\n')) // there is nowhere else to say it
}
