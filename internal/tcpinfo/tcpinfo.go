// Package tcpinfo asks the system about TCP connections.
package tcpinfo

import (
	"crypto/tls"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Acked is the number of bytes that the system of conn's other end has acknowledged. conn may be
// TLS over TCP. ok is false if it is not TCP, such as a Unix socket, or has been closed.
func Acked(conn net.Conn) (n uint64, ok bool) {
	if secure, is := conn.(*tls.Conn); is {
		conn = secure.NetConn()
	}
	socket, is := conn.(syscall.Conn) // also one that embeds a *net.TCPConn
	if !is {
		return 0, false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, false
	}
	_ = raw.Control(func(fd uintptr) { // an error means that the connection is closed
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n, ok = info.Bytes_acked, true
		}
	})
	return n, ok
}
