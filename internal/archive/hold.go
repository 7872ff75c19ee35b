package archive

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/framelog/framelog/schemas"
)

// Hold is a range of public time [From, To) of a camera whose footage nothing deletes. It is
// a file in the directory holds of the archive, which is never changed.
type Hold struct {
	ID        string    `json:"id"`
	Camera    string    `json:"camera"`
	Rendition string    `json:"rendition,omitempty"` // empty: all of them
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	Reason    string    `json:"reason"`
	By        string    `json:"by"` // who added it
	At        time.Time `json:"at"` // when
}

// holdVersion is the version of the files of holds.
const holdVersion = 1

const (
	holdsName    = "holds"        // directory of the holds in an archive
	holdEnd      = ".json"        // of the names of their files
	releasedName = "released.log" // holds that were released: one line of JSON each
	lockName     = ".lock"
	maxHold      = 64 << 10 // bytes of a file
)

// holdLead is how much footage before a hold is kept too: the pictures at its beginning may
// need the fragment before (an open GOP), which lasts a minute at most.
const holdLead = time.Minute

// touches reports whether the hold keeps footage of [from, to).
func (h *Hold) touches(from, to time.Time) bool {
	return from.Before(h.To) && to.After(h.From.Add(-holdLead))
}

// of reports whether the hold is about a topic.
func (h *Hold) of(t schemas.Topic) bool {
	return h.Camera == t.Camera && (h.Rendition == "" || h.Rendition == t.Name())
}

// check returns an error if the hold holds nothing, or cannot be the file of its ID.
func (h *Hold) check() error {
	if err := schemas.ValidateCameraID(h.Camera); err != nil {
		return err
	}
	if h.Rendition != "" {
		if err := schemas.ValidateRendition(h.Rendition); err != nil {
			return err
		}
	}
	switch {
	case !isName.MatchString(h.ID):
		return fmt.Errorf("%q is no name of a hold", h.ID)
	case !h.From.Before(h.To):
		return errors.New("it ends before it begins")
	}
	return nil
}

// Holds are the holds of an archive.
type Holds struct {
	All        []Hold // by ID
	Unreadable []UnreadableHold
}

// UnreadableHold is a file of a hold that is damaged, or of a newer version. It holds the whole
// archive, until a person has looked at it.
type UnreadableHold struct {
	Path  string
	Cause error
}

// Holds reads the holds. Errors: those of the file system. An archive without the directory has
// none.
func (d Dir) Holds(ctx context.Context) (Holds, error) {
	var all Holds
	found, err := d.store.List(ctx, holdsName, "")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return all, fmt.Errorf("archive: holds: %w", err)
	}
	slices.SortFunc(found, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, f := range found {
		id, ok := strings.CutSuffix(f.Name(), holdEnd)
		if !ok || strings.HasPrefix(id, ".") {
			continue
		}
		at := path.Join(holdsName, f.Name())
		h, err := d.readHold(ctx, at, id)
		switch {
		case errors.Is(err, fs.ErrNotExist): // it was released meanwhile
		case err != nil:
			all.Unreadable = append(all.Unreadable, UnreadableHold{d.String() + "/" + at, err})
		default:
			all.All = append(all.All, h)
		}
	}
	return all, nil
}

// heldFile is the form of the file of a hold.
type heldFile struct {
	Version int `json:"version"`
	Hold
}

func (d Dir) readHold(ctx context.Context, path, id string) (Hold, error) {
	b, err := d.readFile(ctx, path, maxHold)
	if err != nil {
		return Hold{}, err
	}
	var version struct{ Version int }
	if err := json.Unmarshal(b, &version); err != nil {
		return Hold{}, fmt.Errorf("it is damaged: %w", err)
	}
	if version.Version > holdVersion {
		return Hold{}, schemas.ErrNewer
	}
	var h heldFile
	r := json.NewDecoder(bytes.NewReader(b))
	r.DisallowUnknownFields()
	if err := r.Decode(&h); err != nil {
		return Hold{}, fmt.Errorf("it is damaged: %w", err)
	}
	if err := h.check(); err != nil {
		return Hold{}, fmt.Errorf("it is damaged: %w", err)
	}
	if h.Version != holdVersion || h.ID != id {
		return Hold{}, fmt.Errorf("it is damaged: it is hold %q of version %d", h.ID, h.Version)
	}
	return h.Hold, nil
}

// AddHold adds a hold, and gives it its ID. When it returns, the hold is on disk, and nothing
// deletes footage that it touches. Errors: the archive does not exist; those of the file
// system; ctx.
func (d Dir) AddHold(ctx context.Context, h Hold) (Hold, error) {
	random := make([]byte, 4)
	_, _ = rand.Read(random) // it never fails
	h.ID = h.At.UTC().Format("20060102-150405-") + hex.EncodeToString(random)
	if err := h.check(); err != nil {
		return h, fmt.Errorf("archive: add a hold: %w", err)
	}
	b, err := json.MarshalIndent(heldFile{holdVersion, h}, "", "  ")
	if err != nil {
		return h, fmt.Errorf("archive: add a hold: %w", err)
	}
	ctx, unlock, err := d.store.Lock(ctx)
	if err != nil {
		return h, fmt.Errorf("archive: add a hold: %w", err)
	}
	defer unlock()
	err = d.store.Create(ctx, path.Join(holdsName, h.ID+holdEnd), func(w io.Writer) error {
		_, err := w.Write(append(b, '\n'))
		return err
	})
	if err != nil {
		return h, fmt.Errorf("archive: add a hold: %w", err)
	}
	return h, nil
}

// ErrNoHold is returned if there is no hold with an ID.
var ErrNoHold = errors.New("archive: there is no such hold")

// ReleaseHold removes a hold. The file released.log keeps what it was, who released it and
// when. A hold that cannot be read is released too. Errors: ErrNoHold; those of the file
// system; ctx.
func (d Dir) ReleaseHold(ctx context.Context, id, by string, at time.Time) error {
	if !isName.MatchString(id) {
		return ErrNoHold
	}
	b, err := d.readFile(ctx, path.Join(holdsName, id+holdEnd), maxHold)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNoHold
	}
	if err == nil {
		err = d.release(ctx, id, released{id, string(b), by, at})
	}
	if err != nil {
		return fmt.Errorf("archive: release hold %s: %w", id, err)
	}
	return nil
}

// released is a line of released.log.
type released struct {
	ID   string    `json:"id"`
	Hold string    `json:"hold"` // the text of its file
	By   string    `json:"released_by"`
	At   time.Time `json:"released_at"`
}

func (d Dir) release(ctx context.Context, id string, r released) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	ctx, unlock, err := d.store.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.store.Append(ctx, path.Join(holdsName, releasedName), append(line, '\n')); err != nil {
		return err
	}
	return d.store.Remove(ctx, path.Join(holdsName, id+holdEnd))
}

// about returns the holds that are about a topic.
func (h *Holds) about(t schemas.Topic) []Hold {
	return slices.DeleteFunc(slices.Clone(h.All), func(h Hold) bool { return !h.of(t) })
}
