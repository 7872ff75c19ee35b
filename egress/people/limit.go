package people

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// limiter bounds how often something may happen to each of many keys, with memory that does
// not grow: keys share places of a table, by a hash that nobody outside knows. It is the
// generic cell rate algorithm (ITU-T I.371).
type limiter struct {
	seed  maphash.Seed
	every time.Duration // one more each
	most  time.Duration // at once, as a multiple of every

	mu    sync.Mutex
	until [1 << 14]time.Duration // since start, until when a place is not empty
	start time.Time
}

// newLimiter makes a limiter of most at once, and then one every so often.
func newLimiter(most int, every time.Duration) *limiter {
	return &limiter{seed: maphash.MakeSeed(), every: every, most: time.Duration(most) * every, start: time.Now()}
}

// take takes one for key. It returns 0, or how long to wait for the next one.
func (l *limiter) take(key string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Since(l.start)
	place := &l.until[maphash.String(l.seed, key)%uint64(len(l.until))]
	next := max(*place, now) + l.every
	if wait := next - now - l.most; wait > 0 {
		return wait
	}
	*place = next
	return 0
}

// give gives back one that take took.
func (l *limiter) give(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until[maphash.String(l.seed, key)%uint64(len(l.until))] -= l.every
}

// limit takes an attempt to sign in. It returns 0, or how long to wait.
func (s *Server) limit(name string, addr netip.Addr) time.Duration {
	if wait := s.names.take(name); wait > 0 {
		return wait
	}
	wait := s.addrs.take(network(addr))
	if wait > 0 {
		s.names.give(name)
	}
	return wait
}

// unlimit gives back an attempt that was no failure.
func (s *Server) unlimit(name string, addr netip.Addr) {
	s.names.give(name)
	s.addrs.give(network(addr))
}

// network returns what one client has of addresses: of IPv6 it usually is a network of /64.
func network(addr netip.Addr) string {
	if addr.Is6() && !addr.Is4In6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.String()
		}
	}
	return addr.Unmap().String()
}
