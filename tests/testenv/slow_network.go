package testenv

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// SlowNetwork is a TCP proxy that can be made slow, and cut.
type SlowNetwork struct {
	URL string // of the server, through this network

	mu      sync.Mutex
	delay   time.Duration
	rate    int           // bytes a second to all clients together; 0: no limit
	free    time.Time     // when the line is free again
	changed chan struct{} // closed by Set
	cut     bool
	open    map[net.Conn]struct{} // connections of clients
}

// piece is what is on its way.
type piece struct {
	data []byte
	at   time.Time     // when it came
	due  time.Time     // when it arrives
	set  chan struct{} // closed when due does not hold any more
}

// SlowNetworkTo starts a proxy to a server. At first it is not slow.
func SlowNetworkTo(t testing.TB, url string) *SlowNetwork {
	t.Helper()
	n := &SlowNetwork{changed: make(chan struct{}), open: map[net.Conn]struct{}{}}
	to := strings.TrimPrefix(url, "http://")
	n.URL = "http://" + ServeTCP(t, func(client net.Conn) {
		if !n.enter(client) {
			return
		}
		defer n.leave(client)
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
// most so many bytes a second, 0 for any number. That holds also for what is on its way.
func (n *SlowNetwork) Set(rate int, delay time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rate, n.delay, n.free = rate, delay, time.Time{}
	close(n.changed)
	n.changed = make(chan struct{})
}

// Cut breaks all connections, and each new one at once, until it is called with false.
func (n *SlowNetwork) Cut(yes bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = yes
	if !yes {
		return
	}
	for c := range n.open {
		_ = c.Close()
	}
}

// enter counts a connection. It returns false if the network is cut.
func (n *SlowNetwork) enter(c net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.cut {
		n.open[c] = struct{}{}
	}
	return !n.cut
}

func (n *SlowNetwork) leave(c net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.open, c)
}

// send puts a piece on its way.
func (n *SlowNetwork) send(p *piece) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p.due, p.set = p.at, n.changed
	if n.rate > 0 {
		if n.free.Before(p.due) {
			n.free = p.due
		}
		n.free = n.free.Add(time.Duration(len(p.data)) * time.Second / time.Duration(n.rate))
		p.due = n.free
	}
	p.due = p.due.Add(n.delay)
}

// arrive waits until a piece arrives.
func (n *SlowNetwork) arrive(p *piece) {
	for {
		t := time.NewTimer(time.Until(p.due)) // the network's delay
		select {
		case <-t.C:
			return
		case <-p.set:
			t.Stop()
			n.send(p)
		}
	}
}

// copy copies as the network is. Little is on its way at once, as on a real line: then the
// server notices.
func (n *SlowNetwork) copy(to io.Writer, from io.Reader) {
	way := make(chan *piece, 16)
	var wg sync.WaitGroup
	wg.Go(func() {
		broken := false
		for p := range way {
			n.arrive(p)
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
			p := &piece{data: append([]byte(nil), b[:k]...), at: time.Now()}
			n.send(p)
			way <- p
		}
		if err != nil {
			break
		}
	}
	close(way)
	wg.Wait()
}
