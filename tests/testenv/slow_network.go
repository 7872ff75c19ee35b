package testenv

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// SlowNetwork is a TCP proxy that can be made slow.
type SlowNetwork struct {
	URL string // of the server, through this network

	mu    sync.Mutex
	delay time.Duration
	rate  int       // bytes a second to all clients together; 0: no limit
	free  time.Time // when the line is free again
}

// SlowNetworkTo starts a proxy to a server. At first it is not slow.
func SlowNetworkTo(t testing.TB, url string) *SlowNetwork {
	t.Helper()
	n := &SlowNetwork{}
	to := strings.TrimPrefix(url, "http://")
	n.URL = "http://" + ServeTCP(t, func(client net.Conn) {
		server, err := net.Dial("tcp", to)
		if err != nil {
			return // the server is away
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _ = io.Copy(server, client) // it ends with either side
			_ = server.Close()
		})
		n.copy(client, server)
		_ = client.Close()
		_ = server.Close()
		wg.Wait()
	})
	return n
}

// Set makes the network slow from now on: what servers send arrives later by delay, and at
// most so many bytes a second, 0 for any number. It forgets the backlog of what was set before.
func (n *SlowNetwork) Set(rate int, delay time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rate, n.delay, n.free = rate, delay, time.Time{}
}

// due returns when a piece that is there now arrives.
func (n *SlowNetwork) due(size int) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	if n.rate > 0 {
		if n.free.Before(now) {
			n.free = now
		}
		n.free = n.free.Add(time.Duration(size) * time.Second / time.Duration(n.rate))
		now = n.free
	}
	return now.Add(n.delay)
}

// copy copies as the network is. Little is on its way at once, as on a real line: then the
// server notices.
func (n *SlowNetwork) copy(to io.Writer, from io.Reader) {
	type piece struct {
		data []byte
		due  time.Time
	}
	way := make(chan piece, 16)
	var wg sync.WaitGroup
	wg.Go(func() {
		broken := false
		for p := range way {
			time.Sleep(time.Until(p.due)) // the network's delay
			if !broken {
				_, err := to.Write(p.data)
				broken = err != nil
			}
		}
	})
	b := make([]byte, 4096)
	for {
		k, err := from.Read(b)
		if k > 0 {
			way <- piece{append([]byte(nil), b[:k]...), n.due(k)}
		}
		if err != nil {
			break
		}
	}
	close(way)
	wg.Wait()
}
