package system

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/oracle/hlscheck"
	"github.com/framelog/framelog/tests/testenv"
)

// Multivariant is the URL of a camera's multivariant playlist.
func Multivariant(base, id string) string { return base + "/hls/" + id + "/index.m3u8" }

// Playlist is a media playlist.
type Playlist struct {
	*hlscheck.Media
	URL  string
	Text string
}

// MediaPlaylist fetches the multivariant playlist at multivariant and the media
// playlist that it names first. It returns nil if one of them is not there (yet).
// A playlist that does not parse fails the test, which goes on.
func MediaPlaylist(t testing.TB, multivariant string) *Playlist {
	t.Helper()
	text, ok := fetch(t, multivariant)
	if !ok {
		return nil
	}
	m, err := hlscheck.ParseMultivariant(text)
	if err != nil {
		t.Errorf("system: %s: %v", multivariant, err)
		return nil
	}
	p := &Playlist{URL: Resolve(t, multivariant, m.Variants[0].URI)}
	if p.Text, ok = fetch(t, p.URL); !ok {
		return nil
	}
	if p.Media, err = hlscheck.ParseMedia(p.Text); err != nil {
		t.Errorf("system: %s: %v", p.URL, err)
		return nil
	}
	return p
}

func fetch(t testing.TB, u string) (text string, ok bool) {
	t.Helper()
	status, body, err := testenv.Get(t, u)
	return string(body), err == nil && status == http.StatusOK
}

// Resolve returns the URL that ref means in the document at base.
func Resolve(t testing.TB, base, ref string) string {
	t.Helper()
	b, err := url.Parse(base)
	if err != nil {
		t.Fatalf("system: %v", err)
	}
	u, err := b.Parse(ref)
	if err != nil {
		t.Fatalf("system: %v", err)
	}
	return u.String()
}

// Client is a strict HLS client that runs beside a test.
type Client struct {
	*hlscheck.Watcher
	stop func() error
}

// Watch starts a client. It runs until End, or until the test ends.
func Watch(t testing.TB, cfg hlscheck.Config) *Client {
	t.Helper()
	w := hlscheck.New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- w.Run(ctx) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return <-result
	})
	t.Cleanup(func() { _ = stop() })
	return &Client{w, stop}
}

// End ends the client. It logs what the client has seen, and fails the test for
// each violation. name stands in front of all that it says.
func (c *Client) End(t testing.TB, name string) hlscheck.Stats {
	t.Helper()
	if err := c.stop(); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	const most = 20
	all := c.Violations()
	for _, v := range all[:min(len(all), most)] {
		t.Errorf("%s: %v", name, v)
	}
	if len(all) > most {
		t.Errorf("%s: %d violations in all", name, len(all))
	}
	s := c.Stats()
	var latency time.Duration
	if n := len(s.Latency); n > 0 {
		latency = s.Latency[n/2]
	}
	s.Latency = nil
	t.Logf("%s: latency in the middle of the run %v, %+v", name, latency, s)
	return s
}
