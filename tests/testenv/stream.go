package testenv

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync"
	"testing/synctest"
)

// Stream reads an answer of server-sent events in a bubble of testing/synctest. It is the
// answer's http.ResponseWriter.
type Stream struct {
	Head  http.Header
	Leave context.CancelFunc // ends the request, as a client that goes away

	mu    sync.Mutex
	code  int
	got   bytes.Buffer
	hold  chan struct{} // not nil: a write blocks until it is closed
	ended bool
}

// ReadStream sends a request to h. It returns when nothing more comes for now.
func ReadStream(h http.Handler, r *http.Request) *Stream {
	ctx, cancel := context.WithCancel(r.Context())
	s := &Stream{Head: http.Header{}, Leave: cancel, code: http.StatusOK}
	go func() {
		h.ServeHTTP(s, r.WithContext(ctx))
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended = true
	}()
	synctest.Wait()
	return s
}

// Header implements http.ResponseWriter.
func (s *Stream) Header() http.Header { return s.Head }

// WriteHeader implements http.ResponseWriter.
func (s *Stream) WriteHeader(code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code = code
}

// Flush implements http.Flusher.
func (s *Stream) Flush() {}

// Write implements http.ResponseWriter.
func (s *Stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	hold := s.hold
	s.mu.Unlock()
	if hold != nil {
		<-hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.Write(b)
}

// Hold stops reading until release is called.
func (s *Stream) Hold() (release func()) {
	hold := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = hold
	return func() { close(hold) }
}

// Code is the status of the answer.
func (s *Stream) Code() int {
	defer s.lock()()
	return s.code
}

// Ended reports whether the answer is complete.
func (s *Stream) Ended() bool {
	defer s.lock()()
	return s.ended
}

// Text returns what has come since the last call of Messages.
func (s *Stream) Text() string {
	defer s.lock()()
	return s.got.String()
}

// lock waits until nothing more comes for now.
func (s *Stream) lock() (unlock func()) {
	synctest.Wait()
	s.mu.Lock()
	return s.mu.Unlock
}

// Messages returns what has come since the last call.
func (s *Stream) Messages() []StreamMessage {
	defer s.lock()()
	defer s.got.Reset()
	return ParseStream(s.got.String())
}

// StreamMessage is a server-sent event (HTML standard, section 9.2).
type StreamMessage struct{ ID, Event, Data string }

// ParseStream returns the messages of a text; of comments and "retry" nothing is kept.
func ParseStream(text string) (all []StreamMessage) {
	for one := range strings.SplitSeq(text, "\n\n") {
		var m StreamMessage
		for line := range strings.SplitSeq(one, "\n") {
			switch name, value, _ := strings.Cut(line, ": "); name {
			case "id":
				m.ID = value
			case "event":
				m.Event = value
			case "data":
				m.Data = value
			}
		}
		if m != (StreamMessage{}) {
			all = append(all, m)
		}
	}
	return all
}
