package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// isConfig accepts names of decoder configurations (schemas.ConfigHash).
var isConfig = regexp.MustCompile(`^[0-9a-f]{16}$`)

// isInit accepts the names of init segments.
var isInit = regexp.MustCompile(`^init-[0-9a-f]{16}\.mp4$`)

// initName is the name of the init segment of a configuration. It stands beside the files, so that
// readers need not look for a file that has the configuration. Each of those can make it again.
func initName(config string) string { return "init-" + config + ".mp4" }

// initOf makes the init segment of a fragment, whose encoded chunk 0 is first.
func initOf(first []byte) (config string, init []byte, err error) {
	c, err := schemas.DecodeChunk(first)
	if err != nil {
		return "", nil, err
	}
	init, err = cmaf.Init(c.Tracks)
	return schemas.ConfigHash(c.Tracks), init, err
}

// addInit writes the init segment of a fragment, whose encoded chunk 0 is first, if it is not
// there.
func (d Dir) addInit(ctx context.Context, dir string, first []byte) error {
	config, b, err := initOf(first)
	if err != nil {
		return err
	}
	at := path.Join(dir, initName(config))
	if _, err := d.readFile(ctx, at, 1); err == nil {
		return nil
	}
	return d.writeInit(ctx, at, b)
}

// writeInit writes an init segment, if it is not there.
func (d Dir) writeInit(ctx context.Context, at string, b []byte) error {
	err := d.store.Create(ctx, at, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// checkInit returns an error if an init segment is missing, or is not b.
func (d Dir) checkInit(ctx context.Context, at string, b []byte) error {
	got, err := d.readFile(ctx, at, maxTrailer)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errNoInit
	case err != nil:
		return err
	case !bytes.Equal(got, b):
		return errOtherInit
	}
	return nil
}

// Errors of checkInit.
var (
	errNoInit    = errors.New("archive: this init segment is missing")
	errOtherInit = errors.New("archive: this init segment is another one than its footage needs")
)

// configured returns the encoded chunk 0 of a fragment with a decoder configuration; nil: there is
// none.
func (t *trailer) configured(config string) []byte {
	for i := range t.decoded {
		if e := &t.decoded[i]; e.Playable() && e.Config == config {
			return t.Entries[i].First
		}
	}
	return nil
}

// Init returns the init segment of a decoder configuration. It makes it of a last box in memory
// that has the configuration. If there is none, it reads what stands beside the files. If that is
// missing, it looks for a file that has it, from the newest on. Errors: medialog.ErrNotFound;
// those of the file system.
func (s *Set) Init(ctx context.Context, of Series, config string) ([]byte, error) {
	if err := of.check(); err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	if !isConfig.MatchString(config) {
		return nil, medialog.ErrNotFound
	}
	for _, box := range s.boxes.Values() {
		if b, err := box.init(config); err == nil {
			return b, nil
		}
	}
	b, err := s.dir.readFile(ctx, path.Join(of.Path(), initName(config)), maxTrailer)
	if !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	l, err := s.lists.of(ctx, of)
	if err != nil {
		return nil, err
	}
	for _, q := range slices.Backward(l.files) {
		box, err := s.box(ctx, of.kept(q))
		switch {
		case missing(err):
			continue
		case err != nil:
			return nil, err
		}
		if b, err := box.init(config); err == nil {
			return b, nil
		}
	}
	return nil, medialog.ErrNotFound
}

// init returns the init segment of a decoder configuration that the file has. Errors:
// medialog.ErrNotFound; that it cannot be made.
func (t *trailer) init(config string) ([]byte, error) {
	first := t.configured(config)
	if first == nil {
		return nil, medialog.ErrNotFound
	}
	_, b, err := initOf(first)
	return b, err
}

// inits are the init segments that files need, by their paths.
type inits map[string][]byte

// add adds those that a file needs.
func (n inits) add(of Series, t *trailer) error {
	for i := range t.decoded {
		e := &t.decoded[i]
		at := path.Join(of.Path(), initName(e.Config))
		if !e.Playable() || n[at] != nil {
			continue
		}
		_, b, err := initOf(t.Entries[i].First)
		if err != nil {
			return fmt.Errorf("archive: fragment %d: %w", e.Seq, err)
		}
		n[at] = b
	}
	return nil
}
