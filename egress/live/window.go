package live

import (
	"slices"
	"sync"
	"time"
)

// window bounds what of one connection is sent and not acknowledged: its bytes, and its age.
// Bytes alone would let minutes of a small picture wait in a slow network.
type window struct {
	limit int64
	late  time.Duration

	mu     sync.Mutex
	sent   int64 // since the connection began
	acked  int64 // of these
	marks  []mark
	opened chan struct{}
}

// mark is when bytes up to a number were sent. There is one for each markEvery in which
// something was sent, from the oldest that is not acknowledged on.
type mark struct {
	to int64
	at time.Time
}

const markEvery = 100 * time.Millisecond

func newWindow(limit int64, late time.Duration) *window {
	return &window{limit: limit, late: late, opened: make(chan struct{})}
}

// full returns nil if there is room, else a channel that is closed when there may be.
func (w *window) full() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sent-w.acked < w.limit && (len(w.marks) == 0 || time.Since(w.marks[0].at) < w.late) {
		return nil
	}
	return w.opened // only an acknowledgement makes room
}

// add counts bytes that are about to be sent.
func (w *window) add(n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent += n
	if last := len(w.marks) - 1; last >= 0 && time.Since(w.marks[last].at) < markEvery {
		w.marks[last].to = w.sent
		return
	}
	w.marks = append(w.marks, mark{w.sent, time.Now()})
}

// ack takes the number of bytes that the client has got in all. It returns by how many that
// grows, and false if the client cannot have got so many, or has told of more before.
func (w *window) ack(total int64) (n int64, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if total < w.acked || total > w.sent {
		return 0, false
	}
	n = total - w.acked
	w.acked = total
	done := 0
	for done < len(w.marks) && w.marks[done].to <= total {
		done++
	}
	w.marks = slices.Delete(w.marks, 0, done)
	if n > 0 {
		close(w.opened)
		w.opened = make(chan struct{})
	}
	return n, true
}

// inFlight is the number of bytes that are not acknowledged.
func (w *window) inFlight() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent - w.acked
}
