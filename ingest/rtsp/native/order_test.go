package native

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/pion/rtp"
)

// Packets that come over UDP go on in their order: a missing one is waited for as long as
// latency says, and what comes twice or later is left out.
func TestOrder(t *testing.T) {
	const latency = 200 * time.Millisecond
	// n is a packet's number; at is when it comes, in ms. Without a number only time passes.
	type step struct{ n, at int }
	for name, c := range map[string]struct {
		steps []step
		want  string
	}{
		"in order":     {[]step{{65534, 0}, {65535, 1}, {0, 2}, {1, 3}}, "[65534] [65535] [0] [1]"},
		"swapped":      {[]step{{1, 0}, {3, 1}, {2, 2}, {4, 3}}, "[1] [] [2 3] [4]"},
		"twice":        {[]step{{1, 0}, {1, 1}, {3, 2}, {3, 3}, {2, 4}}, "[1] [] [] [] [2 3]"},
		"lost":         {[]step{{1, 0}, {3, 1}, {4, 100}, {-1, 200}, {-1, 201}, {5, 202}}, "[1] [] [] [] [3 4] [5]"},
		"two lost":     {[]step{{1, 0}, {3, 1}, {5, 100}, {-1, 201}, {-1, 299}, {-1, 300}}, "[1] [] [] [3] [] [5]"},
		"too late":     {[]step{{1, 0}, {3, 1}, {-1, 201}, {2, 202}, {4, 203}}, "[1] [] [3] [] [4]"},
		"across the 0": {[]step{{65535, 0}, {1, 1}, {0, 2}}, "[65535] [] [0 1]"},
	} {
		o := order{latency: latency}
		began := time.Now()
		got := ""
		for _, s := range c.steps {
			now := began.Add(time.Duration(s.at) * time.Millisecond)
			var out []*packet
			if s.n >= 0 {
				out = o.push(numbered(s.n), now)
			} else {
				out = o.expire(now)
			}
			var ns []uint16
			for _, p := range out {
				ns = append(ns, p.SequenceNumber)
			}
			got += fmt.Sprint(ns) + " "
		}
		if got != c.want+" " {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func numbered(n int) *packet { return &packet{Header: rtp.Header{SequenceNumber: uint16(n)}} }

// A sender that begins again with other numbers is followed, and memory is bounded where a
// packet is missing for ever.
func TestOrderGoesOn(t *testing.T) {
	now := time.Now()
	o := order{latency: time.Hour}
	o.push(numbered(5000), now)
	var out []*packet
	for n := 1; len(out) == 0; n++ {
		if n > 2*sequence {
			t.Fatal("numbers of the past are never taken")
		}
		out = o.push(numbered(n), now)
	}
	n, held := int(out[0].SequenceNumber)+1, 0
	for range 3 * heldPackets {
		n++ // one is missing
		o.push(numbered(n), now)
		held = max(held, len(o.held))
	}
	if held > heldPackets {
		t.Errorf("%d packets are held", held)
	}
}

// RTP is taken from the camera alone, and from the port of the first packet.
func TestSourceOfPackets(t *testing.T) {
	from := []net.IP{net.IPv4(10, 0, 0, 5), net.IPv4(10, 0, 0, 6)}
	var o order
	for i, c := range []struct {
		ip   string
		port int
		want bool
	}{{"10.0.0.7", 5000, false}, {"10.0.0.6", 5002, true}, {"10.0.0.6", 5004, false}, {"10.0.0.5", 5002, true}} {
		if got := o.accepts(from, &net.UDPAddr{IP: net.ParseIP(c.ip), Port: c.port}); got != c.want {
			t.Errorf("packet %d: %v", i, got)
		}
	}
}
