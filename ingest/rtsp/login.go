package rtsp

import (
	"context"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"
)

// login prevents a camera from locking out this source: many cameras lock an
// account, or an address, after about five wrong passwords.
type login struct {
	refused string        // URL whose credentials the camera did not accept; "": none
	wait    time.Duration // the latest pause, without its random part
	until   time.Time     // refused is not tried before this time
	good    string        // URL whose credentials the camera accepted last
}

// await returns the URL to connect to. If the camera has refused its credentials,
// await first waits until they may be tried again, or until one of them changes.
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

// refuse records that the camera did not accept the credentials of a URL, and
// returns for how long they are not tried again. A camera that accepted them before
// may just have started and not know its users yet: then they are tried again at
// once, once.
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

// accept records that the camera accepted the credentials of a URL.
func (l *login) accept(url string) { *l = login{good: url} }

// formatDuration formats a duration without the zeros at its end: "1m", not "1m0s".
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
