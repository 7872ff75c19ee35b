package rtsp

import (
	"context"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"
)

// login keeps a source from being locked out: many cameras lock an account, or
// an address, after some five wrong passwords.
type login struct {
	refused string        // URL whose credentials the camera did not take; "": none
	wait    time.Duration // before it is tried again, the last time
	until   time.Time     // it is not tried before
	good    string        // URL whose credentials the camera took last
}

// await waits as long as the camera refuses what the URL holds, and gives the
// URL then: at once where a secret of it changes.
func (s *source) await(ctx context.Context) (*url.URL, error) {
	for {
		u, err := s.cfg.URL(ctx)
		if err != nil {
			return nil, err
		}
		left := time.Until(s.login.until)
		if left <= 0 || u.String() != s.login.refused {
			return u, nil
		}
		select {
		case <-time.After(min(left, s.cfg.SecretEvery)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// refuse notes that the camera did not take the credentials of a URL, and gives
// how long they are not tried again. Where it took them before, the camera may
// just have started and not know its users yet: once they are tried again at once.
func (l *login) refuse(url string, lo, hi time.Duration) time.Duration {
	if url != l.refused {
		l.refused, l.wait = url, 0
	}
	if l.good == url {
		l.good = ""
		return 0
	}
	l.wait = min(max(lo, 2*l.wait), hi)
	pause := l.wait + rand.N(l.wait/2+1)
	l.until = time.Now().Add(pause)
	return pause
}

// accept notes that the camera took them.
func (l *login) accept(url string) { *l = login{good: url} }

// plain is a duration without the zeros at its end: "1m", not "1m0s".
func plain(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
