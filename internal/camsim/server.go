// Package camsim simulates RTSP cameras, for the demo, for replays to other software
// and for tests. A [Server] serves cameras. A camera sends a [Clip], whose bytes are
// known, a [Live] picture, or a [Stream]. Methods of a running [Camera] turn faults on and off; [Camera.Sent]
// returns what was sent.
package camsim

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/auth"
)

// Auth is the method of authentication for cameras with a user.
type Auth int

// The methods of authentication (RFC 7617, RFC 7616 with MD5).
const (
	AuthDigest Auth = iota
	AuthBasic
)

// Config is the settings of a server.
type Config struct {
	// Listen is the address of the RTSP port. It defaults to 127.0.0.1:0.
	Listen string
	// Cameras must have different paths.
	Cameras []CameraConfig
	// Auth is for cameras with a user. It defaults to Digest.
	Auth Auth
	// TLS serves rtsps with a self-signed certificate that is made at the start.
	// Media is interleaved in the TLS connection.
	TLS bool
	// NoUDP offers only interleaved TCP; so does TLS.
	NoUDP bool
	// Queue is how many packets may wait for one client, a power of two. Packets
	// beyond it are dropped for that client and counted in [Camera.Overflows]. It
	// defaults to 2048.
	Queue int
	// Log may be nil. Passwords never reach it.
	Log *slog.Logger
}

// Server is a running RTSP server with its cameras.
type Server struct {
	cfg     Config
	log     *slog.Logger
	rtsp    *gortsplib.Server
	ln      *listener
	cameras map[string]*Camera
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	close   sync.Once
}

// Start begins to serve. ctx ends the cameras' feeds; Close frees the ports.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if cfg.Queue == 0 {
		cfg.Queue = 2048
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, log: cfg.Log, cameras: map[string]*Camera{}}
	var tc *tls.Config
	if cfg.TLS {
		var err error
		if tc, err = selfSigned(); err != nil {
			return nil, fmt.Errorf("camsim: make certificate: %w", err)
		}
	}
	ln, err := listen(ctx, cfg.Listen, tc)
	if err != nil {
		return nil, fmt.Errorf("camsim: listen: %w", err)
	}
	s.ln = ln
	if err := s.serve(ctx); err != nil {
		ln.Close()
		return nil, err
	}
	ctx, s.cancel = context.WithCancel(ctx)
	for _, cc := range cfg.Cameras {
		c, err := newCamera(s, cc)
		if err == nil && s.cameras[c.cfg.Path] != nil {
			err = fmt.Errorf("camsim: two cameras at %q", cc.Path)
		}
		if err != nil {
			s.Close()
			return nil, err
		}
		s.cameras[c.cfg.Path] = c
	}
	for _, c := range s.cameras {
		s.wg.Go(func() { c.run(ctx) })
	}
	ln.open()
	return s, nil
}

// serve starts the protocol over the listener, with a free pair of UDP ports.
func (s *Server) serve(ctx context.Context) error {
	method := auth.VerifyMethodDigestMD5
	if s.cfg.Auth == AuthBasic {
		method = auth.VerifyMethodBasic
	}
	host, _, err := net.SplitHostPort(s.ln.addr.String())
	if err != nil {
		return fmt.Errorf("camsim: listen: %w", err)
	}
	for try := 0; ; try++ {
		s.rtsp = &gortsplib.Server{
			Handler:                  &handler{s},
			RTSPAddress:              s.ln.addr.String(),
			Listen:                   func(string, string) (net.Listener, error) { return s.ln, nil },
			AuthMethods:              []auth.VerifyMethod{method},
			WriteQueueSize:           s.cfg.Queue,
			DisableRTCPSenderReports: true, // a camera sends its own, as its configuration says
		}
		if !s.cfg.NoUDP && !s.cfg.TLS {
			port, err := evenPort(ctx, host)
			if err != nil {
				return fmt.Errorf("camsim: find UDP ports: %w", err)
			}
			s.rtsp.UDPRTPAddress = net.JoinHostPort(host, fmt.Sprint(port))
			s.rtsp.UDPRTCPAddress = net.JoinHostPort(host, fmt.Sprint(port+1))
		}
		// The pair may be taken between finding and binding: try others.
		if err = s.rtsp.Start(); err == nil {
			return nil
		} else if try == 50 {
			return fmt.Errorf("camsim: start server: %w", err)
		}
	}
}

// evenPort is a UDP port that was free a moment ago, and even.
func evenPort(ctx context.Context, host string) (int, error) {
	var lc net.ListenConfig
	for {
		c, err := lc.ListenPacket(ctx, "udp", net.JoinHostPort(host, "0"))
		if err != nil {
			return 0, err
		}
		port := c.LocalAddr().(*net.UDPAddr).Port
		c.Close()
		if port%2 == 0 && port < 65535 {
			return port, nil
		}
	}
}

// Addr returns the address of the RTSP port.
func (s *Server) Addr() string { return s.ln.addr.String() }

// Camera returns the camera at path, or nil.
func (s *Server) Camera(path string) *Camera { return s.cameras[strings.Trim(path, "/")] }

// URL returns the URL of the camera at path, without user and password.
func (s *Server) URL(path string) string {
	u := url.URL{Scheme: "rtsp", Host: s.Addr(), Path: "/" + strings.Trim(path, "/")}
	if s.cfg.TLS {
		u.Scheme = "rtsps"
	}
	return u.String()
}

// LoginURL returns URL with the camera's user and password.
func (s *Server) LoginURL(path string) string {
	c := s.Camera(path)
	u, err := url.Parse(s.URL(path))
	if err != nil || c == nil || c.cfg.User == "" {
		return s.URL(path)
	}
	u.User = url.UserPassword(c.cfg.User, c.cfg.Password)
	return u.String()
}

// Down stops listening: connections are refused until Up. Existing connections
// stay.
func (s *Server) Down() { s.ln.down() }

// Up listens again on the same port.
func (s *Server) Up() error { return s.ln.up() }

// Close ends all connections and cameras and waits for them.
func (s *Server) Close() {
	s.close.Do(func() {
		if s.cancel != nil {
			s.cancel()
		}
		s.wg.Wait()
		for _, c := range s.cameras {
			c.shut()
		}
		s.rtsp.Close()
	})
}

func selfSigned() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		DNSNames:     []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}, nil
}

var errRefused = errors.New("camsim: camera refuses")
