package rtsp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// peer is the kind of program that answers at a camera's address.
type peer int

const (
	peerSilent peer = iota // it takes the connection and sends nothing
	peerCloses             // it ends the connection without an answer
	peerOther              // it answers with an unknown protocol
	peerRTSP               // RTSP without TLS
	peerRTSPS              // RTSP inside TLS
	peerHTTP               // a web server; also a camera's pages and ONVIF
	peerHTTPS              // the same inside TLS
	peerSSH
	peerTLS       // TLS with an unknown protocol inside
	peerFailedTLS // TLS, but the handshake with us fails
)

// prober finds out what answers at an address. It makes its own short connections
// and sends no credentials and no path, only one OPTIONS request and a TLS
// ClientHello.
type prober struct {
	host, port string
	step       time.Duration // limit of each connection, and of each answer
}

// options is the request of RFC 2326, 10.1, that names no stream.
const options = "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: Framelog\r\n\r\n"

// headBytes is how many bytes of an answer are read.
const headBytes = 8

// find first tries the URL's scheme (with or without TLS), and then the other
// way. An error means that there was no connection.
func (p prober) find(ctx context.Context, secure bool) (peer, error) {
	ways := []func(context.Context) (peer, error){p.tryPlain, p.tryTLS}
	if secure {
		ways[0], ways[1] = ways[1], ways[0]
	}
	found := peerSilent
	for i, way := range ways {
		got, err := way(ctx)
		switch {
		case err != nil && i == 0:
			return found, err
		case err != nil:
			return found, nil // the address accepted one connection but not the second
		}
		// A known answer ends the search. A TLS alert as answer to plain RTSP only
		// means that TLS must be tried.
		if got != peerSilent && got != peerCloses && got != peerOther && (got != peerTLS || i > 0 || secure) {
			return got, nil
		}
		found = max(found, got)
	}
	return found, nil
}

// tryPlain tries RTSP without TLS.
func (p prober) tryPlain(ctx context.Context) (peer, error) {
	return p.talk(ctx, func(c *headConn) peer { return c.ask([]byte(options)) })
}

// tryTLS tries TLS with RTSP inside. It accepts any certificate, since it sends no
// secret.
func (p prober) tryTLS(ctx context.Context) (peer, error) {
	return p.talk(ctx, func(c *headConn) peer {
		t := tls.Client(c, &tls.Config{ServerName: p.host, InsecureSkipVerify: true, MinVersion: tls.VersionTLS10}) //nolint:gosec // see above
		err := t.HandshakeContext(ctx)
		if err != nil {
			if got := c.answer(err); got != peerTLS {
				return got
			}
			return peerFailedTLS
		}
		inner := &headConn{Conn: t}
		switch inner.ask([]byte(options)) {
		case peerRTSP:
			return peerRTSPS
		case peerHTTP:
			return peerHTTPS
		case peerSilent, peerCloses, peerOther, peerRTSPS, peerHTTPS, peerSSH, peerTLS, peerFailedTLS:
		}
		return peerTLS
	})
}

// talk makes one connection and calls f with it. The connection ends when f
// returns, when the limit has passed, or when ctx ends.
func (p prober) talk(ctx context.Context, f func(c *headConn) peer) (peer, error) {
	d := net.Dialer{Timeout: p.step}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(p.host, p.port))
	if err != nil {
		return peerSilent, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := conn.SetDeadline(time.Now().Add(p.step)); err != nil {
		return peerSilent, err
	}
	return f(&headConn{Conn: conn}), nil
}

// headConn stores the first bytes that come.
type headConn struct {
	net.Conn
	head []byte
}

func (c *headConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if room := headBytes - len(c.head); room > 0 {
		c.head = append(c.head, b[:min(n, room)]...)
	}
	return n, err
}

// ask sends a request and reads the beginning of the answer.
func (c *headConn) ask(request []byte) peer {
	_, err := c.Write(request) // a greeting may be there although this fails
	b := make([]byte, headBytes)
	for len(c.head) < headBytes {
		if _, err = c.Read(b); err != nil {
			break
		}
	}
	return c.answer(err)
}

// answer returns the peer whose answer begins with the read bytes. err is the error
// that ended the read.
func (c *headConn) answer(err error) peer {
	h := c.head
	starts := func(s string) bool { return bytes.HasPrefix(h, []byte(s)) }
	var timeout net.Error
	switch {
	case starts("RTSP/"):
		return peerRTSP
	case starts("HTTP/"), starts("<"): // some web servers answer an invalid request with a page without a header
		return peerHTTP
	case starts("SSH-"):
		return peerSSH
	case len(h) > 1 && (h[0] == 0x15 || h[0] == 0x16) && h[1] == 3: // an alert or a handshake, version 3.x
		return peerTLS
	case len(h) > 0:
		return peerOther
	case errors.As(err, &timeout) && timeout.Timeout():
		return peerSilent
	}
	return peerCloses
}

// found is the result of a source's last probe.
type found struct {
	addr   string
	secure bool
	peer   peer
	at     time.Time
}

// diagnose finds out why there is no stream, since the engines do not report it:
// it makes its own connections to see what answers. It keeps an answer for
// ProbeEvery, so that a camera gets few connections. If nothing answers, it tries
// each time.
func (s *source) diagnose(ctx context.Context, e *Error, u *url.URL) {
	p := prober{host: u.Hostname(), port: port(u), step: min(s.cfg.ConnectTimeout, probeStep)}
	now := found{addr: net.JoinHostPort(p.host, p.port), secure: u.Scheme == "rtsps", at: time.Now()}
	if f := s.found; f.addr == now.addr && f.secure == now.secure && now.at.Sub(f.at) < s.cfg.ProbeEvery {
		e.wrongPeer(f)
		return
	}
	var err error
	if now.peer, err = p.find(ctx, now.secure); err != nil {
		e.noPeer(err, p.host, now.addr)
		return
	}
	s.found = now
	e.wrongPeer(now)
}

// port returns the camera's port: that of the scheme if its URL has none (RFC
// 7826 section 4.2).
func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "rtsps":
		return "322"
	}
	return "554"
}

// probeStep bounds each connection of a probe.
const probeStep = 2 * time.Second

// noPeer fills in why there is no connection.
func (e *Error) noPeer(err error, host, addr string) {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && !dns.IsNotFound:
		e.Cause, e.Remedy = "the host name "+host+" could not be looked up", "look at this host's DNS settings and the network, or write the address into the camera's URL"
	case errors.As(err, &dns):
		e.Cause, e.Remedy = "the host name "+host+" is not known", "check the host in the camera's URL"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Cause, e.Remedy = "nothing listens at "+addr, "check the port in the camera's URL, and that RTSP is switched on in the camera"
	case errors.Is(err, syscall.ENETUNREACH):
		e.Cause, e.Remedy = "there is no way to the network of "+host, "check the address in the camera's URL and the network"
	case errors.Is(err, syscall.EHOSTUNREACH):
		e.Cause, e.Remedy = host+" cannot be reached", checkOn
	default:
		e.Cause, e.Remedy = "no answer from "+addr+" in time", checkOn
	}
}

const (
	checkOn   = "check that the camera is on and that its address and port are right"
	checkPort = "check host and port in the camera's URL: RTSP is mostly at port 554"
	again     = "if it comes again and again, restart the camera or update its firmware"
	restart   = "close other connections to the camera, or restart it"
)

// wrongPeer fills in what answers instead of a camera as in the URL. If such a
// camera answers, the text of the engine's error stays.
func (e *Error) wrongPeer(f found) {
	checkPort := checkPort
	if strings.HasSuffix(f.addr, ":1935") {
		checkPort += ", and 1935 is for RTMP, another protocol"
	}
	switch f.peer {
	case peerSilent:
		e.Cause, e.Remedy = f.addr+" takes the connection and does not answer", checkPort+", or restart the camera"
	case peerCloses:
		e.Cause, e.Remedy = f.addr+" ends the connection without an answer", checkPort+", or close other connections to the camera"
	case peerOther:
		e.Cause, e.Remedy = f.addr+" answers, but not with RTSP", checkPort
	case peerRTSP:
		if f.secure {
			e.Cause, e.Remedy = f.addr+" answers with RTSP, but without TLS", "write rtsp:// for rtsps:// in the camera's URL, or the camera's port for TLS"
		}
	case peerRTSPS:
		if !f.secure {
			e.Cause, e.Remedy = f.addr+" answers with TLS alone", "write rtsps:// for rtsp:// in the camera's URL, or the camera's port without TLS"
		}
	case peerHTTP, peerHTTPS:
		e.Cause = "a web server answers at " + f.addr + ", not RTSP"
		e.Remedy = "write the camera's port for RTSP into its URL, mostly 554: this one is for its pages or for ONVIF"
	case peerSSH:
		e.Cause, e.Remedy = "an SSH server answers at "+f.addr+", not a camera", checkPort
	case peerTLS:
		e.Cause, e.Remedy = "a TLS server answers at "+f.addr+", but not with RTSP", checkPort
	case peerFailedTLS:
		e.Cause = f.addr + " answers with TLS, but agrees on no version or cipher"
		e.Remedy = "update the camera's firmware, or use its port without TLS (rtsp://)"
	}
}
