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

// ErrHandMade means that Store did not write a file of the secrets directory,
// and that the file was not changed.
var ErrHandMade = errors.New("the file was not written by Framelog")

// targetLine is the line above a secret. It names the host to which the secret
// may go, and reports whether Store has written it.
var targetLine = regexp.MustCompile(`^for ((?:insecure rtsps://|rtsps://)?\S{1,300}:[0-9]{1,5})(, kept by Framelog)?$`)

// entry is one secret of a file.
type entry struct {
	target string // where the secret may go, as in targetLine; empty if the file does not say
	kept   bool   // Store has written it
	secret string
}

// targets returns the targets of the secrets that may go to a camera: its host
// and port, with at most as much TLS as the camera has. The first is the
// narrowest.
func targets(cam schemas.Camera) []string {
	s := site(cam.URL)
	all := []string{"rtsps://" + s, "insecure rtsps://" + s, s}
	scheme, _, _ := strings.Cut(cam.URL, "://")
	switch {
	case !schemes[strings.ToLower(scheme)].tls:
		return all[2:]
	case cam.InsecureTLS: // any certificate: the password may go to anybody
		return all[1:]
	}
	return all
}

// parseFile reads "SECRET", or "for HOST:PORT\nSECRET" once or several times. It
// returns at least one entry. The user of a secret checks its content.
func parseFile(text string) (entries []entry) {
	text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	for {
		first, rest, _ := strings.Cut(text, "\n")
		m := targetLine.FindStringSubmatch(strings.TrimSuffix(first, "\r"))
		if m == nil || rest == "" {
			break
		}
		e := entry{target: strings.ToLower(m[1]), kept: m[2] != ""}
		e.secret, text, _ = strings.Cut(rest, "\n")
		e.secret = strings.TrimSuffix(e.secret, "\r")
		entries = append(entries, e)
	}
	if text != "" || entries == nil {
		entries = append(entries, entry{secret: text})
	}
	return entries
}

// format writes entries of Store in the form that parseFile reads.
func format(entries []entry) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "for %s, kept by Framelog\n%s\n", e.target, e.secret)
	}
	return b.String()
}

// choose returns the index of the entry for a camera: the one with the
// narrowest target that allows the camera, else the first.
func choose(entries []entry, cam schemas.Camera) int {
	for _, a := range targets(cam) {
		if i := slices.IndexFunc(entries, func(e entry) bool { return e.target == a }); i >= 0 {
			return i
		}
	}
	return 0
}

// stored returns the passwords that Store has kept for camera id. Errors:
// fs.ErrNotExist if there is no file, ErrHandMade if the file may hold anything
// else.
func stored(dir, id string) (text string, entries []entry, err error) {
	if err := schemas.ValidateCameraID(id); err != nil {
		return "", nil, err
	}
	text, err = readText(dir, id)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, fs.ErrNotExist
	}
	entries = parseFile(text)
	if err != nil || slices.ContainsFunc(entries, func(e entry) bool { return !e.kept }) {
		return "", nil, ErrHandMade
	}
	return text, entries, nil
}

// readText reads a file of the secrets directory. Its errors hold no path.
func readText(dir, name string) (string, error) {
	// os.Root follows only links inside the directory. Kubernetes makes each file
	// of a mounted secret such a link; links to other places are refused.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", fmt.Errorf("open secrets directory: %w", cause(err))
	}
	defer root.Close()
	// Without O_NONBLOCK a named pipe would block the caller for ever.
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
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", cause(err)
	}
	if len(b) > maxFile {
		return "", fmt.Errorf("its file is longer than %d bytes", maxFile)
	}
	return string(b), nil
}

// Store keeps the password of a stream of a camera (Typed.For) in the file dir/id (mode
// 0600, in a directory of mode 0700 that it makes). The write is atomic. The password is
// only for the host and port of the camera's URL, and for no less than its TLS: a
// password for rtsps is not for rtsp, and one without InsecureTLS is not for
// InsecureTLS. Resolve finds it as ${file:id}. Passwords for other hosts stay in
// the file until Forget, since the record that names the new host may not be
// written. Store does not change a file that it has not written; then the error is
// ErrHandMade. undo restores the file, unless another password was stored
// meanwhile; it need not be called.
func Store(dir string, cam schemas.Camera, password string) (undo func() error, err error) {
	failed := func(err error) (func() error, error) {
		return nil, fmt.Errorf("secrets: store password of %s: %w", cam.ID, err)
	}
	if password == "" || len(password) > maxSecret || strings.ContainsAny(password, "\x00\r\n") {
		return failed(fmt.Errorf("want 1 to %d bytes on one line", maxSecret))
	}
	if err := check(cam); err != nil {
		return failed(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return failed(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return failed(err)
	}
	old, entries, err := stored(dir, cam.ID)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failed(err)
	}
	target := targets(cam)[0]
	entries = slices.DeleteFunc(entries, func(e entry) bool { return e.target == target })
	text := format(append([]entry{{target, true, password}}, entries...))
	if err := writeText(dir, cam.ID, text); err != nil {
		return failed(err)
	}
	return func() error {
		if now, err := readText(dir, cam.ID); err != nil || now != text {
			return nil //nolint:nilerr // another caller has changed or removed it
		}
		if err := writeText(dir, cam.ID, old); err != nil {
			return fmt.Errorf("secrets: bring back password of %s: %w", cam.ID, err)
		}
		return nil
	}, nil
}

// writeText writes text to dir/name (mode 0600) atomically. If text is empty, it
// removes the file.
func writeText(dir, name, text string) error {
	if text == "" {
		return os.Remove(filepath.Join(dir, name))
	}
	f, err := os.CreateTemp(dir, ".new-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails after the rename, as intended
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, name))
}

// Forget removes the passwords that Store has kept for id and that none of the
// cameras uses, and reports whether there was one. Cameras with other ids count
// too. Files that Store has not written stay.
func Forget(dir, id string, cameras map[string]schemas.Camera) (bool, error) {
	_, entries, err := stored(dir, id)
	if err != nil {
		return false, nil //nolint:nilerr // Store has written none
	}
	var keep []entry
	for i, e := range entries {
		for _, cam := range cameras {
			if slices.ContainsFunc(cam.Streams(), func(s schemas.Camera) bool {
				return slices.Contains(references(s), own(id)) && choose(entries, s) == i
			}) {
				keep = append(keep, e)
				break
			}
		}
	}
	if len(keep) == len(entries) {
		return false, nil
	}
	if err := writeText(dir, id, format(keep)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("secrets: forget password of %s: %w", id, err)
	}
	return true, nil
}

// Refers reports whether a camera refers to ${file:name}.
func Refers(name string, cam schemas.Camera) bool {
	return slices.ContainsFunc(cam.Streams(), func(s schemas.Camera) bool { return slices.Contains(references(s), own(name)) })
}
