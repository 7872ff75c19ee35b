package forward

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/framelog/framelog/internal/secrets"
	"github.com/framelog/framelog/schemas"
)

// target is the server that cameras are pushed to.
type target struct {
	scheme   string // rtsp, rtsps, rtmp, rtmps
	rest     string // of the URL behind the scheme
	udp      bool
	insecure bool
}

const placeholder = "{camera}"

func newTarget(s Settings) (target, error) {
	scheme, rest, _ := strings.Cut(s.URL, "://")
	t := target{scheme: strings.ToLower(scheme), rest: rest, udp: s.Transport == "udp", insecure: s.InsecureTLS}
	switch {
	case !slices.Contains([]string{"rtsp", "rtsps", "rtmp", "rtmps"}, t.scheme):
		return target{}, errors.New("url: want a URL that begins with rtsp://, rtsps://, rtmp:// or rtmps://")
	case s.Transport != "" && s.Transport != "tcp" && !t.udp:
		return target{}, fmt.Errorf("transport: %q is neither tcp nor udp", s.Transport)
	case t.udp && t.scheme != "rtsp":
		return target{}, errors.New("transport: only rtsp:// can use udp; remove it, or change the url")
	}
	cam, err := t.camera("camera")
	if err != nil {
		return target{}, err
	}
	if t.rtmp() {
		u, err := url.Parse(cam.URL)
		switch {
		case err != nil:
			return target{}, errors.New("url: it is malformed")
		case cam.User != "":
			return target{}, errors.New("url: RTMP has no user and password; write the key that the server gave you as the last part of the path")
		case strings.Trim(u.Path, "/") == "":
			return target{}, errors.New("url: RTMP needs a path, as in rtmp://host/live/{camera}")
		}
	}
	return t, nil
}

func (t target) rtmp() bool { return strings.HasPrefix(t.scheme, "rtmp") }

// camera returns the target of a camera as package secrets knows it. That package knows the
// schemes of cameras only, which differ in nothing else that matters here.
func (t target) camera(id string) (schemas.Camera, error) {
	cam := schemas.Camera{
		ID: id, Source: schemas.SourceFile,
		URL: strings.Replace(t.scheme, "rtmp", "rtsp", 1) + "://" + strings.ReplaceAll(t.rest, placeholder, id),
	}
	typed, err := secrets.Split(&cam, schemas.Camera{})
	if err == nil && len(typed) > 0 {
		err = errors.New("url: it has a password in plain text: put it into an environment variable FRAMELOG_SECRET_X of this process, and write ${FRAMELOG_SECRET_X} in its place")
	}
	return cam, err
}

// resolve returns the URL for a camera with the secrets in it.
func (t target) resolve(ctx context.Context, camera string) (*url.URL, error) {
	cam, err := t.camera(camera)
	if err != nil {
		return nil, err
	}
	u, err := secrets.Resolver{Cameras: []schemas.Camera{cam}}.Resolve(ctx, cam)
	if err != nil {
		return nil, err
	}
	u.Scheme = t.scheme
	return u, nil
}

// hide returns an error whose text has no secret in it: servers and libraries may repeat
// what they were sent.
func (t target) hide(err error) error {
	text := secrets.Redact(err.Error())
	os.Expand(t.rest, func(name string) string {
		v := os.Getenv(name)
		_, password, _ := strings.Cut(v, ":") // a secret may be user:password
		for _, s := range []string{v, password} {
			for _, form := range []string{s, url.PathEscape(s), url.QueryEscape(s)} {
				if form != "" {
					text = strings.ReplaceAll(text, form, "***")
				}
			}
		}
		return ""
	})
	return errors.New(text)
}

// takes reports whether the protocol can carry a track.
func (t target) takes(track schemas.Track) bool {
	switch track.Codec {
	case schemas.H264, schemas.H265, schemas.AAC:
		return true
	case schemas.MJPEG, schemas.Opus:
		return !t.rtmp()
	default:
		return false
	}
}

// dial connects for a camera (see forwarder).
func (t target) dial(ctx context.Context, camera string, tracks []schemas.Track, start int64) (connection, error) {
	if !slices.ContainsFunc(tracks, func(track schemas.Track) bool { return track.Codec.Video() }) {
		return nil, fmt.Errorf("%s:// carries no pictures of this camera's codec", t.scheme)
	}
	u, err := t.resolve(ctx, camera)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var c connection
	if t.rtmp() {
		c, err = t.dialRTMP(ctx, u, tracks, start)
	} else {
		c, err = t.dialRTSP(ctx, u, tracks, start)
	}
	// A dialer may see the deadline before ctx does.
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() || err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("the server was not ready within %v", connectTimeout)
	}
	return c, err
}

// dialTCP connects to host:port, with TLS if the scheme has it.
func (t target) dialTCP(ctx context.Context, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(sendBuffer) // without it more footage waits
	}
	if !strings.HasSuffix(t.scheme, "s") {
		return conn, nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	secure := tls.Client(conn, t.tls(host))
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secure, nil
}

func (t target) tls(host string) *tls.Config {
	return &tls.Config{ServerName: host, InsecureSkipVerify: t.insecure}
}
