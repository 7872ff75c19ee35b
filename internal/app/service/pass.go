package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// passing bounds the time in which a connection goes from one process to another.
const passing = 2 * time.Second

// maxPassed is more than the request has that a connection begins with (see [ServeHTTP]), and
// what the client has sent behind it.
const maxPassed = 256 << 10

// Passer gives connections to the process that runs [ServePassed] on a Unix socket.
type Passer struct {
	socket string
	lost   lost
}

// NewPasser makes a Passer for a socket.
func NewPasser(socket string, log *slog.Logger) *Passer { return &Passer{socket, lost{log: log}} }

// Pass gives the connection of a WebSocket's request to the other process. That process answers
// the request, and no proxy copies what it sends.
// If the connection cannot be passed, Pass returns false and nothing has happened to the
// request: it is none of a WebSocket, it came over TLS or HTTP/2, or the process is away.
func (p *Passer) Pass(w http.ResponseWriter, r *http.Request) bool {
	if r.TLS != nil || r.ProtoMajor != 1 || r.Body != http.NoBody || !upgrades(r) {
		return false
	}
	d := net.Dialer{Timeout: passing}
	to, err := d.DialContext(r.Context(), "unix", p.socket)
	if err != nil {
		return false
	}
	defer to.Close()
	_ = to.SetDeadline(time.Now().Add(passing))
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return false
	}
	// The other process has its own descriptor. If it has not, the client connects again.
	defer conn.Close()
	head := requestHead(r)
	early, _ := rw.Peek(rw.Reader.Buffered()) // what the client sent behind the request
	if err := send(to.(*net.UnixConn), conn, append(head, early...)); err != nil {
		p.lost.tell(err)
	}
	return true
}

// lost logs that connections did not get to the other process, at most once a minute.
type lost struct {
	log *slog.Logger

	mu    sync.Mutex
	count int       // since the last line
	next  time.Time // line
}

func (l *lost) tell(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	if now := time.Now(); now.After(l.next) {
		l.log.Warn("connections of WebSockets did not get to the process that answers them; the clients connect again", "failed", l.count, "error", err, "remedy", remedy(err))
		l.count, l.next = 0, now.Add(time.Minute)
	}
}

func remedy(err error) string {
	switch {
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, errNoDescriptor):
		return "let the process open more files (LimitNOFILE in systemd, ulimit -n), or lower egress.live_connections"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "give the machine more CPU: one of the processes did not get to its work in time"
	}
	return "look into the logs for what has ended one of the processes"
}

// upgrades reports whether a request is one of a WebSocket (RFC 6455, 4.2.1).
func upgrades(r *http.Request) bool {
	tokens := strings.Split(strings.Join(r.Header["Connection"], ","), ",")
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket") &&
		slices.ContainsFunc(tokens, func(t string) bool { return strings.EqualFold(strings.TrimSpace(t), "upgrade") })
}

// requestHead returns a request without a body as it came.
func requestHead(r *http.Request) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, r.RequestURI, r.Host)
	_ = r.Header.Write(&b) // a buffer takes everything
	b.WriteString("\r\n")
	return b.Bytes()
}

// send sends a connection, and the bytes that have been read from it.
func send(to *net.UnixConn, conn net.Conn, read []byte) error {
	socket, ok := conn.(syscall.Conn) // a *net.TCPConn, or one of WithProgress
	if _, plain := conn.RemoteAddr().(*net.TCPAddr); !plain || !ok {
		return errNotPassed
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	n := 0
	bad := raw.Control(func(fd uintptr) {
		n, _, err = to.WriteMsgUnix(read, unix.UnixRights(int(fd)), nil)
	})
	if err = errors.Join(bad, err); err != nil {
		return err
	}
	_, err = to.Write(read[n:])
	return err
}

// ServePassed answers the requests of connections that a [Passer] gives it on ln, which listens on
// a Unix socket, until ctx ends. A connection ends with the answer, unless a handler takes it
// over: the process that has passed it decides who gets the next request. The address
// of the client is that of the connection.
func ServePassed(ctx context.Context, ln net.Listener, h http.Handler, log *slog.Logger) error {
	srv := newServer(h, log)
	srv.SetKeepAlivesEnabled(false) // a handler cannot change this, as it could a header
	return serveHTTP(ctx, &passed{ln, lost{log: log}}, srv, 0)
}

// passed is a listener whose connections come from another process.
type passed struct {
	net.Listener
	lost lost
}

func (l *passed) Accept() (net.Conn, error) {
	for {
		from, err := l.Listener.Accept()
		if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
			l.lost.tell(err) // the server tries again, and meanwhile clients wait
		}
		if err != nil {
			return nil, err
		}
		conn, err := receive(from.(*net.UnixConn))
		_ = from.Close()
		if err == nil {
			return conn, nil
		}
		l.lost.tell(err)
	}
}

// receive takes a connection, and what has been read from it.
func receive(from *net.UnixConn) (net.Conn, error) {
	_ = from.SetDeadline(time.Now().Add(passing))
	read, oob := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(4)) // of one descriptor
	n, oobn, flags, _, err := from.ReadMsgUnix(read, oob)
	if err != nil {
		return nil, fmt.Errorf("service: receive a connection: %w", err)
	}
	if oobn == 0 && flags&unix.MSG_CTRUNC != 0 {
		return nil, errNoDescriptor
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 {
		return nil, errNotPassed
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, errNotPassed
	}
	f := os.NewFile(uintptr(fds[0]), "passed connection")
	defer f.Close() // FileConn has its own
	rest, err := io.ReadAll(io.LimitReader(from, maxPassed))
	if err != nil {
		return nil, fmt.Errorf("service: receive a request: %w", err)
	}
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("service: receive a connection: %w", err)
	}
	plain, ok := conn.(*net.TCPConn)
	if !ok {
		_ = conn.Close()
		return nil, errNotPassed
	}
	return &begun{TCPConn: plain, read: bytes.NewReader(slices.Concat(read[:n], rest))}, nil
}

var (
	errNotPassed    = errors.New("service: another process passed no connection over TCP")
	errNoDescriptor = errors.New("service: receive a connection: this process has no file descriptor left for it")
)

// begun is a connection of which something has been read already.
type begun struct {
	*net.TCPConn
	read *bytes.Reader
}

func (c *begun) Read(p []byte) (int, error) {
	if c.read.Len() > 0 {
		return c.read.Read(p)
	}
	return c.TCPConn.Read(p)
}

// WriteTo is here so that nobody reads past what has been read already.
func (c *begun) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, struct{ io.Reader }{c}) }

// PassedSocket is where a child of up gets passed connections, beside its socket for requests.
func PassedSocket(socket string) string { return strings.TrimSuffix(socket, ".sock") + ".pass" }
