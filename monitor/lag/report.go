package lag

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/framelog/framelog/schemas"
)

// Report is how far everything is behind.
type Report struct {
	// At is the time of the newest complete reading of the log.
	At time.Time `json:"at"`
	// Up: the brokers answered the newest reading. If not, the rest is as old as At.
	Up      bool     `json:"up"`
	Cameras []Camera `json:"cameras"` // worst first
	// Brokers and Leaderless are not in the JSON: who may see a camera need not see them.
	Brokers    map[string]bool `json:"-"`
	Leaderless map[string]int  `json:"-"`
}

// Camera is how far one camera is behind.
type Camera struct {
	ID    string `json:"id"`
	Label string `json:"label,omitempty"`
	// State is schemas.State, or one of those below.
	State   string `json:"state"`
	Problem string `json:"problem,omitempty"`
	// Behind is the most seconds by which its hops and groups are late.
	Behind  Seconds   `json:"behind_s"`
	Hops    []Hop     `json:"hops"`
	Groups  []Behind  `json:"groups"`
	Topics  []Size    `json:"topics"`
	Letters []Letters `json:"dead_letters"`
	Gaps    []Gap     `json:"-"` // counters, which tell little without their past
}

// States of a camera that no status tells.
const (
	StateStale   = "stale"   // its owner has written no status for 30 s
	StateUnowned = "unowned" // it has no status
	StateRemoved = "removed" // it is not in the registry, and has footage
)

// Hops that no processor makes.
const (
	HopLog      = "log"       // the log
	HopSub      = schemas.Sub // the log of the camera's second stream
	HopPlaylist = "playlist"  // egress
)

// Hop is how far a camera is behind at a hop: HopLog, HopPlaylist or a rendition.
type Hop struct {
	Name   string  `json:"hop"`
	Behind Seconds `json:"behind_s"`
}

// Behind is how far a consumer group is behind in a topic.
type Behind struct {
	Group     string  `json:"group"`
	Rendition string  `json:"rendition"`
	Records   int64   `json:"records"`
	Seconds   Seconds `json:"behind_s"`
	// Left is how long until retention removes the oldest fragment that the group has not
	// done; null: it has done all, or retention removes nothing.
	Left *Seconds `json:"retention_left_s"`
}

const (
	// archivers ends the name of the group of archivers, behind the prefix of the topics.
	archivers = "framelog-archive"
	// archiveWaits is how long an archiver may wait until a file is complete: a file has a
	// minute, and its last fragment may be a minute long.
	archiveWaits = Seconds(2 * time.Minute)
)

// Late is Seconds without the time that the group waits by design.
func (b *Behind) Late() Seconds {
	if strings.HasSuffix(b.Group, archivers) {
		return max(0, b.Seconds-archiveWaits)
	}
	return b.Seconds
}

// Size is how much there is of a topic.
type Size struct {
	Rendition string   `json:"rendition"`
	Bytes     *int64   `json:"bytes"`  // of one copy; null: not known
	Span      *Seconds `json:"span_s"` // from its oldest footage to its newest; null: not known
}

// Letters is how many dead letters of a processor are in the log.
type Letters struct {
	Processor string `json:"processor"`
	Count     int    `json:"count"`
}

// Gap is how much footage gaps of one reason stand for.
type Gap struct {
	Rendition, Reason string
	Seconds           Seconds
}

// Seconds is a duration that JSON has in seconds, with three digits.
type Seconds time.Duration

// MarshalJSON implements json.Marshaler.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, time.Duration(s).Seconds(), 'f', 3, 64), nil
}

// LateAfter is how far a camera may be behind until it counts as late: fragments have some
// seconds. Cameras that are not late are sorted by id, so that a list of them stands still.
const LateAfter = Seconds(15 * time.Second)

// Compute computes the report of a reading.
func Compute(v *View) Report {
	r := Report{At: v.At, Up: true, Cameras: []Camera{}, Brokers: v.Brokers, Leaderless: v.Leaderless}
	all := map[string]*Camera{}
	camera := func(id string) *Camera {
		if all[id] == nil {
			all[id] = v.camera(id)
		}
		return all[id]
	}
	for id := range v.Cameras {
		camera(id)
	}
	for t, is := range v.Topics {
		v.addTopic(camera(t.Camera), t, is)
	}
	for _, g := range v.Groups {
		if is, ok := v.Topics[g.Topic]; ok {
			c := camera(g.Topic.Camera)
			c.Groups = append(c.Groups, v.behind(g, is))
		}
	}
	for _, c := range all {
		c.sort()
		r.Cameras = append(r.Cameras, *c)
	}
	slices.SortFunc(r.Cameras, func(a, b Camera) int {
		return cmp.Or(cmp.Compare(rank(b.Behind), rank(a.Behind)), cmp.Compare(a.ID, b.ID))
	})
	return r
}

func rank(behind Seconds) Seconds {
	if behind < LateAfter {
		return 0
	}
	return behind
}

// For returns the report of the cameras that may accepts.
func (r Report) For(may func(camera string) bool) Report {
	r.Cameras = slices.DeleteFunc(slices.Clone(r.Cameras), func(c Camera) bool { return !may(c.ID) })
	return r
}

// camera returns a camera with what is known without its renditions.
func (v *View) camera(id string) *Camera {
	cam, known := v.Cameras[id]
	c := &Camera{
		ID: id, Label: cam.Label, State: StateRemoved,
		Hops: []Hop{}, Groups: []Behind{}, Topics: []Size{}, Letters: []Letters{}, Gaps: []Gap{},
	}
	if !known {
		return c
	}
	c.State, c.Problem = v.state(cam)
	if cam.Disabled || schemas.IsReplay(cam.URL) { // public time of a replay may be in the past
		return c
	}
	raw := v.Topics[schemas.Topic{Camera: id}]
	if raw.Unread {
		return c
	}
	newest := cam.Updated // it was never recorded
	if raw.Newest != nil {
		newest = raw.Newest.End()
		if shown, ok := v.Shown[id]; ok {
			c.hop(HopPlaylist, newest.Sub(shown))
		}
	}
	c.hop(HopLog, v.At.Sub(newest))
	return c
}

// state returns the state of a camera, and what is wrong with it.
func (v *View) state(cam schemas.Camera) (state, problem string) {
	s, ok := v.Status[cam.ID]
	switch {
	case cam.Disabled:
		return string(schemas.StateDisabled), ""
	case !ok:
		return StateUnowned, "no ingest process has taken it"
	case s.Stale(v.At):
		return StateStale, "its ingest process no longer tells of it"
	}
	return strings.ToValidUTF8(string(s.State), "?"), cmp.Or(s.Error, s.Problem)
}

func (c *Camera) hop(name string, behind time.Duration) {
	c.Hops = append(c.Hops, Hop{name, Seconds(max(0, behind))})
}

// addTopic adds what a topic tells.
func (v *View) addTopic(c *Camera, t schemas.Topic, is Topic) {
	size := Size{Rendition: t.Name()}
	if is.Bytes >= 0 {
		size.Bytes = &is.Bytes
	}
	if is.Newest != nil && is.Oldest != nil {
		size.Span = between(is.Oldest.Media, is.Newest.MediaEnd())
	}
	c.Topics = append(c.Topics, size)
	for _, reason := range losses(t) {
		if _, ok := is.Gaps[reason]; !ok {
			c.Gaps = append(c.Gaps, Gap{t.Name(), reason, 0})
		}
	}
	for reason, d := range is.Gaps {
		c.Gaps = append(c.Gaps, Gap{t.Name(), reason, Seconds(d)})
	}
	processor, letters := strings.CutPrefix(t.Rendition, schemas.DeadLetterPrefix)
	switch raw := v.Topics[t.Source()].Newest; {
	case t.IsRaw() || is.Newest == nil:
	case t.FromCamera():
		if cam := v.Cameras[t.Camera]; cam.Substream != "" && !cam.Disabled { // else it has ended
			c.hop(HopSub, v.At.Sub(is.Newest.End()))
		}
	case is.Newest.Role == schemas.RoleDeadLetter && letters:
		c.Letters = append(c.Letters, Letters{processor, is.Letters})
	case raw == nil || raw.Life != is.Newest.Life || strings.Contains(is.Processor, "/"):
		// A backfill or a redrive (its processor is called NAME/backfill or NAME/redrive)
		// ends somewhere in the past.
	default:
		name := t.Name()
		if name == HopLog || name == HopPlaylist {
			name = "rendition " + name
		}
		c.hop(name, schemas.FromTicks(raw.MediaEnd()-is.Newest.MediaEnd()))
	}
}

// IsLetters reports whether a topic is called as one of dead letters.
func IsLetters(t schemas.Topic) bool { return strings.HasPrefix(t.Rendition, schemas.DeadLetterPrefix) }

// losses are the reasons of gaps that tell of a loss. Their counters are there from the
// start: Prometheus does not see that a counter rises which begins above 0.
func losses(t schemas.Topic) []string {
	if t.FromCamera() {
		return []string{schemas.ReasonBudget, schemas.ReasonIndexBehind, schemas.ReasonStorage, schemas.ReasonCrash, schemas.ReasonTooLarge, schemas.ReasonProduce}
	}
	if IsLetters(t) {
		return nil
	}
	return []string{schemas.ReasonDeadLetter, schemas.ReasonSkipped, schemas.ReasonExpired}
}

// behind tells how far a group is behind in a topic.
func (v *View) behind(g Group, is Topic) Behind {
	b := Behind{Group: g.Name, Rendition: g.Topic.Name(), Records: g.Records}
	if g.At == nil || is.Newest == nil {
		return b
	}
	b.Seconds = *between(g.At.Media, is.Newest.MediaEnd())
	b.Left = v.left(g, is)
	return b
}

// left returns how long until retention removes the fragment at which a group is. Retention
// removes a second of footage in a second: what is older than Retention goes, or, where the
// topic is full, as much as comes in. Kafka removes whole segments: it may be as much later
// or earlier as one holds.
func (v *View) left(g Group, is Topic) *Seconds {
	left := time.Duration(math.MaxInt64)
	if g.Expired {
		left = 0
	}
	if v.Retention > 0 {
		left = min(left, g.At.Start.Add(v.Retention).Sub(v.At))
	}
	if is.Trimmed && is.Oldest != nil {
		left = min(left, schemas.FromTicks(g.At.Media-is.Oldest.Media))
	}
	if left == math.MaxInt64 {
		return nil
	}
	s := Seconds(max(0, left))
	return &s
}

// between returns the footage between two media times.
func between(from, to int64) *Seconds {
	s := Seconds(schemas.FromTicks(max(0, to-from)))
	return &s
}

// sort brings what a camera holds into order, and finds the worst.
func (c *Camera) sort() {
	place := map[string]int{HopLog: 0, HopPlaylist: 2} // renditions: 1
	order := func(h Hop) int {
		if n, ok := place[h.Name]; ok {
			return n
		}
		return 1
	}
	slices.SortFunc(c.Hops, func(a, b Hop) int {
		return cmp.Or(cmp.Compare(order(a), order(b)), cmp.Compare(a.Name, b.Name))
	})
	slices.SortFunc(c.Groups, func(a, b Behind) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Rendition, b.Rendition))
	})
	slices.SortFunc(c.Topics, func(a, b Size) int { return cmp.Compare(a.Rendition, b.Rendition) })
	slices.SortFunc(c.Letters, func(a, b Letters) int { return cmp.Compare(a.Processor, b.Processor) })
	slices.SortFunc(c.Gaps, func(a, b Gap) int {
		return cmp.Or(cmp.Compare(a.Rendition, b.Rendition), cmp.Compare(a.Reason, b.Reason))
	})
	for _, h := range c.Hops {
		c.Behind = max(c.Behind, h.Behind)
	}
	for _, g := range c.Groups {
		c.Behind = max(c.Behind, g.Late())
	}
}
