package egress

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/egress/hls"
	"github.com/framelog/framelog/schemas"
)

// Events are looked for in the renditions of the log, and in those that only the archive has: of a
// camera that is off, or of a processor that was taken away.
func TestRolesOfTheArchive(t *testing.T) {
	f := Footage{
		Renditions: func(context.Context, string) ([]hls.Rendition, error) {
			return []hls.Rendition{{Name: schemas.Raw}, {Name: "motion", Role: schemas.RoleData}}, nil
		},
		Archived: func(context.Context, string, ...string) (map[string]schemas.Role, error) {
			return map[string]schemas.Role{"motion": schemas.RoleVariant, "plates": schemas.RoleData}, nil
		},
	}
	want := map[string]schemas.Role{"motion": schemas.RoleData, "plates": schemas.RoleData}
	if got, err := f.roles(t.Context(), "yard"); err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	broken := errors.New("the store is away")
	f.Archived = func(context.Context, string, ...string) (map[string]schemas.Role, error) { return nil, broken }
	want = map[string]schemas.Role{"motion": schemas.RoleData}
	if got, err := f.roles(t.Context(), "yard"); err != nil || !maps.Equal(got, want) {
		t.Errorf("the store is away: %v, %v, want %v", got, err, want)
	}
}

// The state of a camera tells what only the archive has behind what the log has, and how far the latter
// is. Of an archive that does not answer in time or fails it tells what was known last, and why.
func TestProgressOfTheArchive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away, slow := error(nil), false
		var asked []string // the names that the archive need not tell
		f := Footage{
			Renditions: func(context.Context, string) ([]hls.Rendition, error) {
				return []hls.Rendition{{Name: schemas.Raw}, {Name: "720p", Role: schemas.RoleVariant, OK: true, Behind: time.Second}, {Name: "faces", Role: schemas.RoleData}}, nil
			},
			Archived: func(ctx context.Context, _ string, but ...string) (map[string]schemas.Role, error) {
				asked = but
				known := map[string]schemas.Role{"plates": schemas.RoleData, "motion": schemas.RoleData}
				if slow {
					<-ctx.Done()
					return known, ctx.Err()
				}
				return known, away
			},
		}
		tell := func() string {
			all, err := f.progress(t.Context(), "yard")
			told := ""
			for _, r := range all {
				told += fmt.Sprintf("%s %s", r.Name, r.Role)
				if r.BehindS != nil {
					told += fmt.Sprintf(" %g", *r.BehindS)
				}
				told += ", "
			}
			return fmt.Sprint(told, err)
		}
		const all = "720p variant 1, faces data, motion data, plates data, "
		if got := tell(); got != all+"<nil>" || !slices.Equal(asked, []string{"720p", "faces", schemas.Raw}) {
			t.Errorf("%s, without %q", got, asked)
		}
		away = errors.New("the store is away")
		if got := tell(); got != all+away.Error() {
			t.Errorf("the store is away: %s", got)
		}
		slow = true
		begun := time.Now()
		if got := tell(); got != all+context.DeadlineExceeded.Error() || time.Since(begun) != archivedWait {
			t.Errorf("the store does not answer: %s, after %v", got, time.Since(begun))
		}
		asked, slow = nil, false
		f.Renditions = func(context.Context, string) ([]hls.Rendition, error) { return nil, errors.New("the log is away") }
		if got := tell(); got != "the log is away" || asked != nil {
			t.Errorf("the log is away: %s, and the archive was asked without %q", got, asked)
		}
	})
}
