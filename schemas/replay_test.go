package schemas

import (
	"strings"
	"testing"
	"time"
)

func TestParseReplay(t *testing.T) {
	const times = "from=2026-01-31T08:00:00Z&to=2026-01-31T08:05:00.25Z"
	for _, c := range []struct{ url, want string }{
		{"framelog://yard?" + times, "framelog://yard/raw?" + times},
		{"FRAMELOG://yard/raw?" + times + "&speed=1", "framelog://yard/raw?" + times},
		{"framelog://yard/720p?to=2026-01-31T09:05:00.25%2B01:00&from=2026-01-31T08:00:00Z", "framelog://yard/720p?" + times},
		{"framelog://yard/raw?" + times + "&speed=fast&run=a1", "framelog://yard/raw?" + times + "&speed=fast&run=a1"},
		{"framelog://yard/raw?" + times + "&loop=1&speed=0.50", "framelog://yard/raw?" + times + "&speed=0.5&loop=true"},

		{"rtsp://yard?" + times, "malformed"},
		{"framelog:yard?" + times, "malformed"},
		{"framelog://yard?" + times + "#x", "malformed"},
		{"framelog://u:p@yard?" + times, "no user"},
		{"framelog://yard:1?" + times, "no port"},
		{"framelog://?" + times, "camera id"},
		{"framelog://Yard/?" + times, "camera id"},
		{"framelog://yard/a/b?" + times, "rendition"},
		{"framelog://yard/index?" + times, "rendition"},
		{"framelog://yard", "from or to is missing"},
		{"framelog://yard?from=2026-01-31T08:00:00Z", "from or to is missing"},
		{"framelog://yard?from=2026-01-31T08:00:00Z&to=2026-01-31T08:00:00Z", "not before"},
		{"framelog://yard?from=-10m&to=2026-01-31T08:00:00Z", `from "-10m"`},
		{"framelog://yard?" + times + "&to=2026-01-31T08:00:00Z", "2 times"},
		{"framelog://yard?" + times + "&speed=0", "malformed"},
		{"framelog://yard?" + times + "&speed=-1", "want 0.01 to 1000"},
		{"framelog://yard?" + times + "&speed=NaN", "want 0.01 to 1000"},
		{"framelog://yard?" + times + "&speed=1001", "want 0.01 to 1000"},
		{"framelog://yard?" + times + "&speed=fast&loop=true", "without end"},
		{"framelog://yard?" + times + "&run=../x", "malformed"},
		{"framelog://yard?" + times + "&seed=2", "no parameter"},
		{"framelog://yard?" + times + "&run=%zz", "malformed"},
	} {
		r, err := ParseReplay(c.url)
		switch {
		case err != nil && !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: %v, want %s", c.url, err, c.want)
		case err == nil && r.URL() != c.want:
			t.Errorf("%s: is %s, want %s", c.url, r.URL(), c.want)
		}
		if err == nil {
			if again, err := ParseReplay(r.URL()); err != nil || again.URL() != r.URL() {
				t.Errorf("%s: read again: %v, %v", c.url, again, err)
			}
		}
	}
}

// A replay knows its own footage by the lineage, and its round.
func TestReplayLineage(t *testing.T) {
	at := time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)
	r := Replay{Of: Topic{Camera: "yard"}, From: at, To: at.Add(time.Minute), Speed: 1}
	other := r
	other.Run = "a1"
	l := r.Lineage("cam.yard", 7, 3)
	if l.Source != "cam.yard" || l.Seq != 7 || l.Processor != ReplayProcessor {
		t.Errorf("lineage %+v", l)
	}
	if n, ok := r.Round(l); n != 3 || !ok {
		t.Errorf("round %d, %v", n, ok)
	}
	for name, l := range map[string]*Lineage{"none": nil, "another run": other.Lineage("cam.yard", 7, 3), "a processor": {Processor: "motion", Version: l.Version}} {
		if n, ok := r.Round(l); ok {
			t.Errorf("%s: round %d", name, n)
		}
	}
}

func FuzzParseReplay(f *testing.F) {
	f.Add("framelog://yard/raw?from=2026-01-31T08:00:00Z&to=2026-01-31T08:05:00Z&speed=2&loop=true&run=a1")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReplay(s)
		if err != nil {
			return
		}
		if again, err := ParseReplay(r.URL()); err != nil || again.URL() != r.URL() || again.RunName() != r.RunName() {
			t.Errorf("%q: read again: %v, %v", s, again, err)
		}
	})
}
