package secrets

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/framelog/framelog/schemas"
)

// ErrHandMade says that a file of the secrets directory is not one of Store's,
// and was left as it is.
var ErrHandMade = errors.New("the file was not written by Framelog")

// purpose is the line above a secret that says where it may go, and whether Store
// has written it. A secret of one line has none.
var purpose = regexp.MustCompile(`^for (insecure rtsps://|rtsps://)?(\S{1,300}:[0-9]{1,5})(, kept by Framelog)?$`)

// file is a file of the secrets directory taken apart.
type file struct {
	aim    aim  // where the secret may go; zero where that is not said
	ours   bool // Store has written it
	secret string
}

// aim is where a secret goes, or may go: a host and port, and how well it is
// guarded on its way, or has to be at least. The zero aim is anywhere.
type aim struct {
	site  string // host:port
	guard guard
}

type guard int

const (
	unguarded guard = iota // rtsp: whoever is in between reads what is sent
	encrypted              // rtsps with any certificate: it may go to anybody
	verified               // rtsps
)

var guardNames = [...]string{unguarded: "", encrypted: "insecure rtsps://", verified: "rtsps://"}

// String is the aim as it stands in a purpose.
func (a aim) String() string { return guardNames[a.guard] + a.site }

// aimOf is where the secrets of a camera go.
func aimOf(cam schemas.Camera) (aim, error) {
	site, err := Site(cam.URL)
	if err != nil {
		return aim{}, err
	}
	scheme, _, _ := cutScheme(cam.URL) // Site has seen it
	switch {
	case scheme != "rtsps":
		return aim{site, unguarded}, nil
	case cam.InsecureTLS:
		return aim{site, encrypted}, nil
	}
	return aim{site, verified}, nil
}

// parseFile reads "SECRET" or "for HOST:PORT\nSECRET". What a secret may hold is
// checked where it is used.
func parseFile(text string) file {
	text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	first, rest, _ := strings.Cut(text, "\n")
	m := purpose.FindStringSubmatch(strings.TrimSuffix(first, "\r"))
	if m == nil || rest == "" {
		return file{secret: text}
	}
	to := aim{strings.ToLower(m[2]), guard(slices.Index(guardNames[:], m[1]))}
	return file{aim: to, ours: m[3] != "", secret: rest}
}

// readFile reads a file of the secrets directory. Its errors hold no path.
func readFile(dir, name string) (file, error) {
	text, err := readText(dir, name)
	if err != nil {
		return file{}, err
	}
	return parseFile(text), nil
}

func readText(dir, name string) (string, error) {
	// A root keeps links inside the directory: Kubernetes makes each file of a
	// mounted secret a link, and any other link has no business there.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", fmt.Errorf("open secrets directory: %w", cause(err))
	}
	defer root.Close()
	// Without O_NONBLOCK a named pipe would keep the caller for ever.
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", cause(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return "", cause(err)
	} else if !info.Mode().IsRegular() {
		return "", errors.New("not a regular file")
	}
	b, err := io.ReadAll(io.LimitReader(f, 2*maxSecret)) // with its purpose, and more than is taken
	if err != nil {
		return "", cause(err)
	}
	return string(b), nil
}

// Store keeps the password of a camera in the file dir/id (mode 0600, in a
// directory of mode 0700 that it makes), at once or not at all, for the host and
// port of the camera's URL alone, and for no less than its TLS: where it is rtsps
// not for rtsp, and where it is without InsecureTLS not with it. Resolve finds it
// as ${file:id}. A file that Store has not written stays as it is, and the error
// is ErrHandMade. undo brings back what was there before, if that is wanted and
// nobody has stored another password meanwhile; there is no harm in not calling
// it.
func Store(dir string, cam schemas.Camera, password string) (undo func() error, err error) {
	id := cam.ID
	if err := schemas.ValidateCameraID(id); err != nil {
		return nil, fmt.Errorf("secrets: store password: %w", err)
	}
	if password == "" || len(password) > maxSecret || strings.ContainsAny(password, "\x00\r\n") {
		return nil, fmt.Errorf("secrets: store password of %s: want 1 to %d bytes on one line", id, maxSecret)
	}
	to, err := aimOf(cam)
	if err != nil {
		return nil, fmt.Errorf("secrets: store password of %s: %w", id, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("secrets: make directory: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("secrets: close directory to others: %w", err)
	}
	old, err := readText(dir, id)
	none := errors.Is(err, fs.ErrNotExist)
	if !none && (err != nil || !parseFile(old).ours) {
		return nil, fmt.Errorf("secrets: store password of %s: %w", id, ErrHandMade)
	}
	text := fmt.Sprintf("for %s, kept by Framelog\n%s\n", to, password)
	if err := writeText(dir, id, text); err != nil {
		return nil, fmt.Errorf("secrets: store password of %s: %w", id, err)
	}
	return func() error {
		if now, err := readText(dir, id); err != nil || now != text {
			return nil //nolint:nilerr // it is another's by now, or gone
		}
		put := func() error { return writeText(dir, id, old) }
		if none {
			put = func() error { return os.Remove(filepath.Join(dir, id)) }
		}
		if err := put(); err != nil {
			return fmt.Errorf("secrets: bring back password of %s: %w", id, err)
		}
		return nil
	}, nil
}

// writeText makes dir/name hold text (mode 0600), at once or not at all.
func writeText(dir, name, text string) error {
	f, err := os.CreateTemp(dir, ".new-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it has its name, as it should
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, name))
}

// Forget removes what Store has kept, and says whether there was something;
// other files stay.
func Forget(dir, id string) (bool, error) {
	if err := schemas.ValidateCameraID(id); err != nil {
		return false, fmt.Errorf("secrets: forget password: %w", err)
	}
	if have, err := readFile(dir, id); err != nil || !have.ours {
		return false, nil //nolint:nilerr // what cannot be read is not known to be Store's
	}
	if err := os.Remove(filepath.Join(dir, id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("secrets: forget password of %s: %w", id, err)
	}
	return true, nil
}

// ForgetUnused is Forget for those of ids whose file none of the cameras refers
// to any more, whatever has become of the camera of that id.
func ForgetUnused(dir string, ids []string, cameras map[string]schemas.Camera) error {
	var errs []error
	for _, id := range ids {
		if Refers(id, cameras) {
			continue
		}
		if _, err := Forget(dir, id); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Refers says whether one of the cameras refers to ${file:name}.
func Refers(name string, cameras map[string]schemas.Camera) bool {
	for _, c := range cameras {
		if strings.Contains(c.URL, reference{file: name}.String()) {
			return true
		}
	}
	return false
}
