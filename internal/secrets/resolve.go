package secrets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/framelog/framelog/schemas"
)

// Limits of a secret and of a file of secrets, in bytes.
const (
	maxSecret = 4096
	maxFile   = 16 * maxSecret
)

// Resolver replaces references by secrets. The zero Resolver has no secrets.
//
// A process that can write a record may name any host in it. So a secret goes
// only to a host and port that a file of this machine names for it, and with no
// less TLS. That file is the file of the secret, or this machine's configuration
// file, with a camera that refers to the secret.
type Resolver struct {
	// Dir holds the files of ${file:NAME}. Empty: there are none.
	Dir string
	// LookupEnv finds environment variables. Default os.LookupEnv.
	LookupEnv func(string) (string, bool)
	// Cameras are the cameras of this machine's configuration file.
	Cameras []schemas.Camera
}

// Resolve returns the URL of cam with user, password and the secrets of path and
// query in it. cam has one stream (schemas.Camera.Streams). It reads the secrets at each call, so that a person can change one
// while cameras run. The secret of User may be "user:password" if there is no
// Password. An error names the reference, never a value. Do not show the URL: see
// Shown.
func (r Resolver) Resolve(ctx context.Context, cam schemas.Camera) (*url.URL, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := Check(cam); err != nil {
		return nil, err
	}
	values := make(map[string]string)
	for _, ref := range references(cam) {
		v, err := r.value(ref, cam)
		if err != nil {
			return nil, fmt.Errorf("secret %s: %w", ref, err)
		}
		values[ref] = v
	}
	u, err := url.Parse(fill(cam.URL, values))
	if err != nil {
		return nil, errHost // it quotes its input
	}
	user, password := cam.User, values[cam.Password]
	if secret, ok := values[user]; ok {
		user = secret
		if cam.Password == "" {
			user, password, _ = strings.Cut(secret, ":")
		}
	}
	switch {
	case password != "":
		u.User = url.UserPassword(user, password)
	case user != "":
		u.User = url.User(user)
	}
	return u, nil
}

// fill puts the values of references into path and query.
func fill(rawURL string, values map[string]string) string {
	var b strings.Builder
	at := 0
	for _, m := range reference.FindAllStringIndex(rawURL, -1) {
		b.WriteString(rawURL[at:m[0]])
		b.WriteString(escape(values[rawURL[m[0]:m[1]]], strings.Contains(rawURL[:m[0]], "?")))
		at = m[1]
	}
	return b.String() + rawURL[at:]
}

// escape encodes v as one value of a path or of a query (RFC 3986 section 3.3).
// It encodes as little as possible, since not all cameras decode it. It encodes
// + in a query, since many cameras take it for a space.
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

// value returns the secret of a reference, for cam.
func (r Resolver) value(ref string, cam schemas.Camera) (string, error) {
	v, err := r.read(ref, cam)
	if err != nil {
		return "", err
	}
	return checked(v)
}

// checked returns a secret, or what is wrong with it.
func checked(v string) (string, error) {
	switch {
	case v == "":
		return "", errors.New("it is empty")
	case len(v) > maxSecret:
		return "", fmt.Errorf("it is longer than %d bytes", maxSecret)
	case strings.ContainsAny(v, "\x00\r\n"):
		return "", errors.New("it has more than one line")
	}
	return v, nil
}

func (r Resolver) read(ref string, cam schemas.Camera) (string, error) {
	allowed := targets(cam)
	local := slices.ContainsFunc(r.Cameras, func(c schemas.Camera) bool {
		return slices.ContainsFunc(c.Streams(), func(s schemas.Camera) bool {
			return slices.Contains(references(s), ref) && slices.Contains(allowed, targets(s)[0])
		})
	})
	name, isFile := strings.CutPrefix(strings.Trim(ref, "${}"), "file:")
	if !isFile {
		if !local {
			return "", fmt.Errorf("no camera in the configuration file of this ingest process has it for %s: "+
				"add this camera to that file, or keep the secret in a file of secrets_dir below a line \"for %[1]s\"", allowed[0])
		}
		lookup := r.LookupEnv
		if lookup == nil {
			lookup = os.LookupEnv
		}
		v, ok := lookup(name)
		if !ok {
			return "", errors.New("this environment variable is not set in this process")
		}
		return v, nil
	}
	if r.Dir == "" {
		return "", errors.New("no secrets directory is configured")
	}
	text, err := readText(r.Dir, name)
	if err != nil {
		return "", err
	}
	entries := parseFile(text)
	e := entries[choose(entries, cam)]
	switch {
	case local || slices.Contains(allowed, e.target):
		return e.secret, nil
	case e.target == "":
		return "", fmt.Errorf("nothing on this machine says that it is for %s: write \"for %[1]s\" in a line above the secret, "+
			"or enter the password again, or, for a camera of a configuration file, add it to the file of this ingest process", allowed[0])
	}
	return "", fmt.Errorf("it is not for %s, but for another host or port, or for more TLS: enter the password again", allowed[0])
}

// cause returns err without its path: the reference names the file.
func cause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}
