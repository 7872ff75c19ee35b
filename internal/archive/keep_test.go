package archive

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
)

// Retention at every edge: what is exactly as old or as large as allowed, what is held, which
// limit counts, and in which order files go.
func TestDecide(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	// kept is a file of 10 bytes that was archived some minutes ago.
	kept := func(topic string, first uint64, minutes int) stored {
		camera, rendition, _ := strings.Cut(topic, "/")
		return stored{Kept: Kept{
			Series: Series{"life", schemas.Topic{Camera: camera, Rendition: rendition}}, First: first, Last: first,
			Size: 10, Written: now.Add(-time.Duration(minutes) * time.Minute),
		}}
	}
	held := func(f stored) stored { f.held = true; return f }
	newest := func(f stored) stored { f.newest = true; return f }
	hidden := func(f stored) stored { f.hidden = now; return f }
	three := []stored{kept("yard", 1, 30), kept("yard", 2, 20), kept("gate", 1, 25)}
	const much = 1 << 40
	for name, c := range map[string]struct {
		config KeepConfig
		files  []stored
		free   int64
		want   string // deleted, in order
		over   int64
	}{
		"no limit is reached":                {KeepConfig{Limit: 30, MaxAge: 31 * time.Minute}, three, 0, "", 0},
		"as old as allowed":                  {KeepConfig{Limit: much, MaxAge: 25 * time.Minute}, three, 0, "yard/1:age gate/1:age", 0},
		"almost":                             {KeepConfig{Limit: much, MaxAge: 25*time.Minute + 1}, three, 0, "yard/1:age", 0},
		"one byte too much":                  {KeepConfig{Limit: 29}, three, 0, "yard/1:limit", 0},
		"the oldest of all cameras go":       {KeepConfig{Limit: 10}, three, 0, "yard/1:limit gate/1:limit", 0},
		"what is too old makes room":         {KeepConfig{Limit: 20, MaxAge: 30 * time.Minute}, three, 0, "yard/1:age", 0},
		"nothing may stay":                   {KeepConfig{Limit: 1}, three, 0, "yard/1:limit gate/1:limit yard/2:limit", 0},
		"the next one goes for a held one":   {KeepConfig{Limit: 20}, []stored{held(three[0]), three[1], three[2]}, 0, "gate/1:limit", 0},
		"held is not too old":                {KeepConfig{Limit: much, MaxAge: time.Minute}, []stored{held(three[0]), three[1]}, 0, "yard/2:age", 0},
		"all is held":                        {KeepConfig{Limit: 5}, []stored{held(three[0]), held(three[1])}, 0, "", 15},
		"30 are 80 % of 38":                  {KeepConfig{}, three, 8, "", 0},
		"30 are more than 80 % of 37":        {KeepConfig{}, three, 7, "yard/1:limit", 0},
		"a reserve is there":                 {KeepConfig{Limit: much, Reserve: 50}, three, 50, "", 0},
		"a reserve lacks a byte":             {KeepConfig{Limit: much, Reserve: 51}, three, 50, "yard/1:space", 0},
		"a reserve larger than all":          {KeepConfig{Limit: much, Reserve: much}, three, 50, "yard/1:space gate/1:space yard/2:space", 0},
		"hidden files are as good as free":   {KeepConfig{Limit: much, Reserve: 60}, append([]stored{hidden(kept("yard", 9, 40))}, three...), 50, "", 0},
		"hidden files are not counted":       {KeepConfig{Limit: 30, MaxAge: 31 * time.Minute}, append([]stored{hidden(kept("yard", 9, 40))}, three...), 0, "", 0},
		"a rule's age":                       {KeepConfig{Limit: much, MaxAge: time.Minute, Rules: []KeepRule{{Cameras: []string{"y*"}, MaxAge: 25 * time.Minute}}}, three, 0, "yard/1:age gate/1:age", 0},
		"a rule without an age":              {KeepConfig{Limit: much, MaxAge: 21 * time.Minute, Rules: []KeepRule{{Limit: much}}}, three, 0, "yard/1:age gate/1:age", 0},
		"a rule's limit, of each camera":     {KeepConfig{Limit: much, Rules: []KeepRule{{Limit: 10}}}, three, 0, "yard/1:limit", 0},
		"a rule's limit, of each rendition":  {KeepConfig{Limit: much, Rules: []KeepRule{{Limit: 10}}}, []stored{kept("yard", 1, 30), kept("yard/720p", 1, 30)}, 0, "", 0},
		"a rule of a rendition":              {KeepConfig{Limit: much, Rules: []KeepRule{{Renditions: []string{"raw"}, MaxAge: time.Minute}}}, []stored{kept("yard", 1, 30), kept("yard/720p", 1, 30)}, 0, "yard/1:age", 0},
		"the first rule that fits counts":    {KeepConfig{Limit: much, Rules: []KeepRule{{Cameras: []string{"yard"}, MaxAge: time.Hour}, {MaxAge: time.Minute}}}, three, 0, "gate/1:age", 0},
		"held within a rule's limit":         {KeepConfig{Limit: much, Rules: []KeepRule{{Limit: 10}}}, []stored{held(three[0]), held(three[1]), three[2]}, 0, "", 10},
		"the newest stay":                    {KeepConfig{Limit: 1, Newest: 25*time.Minute + 1}, []stored{three[0], newest(three[1]), newest(three[2])}, 0, "yard/1:limit", 19},
		"the newest stay for a while":        {KeepConfig{Limit: 1, Newest: 25 * time.Minute}, []stored{three[0], newest(three[1]), newest(three[2])}, 0, "yard/1:limit gate/1:limit", 9},
		"the newest may be old":              {KeepConfig{Limit: much, MaxAge: 1, Newest: 25 * time.Minute}, []stored{newest(three[0]), newest(three[1])}, 0, "yard/1:age", 0},
		"both limits, and the oldest before": {KeepConfig{Limit: 10, Rules: []KeepRule{{Cameras: []string{"gate"}, Limit: 5}}}, three, 0, "yard/1:limit gate/1:limit", 0},
	} {
		t.Run(name, func(t *testing.T) {
			d := c.config.decide(slices.Clone(c.files), now, c.free)
			var got []string
			for _, f := range d.deleted {
				got = append(got, fmt.Sprintf("%s/%d:%s", f.Topic, f.First, f.reason))
			}
			if s := strings.Join(got, " "); s != c.want || d.over != c.over {
				t.Errorf("deletes %q, %d bytes over; want %q, %d", s, d.over, c.want, c.over)
			}
		})
	}
}
