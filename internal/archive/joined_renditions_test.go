package archive

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// renditions is a log of a camera whose rendition has no topic any more. If purged, the camera has
// none either.
type renditions struct {
	*kafka
	purged bool
}

func (r renditions) missing(t schemas.Topic) bool { return r.purged || !t.IsRaw() }

func (r renditions) Life(ctx context.Context, t schemas.Topic) (string, error) {
	if r.missing(t) {
		return "", medialog.ErrNoTopic
	}
	return r.kafka.Life(ctx, t)
}

func (r renditions) Entries(ctx context.Context, t schemas.Topic, in medialog.Range) iter.Seq2[schemas.Entry, error] {
	if r.missing(t) {
		return func(yield func(schemas.Entry, error) bool) { yield(schemas.Entry{}, medialog.ErrNoTopic) }
	}
	return r.kafka.Entries(ctx, t, in)
}

func (r renditions) Entry(ctx context.Context, t schemas.Topic, seq uint64) (schemas.Entry, error) {
	if r.missing(t) {
		return schemas.Entry{}, medialog.ErrNoTopic
	}
	return r.kafka.Entry(ctx, t, seq)
}

func (r renditions) Available(ctx context.Context, t schemas.Topic, e schemas.Entry) error {
	if r.missing(t) {
		return medialog.ErrNoTopic
	}
	return r.kafka.Available(ctx, t, e)
}

func (r renditions) Bounds(ctx context.Context, t schemas.Topic) (oldest, newest schemas.Entry, err error) {
	if r.missing(t) {
		return oldest, newest, medialog.ErrNoTopic
	}
	return r.kafka.Bounds(ctx, t)
}

// A rendition that has no topic any more is there as far as it is archived in the life of its
// camera. After a purge of the camera it is not.
func TestJoinedRenditionWithoutTopic(t *testing.T) {
	k := recorded()
	dir := Local(t.TempDir())
	small, other := schemas.Topic{Camera: topic.Camera, Rendition: "360p"}, schemas.Topic{Camera: topic.Camera, Rendition: "motion"}
	for file, err := range Cut(small, each(k.all)) {
		if err != nil {
			t.Fatal(err)
		}
		if err := Write(t.Context(), dir, k.log, small, file); err != nil {
			t.Fatal(err)
		}
	}
	set := NewSet(dir, nil, nil)
	want := collect(t, set.Entries(t.Context(), Series{"life1", small}, medialog.Range{}))
	j := NewJoined(renditions{kafka: k}, set)
	if got := collect(t, j.Entries(t.Context(), small, medialog.Range{})); len(want) < 100 || !reflect.DeepEqual(got, want) {
		t.Errorf("%d entries, want %d", len(got), len(want))
	}
	if oldest, newest, err := j.Bounds(t.Context(), small); err != nil || oldest.Seq != want[0].Seq || newest.Seq != want[len(want)-1].Seq {
		t.Errorf("bounds %d to %d, %v", oldest.Seq, newest.Seq, err)
	}
	e, err := j.Entry(t.Context(), small, want[3].Seq)
	if err != nil || j.Available(t.Context(), small, e) != nil {
		t.Errorf("an entry: %v", err)
	}
	segment, err := cmaf.Segment(e, j.Chunks(t.Context(), small, e))
	source, _ := cmaf.Segment(e, k.log[3].All())
	if err != nil || !bytes.Equal(bytes.Join(segment, nil), bytes.Join(source, nil)) {
		t.Errorf("its segment differs: %v", err)
	}
	if kept, err := j.Kept(t.Context(), small); !kept || err != nil {
		t.Errorf("kept %v, %v", kept, err)
	}

	for name, c := range map[string]struct {
		j  *Joined
		of schemas.Topic
	}{"not archived": {j, other}, "purged": {NewJoined(renditions{k, true}, set), small}} {
		if kept, err := c.j.Kept(t.Context(), c.of); kept || err != nil {
			t.Errorf("%s: kept %v, %v", name, kept, err)
		}
		_, err1 := c.j.Entry(t.Context(), c.of, e.Seq)
		_, _, err2 := c.j.Bounds(t.Context(), c.of)
		errs := []error{err1, err2, c.j.Available(t.Context(), c.of, e)}
		for _, err := range c.j.Entries(t.Context(), c.of, medialog.Range{}) {
			errs = append(errs, err)
		}
		for i, err := range errs {
			if !errors.Is(err, medialog.ErrNoTopic) {
				t.Errorf("%s, %d: %v", name, i, err)
			}
		}
	}
}

// archiveRoles archives the footage of k as that of renditions with these roles.
func archiveRoles(t *testing.T, dir Dir, k *kafka, of map[string]schemas.Role) {
	t.Helper()
	for name, role := range of {
		of, entries := schemas.Topic{Camera: topic.Camera, Rendition: strings.TrimPrefix(name, schemas.Raw)}, slices.Clone(k.all)
		for i := range entries {
			entries[i].Role = role
		}
		for file, err := range Cut(of, each(entries)) {
			if err == nil {
				err = Write(t.Context(), dir, k.log, of, file)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The archived renditions of a camera, and the variants among them, are told by the role of their
// entries, in the life of the log, whether they have a topic or not.
func TestVariants(t *testing.T) {
	k := recorded()
	dir := Local(t.TempDir())
	archiveRoles(t, dir, k, map[string]schemas.Role{"720p": schemas.RoleVariant, "360p": schemas.RoleVariant, "motion": schemas.RoleData, "raw": ""})
	want := []schemas.Topic{{Camera: topic.Camera, Rendition: "360p"}, {Camera: topic.Camera, Rendition: "720p"}}
	set := NewSet(dir, nil, nil)
	if got, err := NewJoined(renditions{kafka: k}, set).Variants(t.Context(), topic.Camera); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	wantRoles := map[string]schemas.Role{"360p": schemas.RoleVariant, "720p": schemas.RoleVariant, "motion": schemas.RoleData}
	if got, err := NewJoined(renditions{kafka: k}, set).Roles(t.Context(), topic.Camera); err != nil || !maps.Equal(got, wantRoles) {
		t.Errorf("%v, %v, want %v", got, err, wantRoles)
	}
	if got, err := NewJoined(renditions{k, true}, set).Variants(t.Context(), topic.Camera); err != nil || got != nil {
		t.Errorf("purged: %v, %v", got, err)
	}
	if got, err := NewJoined(k, set).Variants(t.Context(), "other"); err != nil || got != nil {
		t.Errorf("another camera: %v, %v", got, err)
	}
}

// Of renditions whose role nobody asks for nothing is read. If the store fails, the roles that were
// known last come with the error.
func TestRolesThatAreAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := recorded()
		dir := t.TempDir()
		archiveRoles(t, Local(dir), k, map[string]schemas.Role{"motion": schemas.RoleData, "faces": schemas.RoleData})
		camera := filepath.Join(dir, "life1", topic.Camera)
		files, err := filepath.Glob(filepath.Join(camera, "faces", "*.mp4"))
		for _, file := range files { // none can be read
			err = errors.Join(err, os.Remove(file), os.Mkdir(file, 0o755))
		}
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		j := NewJoined(renditions{kafka: k}, NewSet(Local(dir), nil, nil))
		want := map[string]schemas.Role{"motion": schemas.RoleData}
		if got, err := j.Roles(t.Context(), topic.Camera, "faces"); err != nil || !maps.Equal(got, want) {
			t.Errorf("%v, %v, want %v", got, err, want)
		}
		if got, err := j.Roles(t.Context(), topic.Camera); !errors.Is(err, syscall.EISDIR) || got != nil {
			t.Errorf("all: %v, %v", got, err)
		}
		if err := errors.Join(os.RemoveAll(camera), os.WriteFile(camera, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		if got, err := j.Roles(t.Context(), topic.Camera, "faces"); err != nil || !maps.Equal(got, want) {
			t.Errorf("a moment later: %v, %v, want %v", got, err, want)
		}
		time.Sleep(keepKnown)
		if got, err := j.Roles(t.Context(), topic.Camera, "faces"); !errors.Is(err, syscall.ENOTDIR) || !maps.Equal(got, want) {
			t.Errorf("the store fails: %v, %v, want %v", got, err, want)
		}
	})
}
