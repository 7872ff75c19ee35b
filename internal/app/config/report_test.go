package config

import (
	"slices"
	"strings"
	"testing"
)

// renamedKeys are a section whose keys had other names.
type renamedKeys struct {
	Window Duration `yaml:"window" was:"length,span" default:"60s"`
	Hosts  []string `yaml:"hosts" default:""`
}

// An old name is read as the new one. With Report, what is unknown and what has an old name
// is told, all of it, and the rest is read.
func TestOldNames(t *testing.T) {
	text := "listen: 127.0.0.1:1\nlistn: x\nview: {span: 2m, hsts: [a]}\n"
	environ := []string{"FRAMELOG_VIEW_LENGTH=3m", "FRAMELOG_VIEW_HOSTS=b", "FRAMELOG_LITSEN=y"}
	loader := func() (Loader, *renamedKeys) {
		into := new(renamedKeys)
		return Loader{Sections: Sections{{Key: "view", Into: into}}}, into
	}
	file := func(text string) string {
		_, _ = load(t, text, nil, nil) // writes the file
		return "framelog.yaml"
	}

	l, got := loader()
	if _, err := l.Load(file("view: {span: 2m}\n"), nil, nil); err != nil || got.Window.String() != "2m" {
		t.Errorf("an old name: %v, %v", got.Window, err)
	}
	l, _ = loader()
	if _, err := l.Load(file("view: {span: 2m, window: 1m}\n"), nil, nil); err == nil || err.Error() != "framelog.yaml:1: view.window: stands here twice; remove one" {
		t.Errorf("both names: %v", err)
	}
	l, _ = loader()
	if _, err := l.Load(file(text), nil, nil); err == nil || err.Error() != "framelog.yaml:2: listn: unknown key; did you mean listen?" {
		t.Errorf("without Report: %v", err)
	}

	var told []string
	l, got = loader()
	l.Report = func(e *Error, old bool) {
		if old != strings.Contains(e.What, "the old name") {
			t.Errorf("%v: old is %v", e, old)
		}
		told = append(told, e.Error())
	}
	c, err := l.Load(file(text), environ, nil)
	if err != nil || c.Listen != "127.0.0.1:1" || got.Window.String() != "3m" || !slices.Equal(got.Hosts, []string{"b"}) {
		t.Fatalf("%+v, %+v, %v", c, got, err)
	}
	want := []string{
		"framelog.yaml:2: listn: unknown key; did you mean listen?",
		"framelog.yaml:3: view.span: the old name of view.window; write view.window; the old name is read for one more version",
		"framelog.yaml:3: view.hsts: unknown key; did you mean hosts?",
		"FRAMELOG_LITSEN: unknown environment variable; did you mean FRAMELOG_LISTEN?",
		"FRAMELOG_VIEW_LENGTH: the old name of FRAMELOG_VIEW_WINDOW; write FRAMELOG_VIEW_WINDOW; the old name is read for one more version",
	}
	if !slices.Equal(told, want) {
		t.Errorf("got  %q\nwant %q", told, want)
	}
}
