package access

import (
	"testing"

	"github.com/framelog/framelog/schemas"
)

func TestAllows(t *testing.T) {
	all := []string{"*"}
	admin := schemas.User{Role: schemas.Admin}
	operator := schemas.User{Role: schemas.Operator, Cameras: all, Renditions: all}
	local := schemas.User{Role: schemas.Operator, Cameras: []string{"yard-*"}, Renditions: all}
	viewer := schemas.User{Role: schemas.Viewer, Cameras: []string{"yard", "gate-?"}, Renditions: all}
	redacted := schemas.User{Role: schemas.Viewer, Cameras: all, Renditions: []string{"redacted", "motion"}}
	raw := schemas.User{Role: schemas.Viewer, Cameras: all, Renditions: []string{"raw"}}
	small := schemas.User{Role: schemas.Viewer, Cameras: all, Renditions: []string{"sub"}}
	for _, c := range []struct {
		name              string
		user              schemas.User
		camera, rendition string
		action            Action
		want              bool
	}{
		{"admin", admin, "yard", "raw", Watch, true},
		{"admin, dead letter", admin, "yard", "dlq-people", Watch, true},
		{"admin, server", admin, "", "", Operate, true},
		{"admin, unknown path", admin, "", "", Watch, true},
		{"operator, server", operator, "", "", Operate, true},
		{"operator, change", operator, "yard", "", Change, true},
		{"operator of some, server", local, "", "", Operate, false},
		{"operator of some, change", local, "yard-2", "", Change, true},
		{"operator of some, other", local, "gate", "", Change, false},
		{"viewer, own", viewer, "yard", "720p", Watch, true},
		{"viewer, own, export", viewer, "yard", "720p", Export, true},
		{"viewer, other, export", viewer, "vault", "raw", Export, false},
		{"redacted, raw, export", redacted, "yard", "raw", Export, false},
		{"viewer, pattern", viewer, "gate-2", "raw", Watch, true},
		{"viewer, pattern, too long", viewer, "gate-22", "raw", Watch, false},
		{"viewer, other", viewer, "vault", "raw", Watch, false},
		{"viewer, other, list", viewer, "vault", "", List, false},
		{"viewer, begins alike", viewer, "yard2", "", List, false},
		{"viewer, list", viewer, "yard", "", List, true},
		{"viewer, change", viewer, "yard", "", Change, false},
		{"viewer, server", viewer, "", "", Operate, false},
		{"viewer, unknown path", viewer, "", "", Watch, false},
		{"viewer, public is not asked", viewer, "yard", "", Public, false},
		{"redacted", redacted, "yard", "redacted", Watch, true},
		{"redacted, any", redacted, "yard", "", Watch, true},
		{"redacted, raw", redacted, "yard", "raw", Watch, false},
		{"redacted, variant of raw", redacted, "yard", "720p", Watch, false},
		{"redacted, dead letter", redacted, "yard", "dlq-redacted", Watch, false},
		{"raw, dead letter", raw, "yard", "dlq-redacted", Watch, true},
		{"raw, second stream", raw, "yard", "sub", Watch, true},
		{"raw, second stream, export", raw, "yard", "sub", Export, true},
		{"redacted, second stream", redacted, "yard", "sub", Watch, false},
		{"second stream", small, "yard", "sub", Watch, true},
		{"second stream, raw", small, "yard", "raw", Watch, false},
		{"raw, other", raw, "yard", "redacted", Watch, false},
		{"nobody", schemas.User{}, "yard", "raw", Watch, false},
	} {
		if got := Allows(&c.user, c.camera, c.rendition, c.action); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
