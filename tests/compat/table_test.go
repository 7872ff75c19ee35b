package compat

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/testenv"
)

var update = flag.Bool("update", false, "write what was found into the tables of docs/")

// table is a table in a file of docs/, between two comments that name it. A row is
// identified by its first cell.
type table struct {
	file, name string
	head       []string
	rows       [][]string
}

// untried is the cell for what was not tried.
const untried = "—"

// about formats a measured time in a cell. Measured times are not compared.
func about(d time.Duration) string {
	return fmt.Sprintf("≈ %.1f s", d.Round(500*time.Millisecond).Seconds())
}

var measured = regexp.MustCompile(`(, )?≈ -?[0-9.]+ s`)

// find returns where the table's rows are in a file.
func (x table) find(t *testing.T, text string) (from, to int) {
	t.Helper()
	begin, end := "<!-- "+x.name+": begin -->\n", "<!-- "+x.name+": end -->"
	from, to = strings.Index(text, begin), strings.Index(text, end)
	if from < 0 || to < from {
		t.Fatalf("%s has no table %q", x.file, x.name)
	}
	return from + len(begin), to
}

// check compares what was found with the table in docs/, or writes it there. A cell may name what was found in
// different runs, as "stops or plays on". Cells
// of what was not tried (a player is not installed, or -run left it out) stay as
// they are.
func (x table) check(t *testing.T) {
	t.Helper()
	path := filepath.Join(testenv.Root(t), "docs", x.file)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	from, to := x.find(t, text)
	old := map[string][]string{}
	var order []string
	for line := range strings.Lines(text[from:to]) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) == len(x.head) && cells[0] != x.head[0] && !strings.HasPrefix(cells[0], "--") {
			old[cells[0]] = cells
			order = append(order, cells[0])
		}
	}
	if *update {
		now := map[string][]string{}
		for _, r := range x.rows {
			now[r[0]] = r
			if old[r[0]] == nil {
				order = append(order, r[0])
				continue
			}
			for i := range r {
				if r[i] == untried {
					r[i] = old[r[0]][i]
				}
			}
		}
		var s strings.Builder
		line := func(cells []string) { fmt.Fprintf(&s, "| %s |\n", strings.Join(cells, " | ")) }
		line(x.head)
		s.WriteString(strings.Repeat("|---", len(x.head)) + "|\n")
		for _, name := range order {
			row := now[name]
			if row == nil {
				row = old[name]
			}
			line(row)
		}
		if err := os.WriteFile(path, []byte(text[:from]+s.String()+text[to:]), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, r := range x.rows {
		is := old[r[0]]
		if is == nil {
			t.Errorf("docs/%s: no row %q; found: %s", x.file, r[0], strings.Join(r, " | "))
			continue
		}
		for i := range r {
			if r[i] == untried {
				continue
			}
			has, found := measured.ReplaceAllString(is[i], ""), measured.ReplaceAllString(r[i], "")
			if has != found && !slices.Contains(strings.Split(has, " or "), found) {
				t.Errorf("docs/%s, %q, %q: the table has %q, found: %q", x.file, r[0], x.head[i], is[i], r[i])
			}
		}
	}
}
