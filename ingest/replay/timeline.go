package replay

import "github.com/framelog/framelog/schemas"

// timeline places entries of the source one behind another: by media time in a session, and
// by public time between sessions. Where public time steps back, the next session follows at
// once. Places are in ticks of schemas.MediaTimescale; the first entry is at 0.
type timeline struct {
	begun      bool
	last       schemas.Entry
	start, end int64 // of last
}

// take places the next entry, and reports whether it begins a session.
func (t *timeline) take(e *schemas.Entry) (begins bool) {
	switch {
	case !t.begun:
		begins = true
	case e.Session != t.last.Session || e.Life != t.last.Life || e.Seq != t.last.Seq+1:
		t.start, begins = t.end+max(0, schemas.Ticks(e.Start.Sub(t.last.End()))), true
	default:
		t.start += e.Media - t.last.Media
	}
	t.begun, t.last, t.end = true, *e, t.start+e.Duration
	return begins
}
