package lag

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
)

const second = schemas.MediaTimescale

// now is the time of the readings here. Media time is in seconds before it.
var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// fragment returns the entry of a fragment of two seconds that ends so many seconds ago.
func fragment(ago int64) *schemas.Entry {
	start := -ago - 2
	return &schemas.Entry{
		Kind: schemas.KindWhole, Life: "one", Start: now.Add(time.Duration(start) * time.Second), Media: (100_000 + start) * second, Duration: 2 * second,
	}
}

func with(e *schemas.Entry, change func(*schemas.Entry)) *schemas.Entry {
	change(e)
	return e
}

func position(e *schemas.Entry) *Position { return &Position{Media: e.Media, Start: e.Start} }

// text is a camera as a line: id, state, hops and groups in seconds.
func text(c Camera) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", c.ID, c.State)
	for _, h := range c.Hops {
		fmt.Fprintf(&b, ", %s %v", h.Name, time.Duration(h.Behind))
	}
	for _, g := range c.Groups {
		fmt.Fprintf(&b, ", %s of %s %d %v", g.Group, g.Rendition, g.Records, time.Duration(g.Seconds))
		if g.Left != nil {
			fmt.Fprintf(&b, " left %v", time.Duration(*g.Left))
		}
	}
	for _, l := range c.Letters {
		fmt.Fprintf(&b, ", %d letters of %s", l.Count, l.Processor)
	}
	return b.String()
}

func TestHops(t *testing.T) {
	cam := schemas.Camera{ID: "yard", Updated: now.Add(-time.Hour)}
	live := schemas.Status{Camera: "yard", State: schemas.StateLive, Updated: now}
	raw, motion, sub := schemas.Topic{Camera: "yard"}, schemas.Topic{Camera: "yard", Rendition: "motion"}, schemas.Topic{Camera: "yard", Rendition: schemas.Sub}
	view := func(change func(v *View)) *View {
		v := &View{
			At: now, Cameras: map[string]schemas.Camera{"yard": cam}, Status: map[string]schemas.Status{"yard": live},
			Topics: map[schemas.Topic]Topic{raw: {Newest: fragment(1), Bytes: -1}, motion: {Newest: fragment(31), Bytes: -1}},
		}
		change(v)
		return v
	}
	for what, tt := range map[string]struct {
		change func(v *View)
		want   string
	}{
		"a processor that is behind":                        {func(*View) {}, "yard live, log 1s, motion 30s"},
		"a rendition that is ahead of what was read of raw": {func(v *View) { v.Topics[motion] = Topic{Newest: fragment(0)} }, "yard live, log 1s, motion 0s"},
		"a clock that is late":                              {func(v *View) { v.At = now.Add(-time.Minute) }, "yard live, log 0s, motion 30s"},
		"a rendition without entry":                         {func(v *View) { v.Topics[motion] = Topic{} }, "yard live, log 1s"},
		"of footage that was purged": {func(v *View) {
			v.Topics[motion] = Topic{Newest: with(fragment(31), func(e *schemas.Entry) { e.Life = "other" })}
		}, "yard live, log 1s"},
		"a backfill": {func(v *View) { v.Topics[motion] = Topic{Newest: fragment(4000), Processor: "motion/backfill"} }, "yard live, log 1s"},
		"dead letters": {func(v *View) {
			v.Topics[schemas.Topic{Camera: "yard", Rendition: "dlq-motion"}] = Topic{Letters: 3, Newest: with(fragment(300), func(e *schemas.Entry) { e.Role = schemas.RoleDeadLetter })}
		}, "yard live, log 1s, motion 30s, 3 letters of motion"},
		"a rendition that is called as a hop": {func(v *View) { v.Topics[schemas.Topic{Camera: "yard", Rendition: "log"}] = Topic{Newest: fragment(11)} }, "yard live, log 1s, motion 30s, rendition log 10s"},
		"a playlist":                          {func(v *View) { v.Shown = map[string]time.Time{"yard": now.Add(-5 * time.Second)} }, "yard live, log 1s, motion 30s, playlist 4s"},
		"a camera that is silent": {func(v *View) {
			v.Status["yard"] = schemas.Status{State: schemas.StateAway, Updated: now}
			v.Topics[raw] = Topic{Newest: fragment(90)}
			v.Topics[motion] = Topic{Newest: fragment(90)}
		}, "yard away, log 1m30s, motion 0s"},
		"one that was never recorded":  {func(v *View) { clear(v.Topics) }, "yard live, log 1h0m0s"},
		"one whose footage has gone":   {func(v *View) { v.Topics = map[schemas.Topic]Topic{raw: {}} }, "yard live, log 1h0m0s"},
		"one whose index was not read": {func(v *View) { v.Topics = map[schemas.Topic]Topic{raw: {Unread: true}} }, "yard live"},
		"no status":                    {func(v *View) { clear(v.Status) }, "yard unowned, log 1s, motion 30s"},
		"an old status": {func(v *View) {
			v.Status["yard"] = schemas.Status{State: schemas.StateLive, Updated: now.Add(-31 * time.Second)}
		}, "yard stale, log 1s, motion 30s"},
		"a camera that is disabled": {func(v *View) { v.Cameras["yard"] = schemas.Camera{ID: "yard", Disabled: true} }, "yard disabled, motion 30s"},
		"a replay":                  {func(v *View) { v.Cameras["yard"] = schemas.Camera{ID: "yard", URL: "framelog://gate"} }, "yard live, motion 30s"},
		"a camera that was removed": {func(v *View) { clear(v.Cameras) }, "yard removed, motion 30s"},
		"a second stream, whose numbers are its own": {func(v *View) {
			v.Cameras["yard"] = schemas.Camera{ID: "yard", Substream: "rtsp://h/2"}
			v.Topics[sub] = Topic{Newest: with(fragment(90), func(e *schemas.Entry) { e.Life, e.Media = "other", 7 })}
		}, "yard live, log 1s, motion 30s, sub 1m30s"},
		"a second stream that has ended": {func(v *View) { v.Topics[sub] = Topic{Newest: fragment(90)} }, "yard live, log 1s, motion 30s"},
		"a second stream of a camera that is disabled": {func(v *View) {
			v.Cameras["yard"] = schemas.Camera{ID: "yard", Substream: "rtsp://h/2", Disabled: true}
			v.Topics[sub] = Topic{Newest: fragment(90)}
		}, "yard disabled, motion 30s"},
		"a group": {func(v *View) {
			v.Groups = []Group{{Name: "g", Topic: raw, Records: 7, At: position(fragment(19))}, {Name: "f", Topic: motion}, {Name: "f", Topic: schemas.Topic{Camera: "gone"}}}
		}, "yard live, log 1s, motion 30s, f of motion 0 0s, g of raw 7 20s"},
	} {
		r := Compute(view(tt.change))
		if len(r.Cameras) != 1 || text(r.Cameras[0]) != tt.want {
			t.Errorf("%s: %+v, want %s", what, r.Cameras, tt.want)
		}
	}
}

// An archiver waits until a minute of footage is complete. That alone makes no camera late.
func TestArchiversWait(t *testing.T) {
	raw := schemas.Topic{Camera: "yard"}
	for ago, want := range map[int64]time.Duration{60: 0, 178: time.Minute} {
		v := &View{At: now, Topics: map[schemas.Topic]Topic{raw: {Newest: fragment(0)}}, Groups: []Group{{Name: "site.framelog-archive", Topic: raw, At: position(fragment(ago))}}}
		c := Compute(v).Cameras[0]
		if time.Duration(c.Behind) != want || time.Duration(c.Groups[0].Seconds) != time.Duration(ago+2)*time.Second {
			t.Errorf("%d s behind: the camera is %v late, and its group %v behind", ago, time.Duration(c.Behind), time.Duration(c.Groups[0].Seconds))
		}
	}
}

func TestRetentionLeft(t *testing.T) {
	raw := schemas.Topic{Camera: "yard"}
	for what, tt := range map[string]struct {
		retention time.Duration
		topic     Topic
		group     Group
		want      string
	}{
		"nothing was removed yet":        {time.Hour, Topic{Newest: fragment(0), Oldest: fragment(598)}, Group{At: position(fragment(598))}, "50m0s"},
		"nothing is ever removed":        {0, Topic{Newest: fragment(0), Oldest: fragment(598)}, Group{At: position(fragment(598))}, "none"},
		"the topic is full":              {24 * time.Hour, Topic{Newest: fragment(0), Oldest: fragment(598), Trimmed: true}, Group{At: position(fragment(498))}, "1m40s"},
		"full, and nothing by time":      {0, Topic{Newest: fragment(0), Oldest: fragment(598), Trimmed: true}, Group{At: position(fragment(498))}, "1m40s"},
		"time is over before it is full": {9 * time.Minute, Topic{Newest: fragment(0), Oldest: fragment(598), Trimmed: true}, Group{At: position(fragment(498))}, "40s"},
		"at the oldest footage":          {24 * time.Hour, Topic{Newest: fragment(0), Oldest: fragment(598), Trimmed: true}, Group{At: position(fragment(598))}, "0s"},
		"its footage was removed":        {24 * time.Hour, Topic{Newest: fragment(0), Oldest: fragment(298), Trimmed: true}, Group{At: position(fragment(598))}, "0s"},
		"its entries were removed":       {24 * time.Hour, Topic{Newest: fragment(0), Trimmed: true}, Group{At: position(fragment(98)), Expired: true}, "0s"},
		"it has done all":                {time.Hour, Topic{Newest: fragment(3599), Oldest: fragment(3599), Trimmed: true}, Group{}, "none"},
	} {
		v := &View{At: now, Retention: tt.retention, Topics: map[schemas.Topic]Topic{raw: tt.topic}}
		tt.group.Topic = raw
		v.Groups = []Group{tt.group}
		got := "none"
		if left := Compute(v).Cameras[0].Groups[0].Left; left != nil {
			got = time.Duration(*left).String()
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", what, got, tt.want)
		}
	}
}

func TestOrder(t *testing.T) {
	v := &View{At: now, Cameras: map[string]schemas.Camera{}, Topics: map[schemas.Topic]Topic{}}
	for id, ago := range map[string]int64{"a": 20, "b": 14, "c": 1, "d": 90, "e": 0, "f": 20} {
		v.Cameras[id] = schemas.Camera{ID: id}
		v.Topics[schemas.Topic{Camera: id}] = Topic{Newest: fragment(ago), Oldest: fragment(ago + 8), Bytes: 1000}
	}
	v.Groups = []Group{{Name: "g", Topic: schemas.Topic{Camera: "e"}, Records: 3, At: position(fragment(28))}}
	r := Compute(v)
	var ids []string
	for _, c := range r.Cameras {
		ids = append(ids, c.ID)
	}
	if got := strings.Join(ids, ""); got != "deafbc" { // below 15 s they stand still
		t.Errorf("order %s", got)
	}
	only := r.For(func(camera string) bool { return camera == "e" })
	b, err := json.Marshal(only)
	const want = `{"at":"2026-11-28T12:00:00Z","up":true,"cameras":[{"id":"e","state":"unowned","problem":"no ingest process has taken it","behind_s":30.000,` +
		`"hops":[{"hop":"log","behind_s":0.000}],"groups":[{"group":"g","rendition":"raw","records":3,"behind_s":30.000,"retention_left_s":null}],` +
		`"topics":[{"rendition":"raw","bytes":1000,"span_s":10.000}],"dead_letters":[]}]}`
	if string(b) != want || err != nil || len(r.Cameras) != 6 {
		t.Errorf("for who may see e alone: %s, %v, want %s", b, err, want)
	}
}

func TestGaps(t *testing.T) {
	v := &View{At: now, Topics: map[schemas.Topic]Topic{
		{Camera: "yard"}:                          {Gaps: map[string]time.Duration{schemas.ReasonStorage: time.Minute, schemas.ReasonAbsent: time.Second}},
		{Camera: "yard", Rendition: "motion"}:     {Gaps: map[string]time.Duration{schemas.ReasonSkipped: time.Hour}},
		{Camera: "yard", Rendition: "dlq-motion"}: {},
		{Camera: "yard", Rendition: schemas.Sub}:  {Gaps: map[string]time.Duration{schemas.ReasonBudget: time.Second}},
	}}
	var b strings.Builder
	for _, g := range Compute(v).Cameras[0].Gaps {
		fmt.Fprintf(&b, "%s %s %v, ", g.Rendition, g.Reason, time.Duration(g.Seconds))
	}
	const want = "motion dead-letter 0s, motion expired 0s, motion skipped 1h0m0s, raw absent 1s, raw budget 0s, raw crash 0s, raw index 0s, raw produce 0s, raw storage 1m0s, raw too-large 0s, " +
		"sub budget 1s, sub crash 0s, sub index 0s, sub produce 0s, sub storage 0s, sub too-large 0s, "
	if b.String() != want {
		t.Errorf("%s, want %s", b.String(), want)
	}
}
