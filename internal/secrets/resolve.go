package secrets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/framelog/framelog/schemas"
)

// maxSecret is the bytes of the largest secret.
const maxSecret = 4096

// Resolver puts secrets in the place of references. The zero Resolver knows
// the environment and no files.
type Resolver struct {
	// Dir holds the files of ${file:NAME}. Empty: there are none.
	Dir string
	// LookupEnv finds environment variables. Default os.LookupEnv.
	LookupEnv func(string) (string, bool)
}

// Resolve gives cam's URL without its user info and with the secrets of its path
// and query put in, percent-encoded; and user and password as plain text. It
// reads the secrets anew at each call, so that one can be changed while cameras
// run. A reference that stands alone before the @ may hold "user:password". A
// literal user name is percent-decoded where it is encoded. A camera that is not
// of a configuration file gets what CheckAPI lets it refer to, and only where
// that is for its host and port, and its TLS: see Store. An error names the reference, never
// a value. What Resolve gives is not to be shown: see Shown.
func (r Resolver) Resolve(ctx context.Context, cam schemas.Camera) (bare, user, password string, err error) {
	if err := ctx.Err(); err != nil {
		return "", "", "", err
	}
	c, err := split(cam.URL)
	if err != nil {
		return "", "", "", fmt.Errorf("url: %w", err)
	}
	to, err := boundTo(cam)
	if err != nil {
		return "", "", "", err
	}
	if c.user.ref == nil {
		user = plain(c.user.text)
	} else if user, err = r.value(*c.user.ref, to); err != nil {
		return "", "", "", err
	}
	if c.password.ref != nil {
		if password, err = r.value(*c.password.ref, to); err != nil {
			return "", "", "", err
		}
	} else if c.user.ref != nil {
		user, password, _ = strings.Cut(user, ":")
	}
	bare, err = c.bare(func(ref reference, query bool) (string, error) {
		v, err := r.value(ref, to)
		return escape(v, query), err
	})
	if err != nil {
		return "", "", "", err
	}
	return bare, user, password, nil
}

// escape is v as one value of a path or of a query (RFC 3986 section 3.3): it
// ends none, and begins none. As little as possible is encoded, since not all
// cameras undo it; a + in a query is, since many take it for a space.
func escape(v string, query bool) string {
	var b strings.Builder
	for i := range len(v) {
		c := v[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9',
			strings.IndexByte("-._~!$'()*,=", c) >= 0, c == '+' && !query:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// CheckHost says whether cam would get its secrets: they are there, and for its
// host and port, and its TLS.
func (r Resolver) CheckHost(cam schemas.Camera) error {
	c, err := split(cam.URL)
	if err != nil {
		return fmt.Errorf("url: %w", err)
	}
	to, err := boundTo(cam)
	if err != nil {
		return err
	}
	for _, ref := range c.refs() {
		if _, err := r.value(ref, to); err != nil {
			return err
		}
	}
	return nil
}

// boundTo is what cam's secrets must be for; zero where they may go anywhere,
// since who writes configuration files reads secrets too.
func boundTo(cam schemas.Camera) (aim, error) {
	if cam.Source == schemas.SourceFile {
		return aim{}, nil
	}
	if err := CheckAPI(cam.ID, cam.URL); err != nil {
		return aim{}, err
	}
	return aimOf(cam)
}

// value is a secret that goes to where to says.
func (r Resolver) value(ref reference, to aim) (string, error) {
	v, err := r.read(ref, to)
	if err != nil {
		return "", fmt.Errorf("secret %v: %w", ref, err)
	}
	switch {
	case v == "":
		return "", fmt.Errorf("secret %v is empty", ref)
	case len(v) > maxSecret:
		return "", fmt.Errorf("secret %v is longer than %d bytes", ref, maxSecret)
	case strings.ContainsAny(v, "\x00\r\n"):
		return "", fmt.Errorf("secret %v has more than one line", ref)
	}
	return v, nil
}

func (r Resolver) read(ref reference, to aim) (string, error) {
	if ref.file == "" {
		lookup := r.LookupEnv
		if lookup == nil {
			lookup = os.LookupEnv
		}
		v, ok := lookup(ref.env)
		if !ok {
			return "", errors.New("this environment variable is not set for ingest")
		}
		return v, nil
	}
	if r.Dir == "" {
		return "", errors.New("no secrets directory is configured")
	}
	f, err := readFile(r.Dir, ref.file)
	if err != nil {
		return "", err
	}
	switch {
	case to == aim{}, to.site == f.aim.site && to.guard >= f.aim.guard:
		return f.secret, nil
	case f.aim == aim{}:
		return "", fmt.Errorf("its file is not for cameras of the API, whose callers could send it anywhere: write \"for %s\" in a line above the secret, or give the password to the API", to)
	case to.site == f.aim.site && to.guard == encrypted:
		return "", errors.New("it is for rtsps with a certificate that is checked: give the password anew, or leave insecure_tls out")
	case to.site == f.aim.site:
		return "", errors.New("it is for rtsps, and rtsp shows it on its way: give the password anew, or stay with rtsps")
	}
	return "", fmt.Errorf("it is not for %s, but for another host or port: give the password anew", to.site)
}

// cause is err without its path: which file is told by the reference.
func cause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}
