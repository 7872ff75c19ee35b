package access

import (
	"path"
	"slices"
	"strings"

	"github.com/framelog/framelog/schemas"
)

// Allows reports whether a user may do an action with a camera and a rendition, as
// [Authorize] asks.
func Allows(u *schemas.User, camera, rendition string, action Action) bool {
	if u.Role == schemas.Admin {
		return true
	}
	if camera == "" {
		return action == Operate && u.Role == schemas.Operator && slices.Contains(u.Cameras, "*")
	}
	if !matches(u.Cameras, camera) {
		return false
	}
	switch action {
	case List:
		return true
	case Watch, Export:
		return rendition == "" || Covers(u.Renditions, rendition)
	case Change:
		return u.Role == schemas.Operator
	case Public, Operate:
	}
	return false
}

// Covers reports whether patterns of renditions allow a rendition. A dead letter is raw
// footage, so only who may watch raw may watch it. A second stream is what raw shows, in a
// smaller picture: who may watch raw may watch it too.
func Covers(patterns []string, rendition string) bool {
	if strings.HasPrefix(rendition, schemas.DeadLetterPrefix) {
		rendition = schemas.Raw
	}
	return matches(patterns, rendition) || rendition == schemas.Sub && matches(patterns, schemas.Raw)
}

// matches reports whether one of the patterns matches name.
func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, name)
		return ok && err == nil
	})
}
