package native

import (
	"cmp"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/headers"
)

// readBuffer is what a UDP socket may hold while this process does not run. The system may
// give less (net.core.rmem_max).
const readBuffer = 512 << 10

// socket is a UDP socket of the library. What comes is taken here: the library would wait
// for 64 later packets if one is missing, which can be seconds. The library still gets
// everything, for its reports to the camera.
type socket struct {
	*net.UDPConn
	taken atomic.Pointer[func(b []byte, addr *net.UDPAddr)]
}

func (s *session) listen(network, address string) (net.PacketConn, error) {
	conn, err := net.ListenPacket(network, address) //nolint:noctx // as the library does it
	if err != nil {
		return nil, err
	}
	u := conn.(*net.UDPConn)
	_ = u.SetReadBuffer(readBuffer)
	sock := &socket{UDPConn: u}
	s.sockets[u.LocalAddr().(*net.UDPAddr).Port] = sock
	return sock, nil
}

func (s *socket) take(f func(b []byte, addr *net.UDPAddr)) { s.taken.Store(&f) }

// ReadFrom implements net.PacketConn.
func (s *socket) ReadFrom(b []byte) (int, net.Addr, error) {
	n, addr, err := s.UDPConn.ReadFrom(b)
	if f := s.taken.Load(); f != nil && err == nil && n < len(b) { // a larger one is cut off
		(*f)(b[:n], addr.(*net.UDPAddr))
	}
	return n, addr, err
}

// clientPort returns the port for RTP in a SETUP, or 0.
func clientPort(r *base.Request) int {
	var t headers.Transport
	if t.Unmarshal(r.Header["Transport"]) != nil || t.ClientPorts == nil {
		return 0
	}
	return t.ClientPorts[0]
}

// sources returns the addresses from which RTP may come: the camera's, and the one that its
// answer to SETUP names.
func sources(tcp *paced, answer *base.Response) (ips []net.IP) {
	if a, ok := tcp.RemoteAddr().(*net.TCPAddr); ok {
		ips = append(ips, a.IP)
	}
	var t headers.Transport
	if t.Unmarshal(answer.Header["Transport"]) == nil && t.Source2 != nil {
		if ip := net.ParseIP(*t.Source2); ip != nil {
			ips = append(ips, ip)
		}
	}
	return ips
}

// order puts the packets of a track that came over UDP into their order. It waits for a
// missing packet for latency.
type order struct {
	latency time.Duration
	port    int // from which the packets come
	started bool
	next    uint16 // the number that is expected
	held    []heldPacket
	late    int // packets in a row that came too late
}

type heldPacket struct {
	*packet
	at time.Time
}

// heldPackets is how many packets wait at most for one that is missing.
const heldPackets = 1024

// sequence is how many packets in a row with numbers of the past mean that the sender
// began again with other numbers.
const sequence = 32

// accepts reports whether a packet comes from the camera. The port is that of the first.
func (o *order) accepts(from []net.IP, addr *net.UDPAddr) bool {
	if !slices.ContainsFunc(from, addr.IP.Equal) {
		return false
	}
	o.port = cmp.Or(o.port, addr.Port)
	return addr.Port == o.port
}

// push takes a packet and returns those whose turn it is.
func (o *order) push(p *packet, now time.Time) []*packet {
	if !o.started {
		o.started, o.next = true, p.SequenceNumber
	}
	ahead := int16(p.SequenceNumber - o.next)
	if ahead < 0 {
		o.late++
		if o.late < sequence {
			return nil // twice, or too late
		}
		o.held, o.next = nil, p.SequenceNumber
	}
	o.late = 0
	at, twice := slices.BinarySearchFunc(o.held, p.SequenceNumber, func(h heldPacket, n uint16) int {
		return int(int16(h.SequenceNumber - n))
	})
	if twice {
		return nil
	}
	o.held = slices.Insert(o.held, at, heldPacket{p, now})
	if len(o.held) > heldPackets {
		o.next = o.held[0].SequenceNumber
	}
	return o.ready()
}

// ready takes the packets out whose turn it is.
func (o *order) ready() (out []*packet) {
	n := 0
	for ; n < len(o.held) && o.held[n].SequenceNumber == o.next; n++ {
		out = append(out, o.held[n].packet)
		o.next++
	}
	o.held = slices.Delete(o.held, 0, n)
	return out
}

// expire ends the wait for packets that have not come in time.
func (o *order) expire(now time.Time) (out []*packet) {
	for len(o.held) > 0 && now.Sub(o.held[0].at) >= o.latency {
		o.next = o.held[0].SequenceNumber
		out = append(out, o.ready()...)
	}
	return out
}

// flush ends all waits.
func (o *order) flush() (out []*packet) {
	for len(o.held) > 0 {
		o.next = o.held[0].SequenceNumber
		out = append(out, o.ready()...)
	}
	return out
}
