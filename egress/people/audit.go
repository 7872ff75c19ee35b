package people

import (
	"maps"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/framelog/framelog/egress/access"
)

const (
	// watchPause is how long somebody does not watch a camera until the next request is a
	// new start of watching.
	watchPause = 5 * time.Minute
	// maxWatched bounds what is remembered of who watches what. Beyond it a line may come
	// twice.
	maxWatched = 4096
)

// watching is somebody who watches something.
type watching struct {
	user, by, camera, rendition string
	address                     netip.Addr
}

// watched remembers when somebody last watched something.
type watched struct {
	mu sync.Mutex
	at map[watching]time.Time
}

// begins reports whether w starts to watch now.
func (x *watched) begins(w watching, now time.Time) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	last, ok := x.at[w]
	if !ok && len(x.at) >= maxWatched {
		maps.DeleteFunc(x.at, func(_ watching, t time.Time) bool { return now.Sub(t) >= watchPause })
		if len(x.at) >= maxWatched {
			clear(x.at)
		}
	}
	x.at[w] = now
	return !ok || now.Sub(last) >= watchPause
}

// audit logs who does what with a camera: one line for each change, and one when somebody
// starts to watch.
func (s *Server) audit(r *http.Request, camera, rendition string, action access.Action) {
	who := s.sender(r)
	if who == nil || action == access.List {
		return
	}
	w := watching{user: who.user.Name, by: who.by(), camera: camera, rendition: rendition, address: s.address(r)}
	if action == access.Watch && !s.watched.begins(w, time.Now()) {
		return
	}
	s.log.Info("audit", "event", string(action), "user", w.user, "by", w.by, "camera", camera, "rendition", rendition, "address", w.address, "method", r.Method)
}
