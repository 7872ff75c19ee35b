package secrets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

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

// Resolve gives rawURL without its user info and with the secrets of its path
// and query put in, percent-encoded; and user and password as plain text. It
// reads the secrets anew at each call, so that one can be changed while cameras
// run. A reference that stands alone before the @ may hold "user:password". A
// literal user name is percent-decoded where it is encoded. An error names the
// reference, never a value. What Resolve gives is not to be shown: see Shown.
func (r Resolver) Resolve(ctx context.Context, rawURL string) (bare, user, password string, err error) {
	if err := ctx.Err(); err != nil {
		return "", "", "", err
	}
	c, err := split(rawURL)
	if err != nil {
		return "", "", "", fmt.Errorf("url: %w", err)
	}
	if c.user.ref == nil {
		user = plain(c.user.text)
	} else if user, err = r.value(*c.user.ref); err != nil {
		return "", "", "", err
	}
	if c.password.ref != nil {
		if password, err = r.value(*c.password.ref); err != nil {
			return "", "", "", err
		}
	} else if c.user.ref != nil {
		user, password, _ = strings.Cut(user, ":")
	}
	bare, err = c.bare(func(ref reference, query bool) (string, error) {
		v, err := r.value(ref)
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

func (r Resolver) value(ref reference) (string, error) {
	v, err := r.read(ref)
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

func (r Resolver) read(ref reference) (string, error) {
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
	// A root keeps links inside the directory: Kubernetes makes each file of a
	// mounted secret a link, and any other link has no business there.
	root, err := os.OpenRoot(r.Dir)
	if err != nil {
		return "", fmt.Errorf("open secrets directory: %w", cause(err))
	}
	defer root.Close()
	// Without O_NONBLOCK a named pipe would keep the caller for ever.
	f, err := root.OpenFile(ref.file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", cause(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return "", cause(err)
	} else if !info.Mode().IsRegular() {
		return "", errors.New("not a regular file")
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+3))
	if err != nil {
		return "", cause(err)
	}
	v := strings.TrimSuffix(string(b), "\n")
	return strings.TrimSuffix(v, "\r"), nil
}

// cause is err without its path: which file is told by the reference.
func cause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// Store keeps a camera's password in the file dir/id (mode 0600, in a
// directory of mode 0700 that it makes), at once or not at all. Resolve finds
// it as ${file:id}.
func Store(dir, id, password string) error {
	if err := schemas.ValidateCameraID(id); err != nil {
		return fmt.Errorf("secrets: store password: %w", err)
	}
	if password == "" || len(password) > maxSecret || strings.ContainsAny(password, "\x00\r\n") {
		return fmt.Errorf("secrets: store password of %s: want 1 to %d bytes on one line", id, maxSecret)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("secrets: make directory: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("secrets: close directory to others: %w", err)
	}
	f, err := os.CreateTemp(dir, ".new-*") // 0600
	if err != nil {
		return fmt.Errorf("secrets: store password of %s: %w", id, err)
	}
	defer os.Remove(f.Name()) // fails once it has its name, as it should
	_, err = f.WriteString(password)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("secrets: store password of %s: %w", id, err)
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, id)); err != nil {
		return fmt.Errorf("secrets: store password of %s: %w", id, err)
	}
	return nil
}

// Forget removes what Store has kept; there need be nothing.
func Forget(dir, id string) error {
	if err := schemas.ValidateCameraID(id); err != nil {
		return fmt.Errorf("secrets: forget password: %w", err)
	}
	if err := os.Remove(filepath.Join(dir, id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("secrets: forget password of %s: %w", id, err)
	}
	return nil
}
