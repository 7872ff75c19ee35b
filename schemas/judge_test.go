package schemas

import (
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	open := func(at int64) Entry { return Entry{Kind: KindOpen, Offset: at, Prev: -1} }
	whole := func(at, prev int64) Entry {
		return Entry{Kind: KindWhole, Offset: at, Prev: prev}
	}
	for _, tc := range []struct {
		name    string
		records []Entry
		want    string // a letter a record
	}{
		{"a writer alone", []Entry{open(0), whole(1, 0), whole(2, 1)}, "vvv"},
		{"overtaken", []Entry{open(0), whole(1, 0), open(2), whole(3, 1), whole(4, 2)}, "vvvxv"},
		{"entries of a fenced writer between do no harm", []Entry{open(0), open(1), whole(2, 0), whole(3, 1), whole(4, 0), whole(5, 3)}, "vvxvxv"},
		{"a writer's entry twice", []Entry{open(0), whole(1, 0), whole(2, 0), whole(3, 2)}, "vvvv"},
		{"from the middle, a neighbour", []Entry{whole(7, 6), whole(8, 7)}, "vv"},
		{"from the middle, not a neighbour", []Entry{whole(7, 5), whole(8, 7)}, "?v"},
		{"from the middle, seen from behind prev on", []Entry{whole(7, 6), whole(8, 6)}, "vv"},
		{"from the middle, an open seen", []Entry{open(7), whole(8, 2)}, "vx"},
		{"no such prev", []Entry{open(0), whole(1, 1), whole(2, 9), whole(3, -1)}, "vxxx"},
	} {
		var j Judge
		var got strings.Builder
		for i := range tc.records {
			got.WriteString(map[Verdict]string{Valid: "v", Void: "x", Unknown: "?"}[j.Feed(&tc.records[i])])
		}
		if got.String() != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got.String(), tc.want)
		}
	}
}
