package main

import (
	"bytes"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/framelog/framelog/internal/app/config"
)

// TestTable: the entries agree with each other, and come in the order that the
// log needs: nothing is stopped before what writes to it.
func TestTable(t *testing.T) {
	var sections []string
	names, keys := map[string]bool{}, map[string]bool{}
	mux := http.NewServeMux()
	var order []string
	for _, r := range roles() {
		if r.name == "" || names[r.name] || r.section.Key != "" && keys[r.section.Key] {
			t.Errorf("%s: its name or its section %q is another role's too", r.name, r.section.Key)
		}
		names[r.name], keys[r.section.Key] = true, true
		order = append(order, r.name)
		if r.section.Key != "" {
			sections = append(sections, r.section.Key)
		}
		for _, route := range r.routes {
			mux.Handle(route, http.NotFoundHandler()) // panics if two are the same
		}
	}
	if slices.Sort(sections); !slices.Equal(sections, config.OfRoles) {
		t.Errorf("sections %v; config.OfRoles, which other programs skip, has %v", sections, config.OfRoles)
	}
	if !slices.IsSortedFunc([]string{"broker", "egress", "process", "ingest"}, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) }) {
		t.Errorf("order of starts: %v", order)
	}
}

// TestDemoAddress: the demo takes another port if its own is in use and nobody
// has set it, and says so.
func TestDemoAddress(t *testing.T) {
	cfg, err := loadConfig("", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	taken := busy(t)
	own := config.Get[demoConfig](cfg)
	own.Listen = taken
	var out bytes.Buffer
	u := &up{cfg: cfg, log: slog.New(slog.NewTextHandler(&out, nil))}
	if err := findDemoAddress(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if u.demo == taken || !strings.HasPrefix(u.demo, "127.0.0.1:") || own.Listen != u.demo {
		t.Errorf("it listens on %s, its cameras are at %s", own.Listen, u.demo)
	}
	for _, want := range []string{"level=WARN", "in_use=" + taken, "listen=" + u.demo, "demo.listen"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q lacks %q", out.String(), want)
		}
	}
}
