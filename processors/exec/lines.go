package exec

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	// maxLine is the most bytes of a line that a program prints. Longer ones are cut.
	maxLine = 4 << 10
	// lineRate and lineBurst are how many lines a second, and how many at once, go to the
	// log. Others are left out, and counted.
	lineRate  = 10
	lineBurst = 200
	// keptLines is how many lines an error can tell, and keptBytes their bytes.
	keptLines = 5
	keptBytes = 600
)

// lines brings what a child prints to the log, line by line.
type lines struct {
	log     *slog.Logger
	dropped func() // counts a line that was left out
	wg      sync.WaitGroup

	mu     sync.Mutex
	last   []string
	tokens float64
	at     time.Time // of tokens
	out    int       // lines left out since the last one that was not
}

func newLines(log *slog.Logger, dropped func()) *lines {
	return &lines{log: log, dropped: dropped, tokens: lineBurst, at: time.Now()}
}

// copy reads r until it ends.
func (l *lines) copy(stream string, r io.ReadCloser) {
	l.wg.Go(func() {
		defer r.Close()
		br := bufio.NewReaderSize(r, maxLine)
		for {
			line, err := br.ReadSlice('\n')
			if text := strings.ToValidUTF8(string(bytes.TrimRight(line, "\r\n")), "\uFFFD"); strings.TrimSpace(text) != "" {
				l.line(stream, text, time.Now())
			}
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = br.ReadSlice('\n')
			}
			if err != nil {
				return
			}
		}
	})
}

func (l *lines) line(stream, text string, now time.Time) {
	l.mu.Lock()
	if l.last = append(l.last, text); len(l.last) > keptLines {
		l.last = l.last[1:]
	}
	l.tokens = min(lineBurst, l.tokens+now.Sub(l.at).Seconds()*lineRate)
	l.at = now
	if l.tokens < 1 {
		l.out++
		l.mu.Unlock()
		l.dropped()
		return
	}
	l.tokens--
	out := l.out
	l.out = 0
	l.mu.Unlock()
	if out > 0 {
		l.log.Warn("the program prints too much; lines were left out", "lines", out)
	}
	l.log.Info(text, "stream", stream)
}

// said returns the last lines, for an error; "" if there are none.
func (l *lines) said() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := strings.Join(l.last, " | ")
	if len(s) > keptBytes {
		s = "…" + strings.ToValidUTF8(s[len(s)-keptBytes:], "")
	}
	if s == "" {
		return ""
	}
	return "; it printed last: " + s
}
