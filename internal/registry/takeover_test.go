package registry

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

func TestPlanTakeOver(t *testing.T) {
	have := map[string]schemas.Camera{
		"a":    fileCamera("a", "/old.yaml:3"),
		"b":    fileCamera("b", "/old.yaml:5"),
		"c":    fileCamera("c", "/other.yaml:3"),
		"d":    fileCamera("d", "/new.yaml:3"),
		"demo": fileCamera("demo", "demo:1"),
		"hand": apiCamera("hand"),
	}
	var asked []string
	got := planTakeOver(have, "/new.yaml", func(old string, ids []string) bool {
		asked = append(asked, fmt.Sprint(old, ids))
		return old == "/old.yaml"
	})
	slices.Sort(asked)
	if fmt.Sprint(got) != "map[/old.yaml:[a b]]" || fmt.Sprint(asked) != "[/old.yaml[a b] /other.yaml[c] demo[demo]]" {
		t.Errorf("got %v, asked for %v", got, asked)
	}
}

// TestTakeOver: a file that was renamed is its cameras' keeper, and those that
// it has no more are pruned as ever.
func TestTakeOver(t *testing.T) {
	b := newBroker(t)
	c := connect(t, b)
	ctx := limit(t, 2*testenv.Patience)
	must(t, c.Ensure(ctx))
	must(t, c.Put(ctx, apiCamera("hand")))
	_, err := c.Reconcile(ctx, "/old.yaml", []schemas.Camera{fileCamera("one", "/old.yaml:2"), fileCamera("two", "/old.yaml:4")}, true)
	must(t, err)
	cams := []schemas.Camera{fileCamera("one", "/new.yaml:7")}
	_, err = c.Reconcile(ctx, "/new.yaml", cams, true)
	if err == nil || !strings.Contains(err.Error(), "/new.yaml:7") || !strings.Contains(err.Error(), "/old.yaml:2") ||
		!strings.Contains(err.Error(), "framelog cameras apply -f /new.yaml --take-over /old.yaml") {
		t.Errorf("error %v", err)
	}
	taken, err := c.TakeOver(ctx, "/new.yaml", func(string, []string) bool { return true })
	if err != nil || fmt.Sprint(taken) != "map[/old.yaml:[one two]]" {
		t.Fatalf("%v, %v", taken, err)
	}
	if r, err := c.Reconcile(ctx, "/new.yaml", cams, true); err != nil || fmt.Sprint(r.Changed, r.Removed) != "[one] [two]" {
		t.Errorf("%+v, %v", r, err)
	}
	s, err := c.Load(ctx)
	if err != nil || ids(s) != "hand one" || s.Cameras["one"].Origin != "/new.yaml:7" || s.Cameras["hand"].Origin != "" {
		t.Errorf("%v, %v", s.Cameras, err)
	}
}
