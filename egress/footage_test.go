package egress

import (
	"context"
	"errors"
	"maps"
	"testing"

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
		Archived: func(context.Context, string) (map[string]schemas.Role, error) {
			return map[string]schemas.Role{"motion": schemas.RoleVariant, "plates": schemas.RoleData}, nil
		},
	}
	want := map[string]schemas.Role{"motion": schemas.RoleData, "plates": schemas.RoleData}
	if got, err := f.roles(t.Context(), "yard"); err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	broken := errors.New("the store is away")
	f.Archived = func(context.Context, string) (map[string]schemas.Role, error) { return nil, broken }
	want = map[string]schemas.Role{"motion": schemas.RoleData}
	if got, err := f.roles(t.Context(), "yard"); err != nil || !maps.Equal(got, want) {
		t.Errorf("the store is away: %v, %v, want %v", got, err, want)
	}
}
