package testenv

import (
	"bufio"
	"context"
	enc "encoding/binary" // binary is a variable of this package
	"fmt"
	"io"
	"maps"
	"net"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// RequestCounter stands between a broker and its clients, and counts the requests.
type RequestCounter struct {
	broker string // its address; "" until it is known

	mu       sync.Mutex
	requests map[string]map[string]int // by id of the client and kind
}

// CountedKafka is OwnKafka behind a RequestCounter, whose address the broker tells its clients.
func CountedKafka(t testing.TB) (*KafkaBroker, *RequestCounter) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("testenv: count requests: %v", err)
	}
	k := OwnKafka(t, "advertised.listeners=PLAINTEXT://"+l.Addr().String())
	c := &RequestCounter{broker: k.Brokers[0], requests: map[string]map[string]int{}}
	k.Brokers = []string{l.Addr().String()}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return // the test has ended
			}
			go c.serve(client)
		}
	}()
	return k, c
}

// Requests returns how many requests of each kind clients with this id have sent.
func (c *RequestCounter) Requests(client string) map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.requests[client])
}

// serve passes on what a client and the broker send, until one of them ends.
func (c *RequestCounter) serve(client net.Conn) {
	defer client.Close()
	broker, err := new(net.Dialer).DialContext(context.Background(), "tcp", c.broker)
	if err != nil {
		return
	}
	defer broker.Close()
	go func() {
		defer client.Close()
		_, _ = io.Copy(client, broker)
	}()
	in := bufio.NewReaderSize(client, 64<<10)
	for {
		size, err := c.count(in)
		if err != nil {
			return
		}
		if _, err := io.CopyN(broker, in, size); err != nil {
			return
		}
	}
}

// count counts the request that in has next, and returns its size. A request begins with
// size, kind, version, number and the client's id (Kafka protocol guide, request header).
func (c *RequestCounter) count(in *bufio.Reader) (size int64, err error) {
	const fixed = 4 + 2 + 2 + 4 + 2
	head, err := in.Peek(fixed)
	if err != nil {
		return 0, err
	}
	kind := kmsg.NameForKey(int16(enc.BigEndian.Uint16(head[4:])))
	size = 4 + int64(enc.BigEndian.Uint32(head))
	if n := int16(enc.BigEndian.Uint16(head[fixed-2:])); n > 0 {
		if head, err = in.Peek(fixed + int(n)); err != nil {
			return 0, fmt.Errorf("testenv: request without its client's id: %w", err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	client := string(head[fixed:])
	if c.requests[client] == nil {
		c.requests[client] = map[string]int{}
	}
	c.requests[client][kind]++
	return size, nil
}
