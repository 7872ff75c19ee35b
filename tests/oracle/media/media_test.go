package media_test

import (
	"strings"
	"testing"

	"github.com/framelog/framelog/tests/oracle/media"
	"github.com/framelog/framelog/tests/testenv"
)

func hashes(s string) []testenv.Hash {
	var h []testenv.Hash
	for _, r := range s {
		h = append(h, testenv.Hash{Sum: string(r)})
	}
	return h
}

func TestDiff(t *testing.T) {
	for _, c := range []struct{ want, got, diff string }{
		{"abcdef", "abcdef", ""},
		{"abcdef", "abcde", "the last 1 are missing"},
		{"abcdef", "abdef", "frame 2 of 6 differs: it is frame 3, 1 are missing"},
		{"abcdef", "abbcdef", "it is frame 1 once more"},
		{"abcdef", "abXdef", "no frame of the source"},
		{"abcdef", "abcdefg", "1 frames too many"},
		{"", "", ""},
	} {
		if d := media.Diff(hashes(c.want), hashes(c.got)); d != c.diff && (c.diff == "" || !strings.Contains(d, c.diff)) {
			t.Errorf("%s, %s: %q, want %q", c.want, c.got, d, c.diff)
		}
	}
}

func TestWindow(t *testing.T) {
	for _, c := range []struct {
		want, got string
		from      int
		ok        bool
	}{
		{"abcdef", "cde", 2, true},
		{"abcdef", "ce", 2, false},
		{"abcdef", "", 0, false},
		{"abcdef", "efg", 4, false},
	} {
		if from, d := media.Window(hashes(c.want), hashes(c.got)); from != c.from || (d == "") != c.ok {
			t.Errorf("%s in %s: from %d, %q", c.got, c.want, from, d)
		}
	}
	if from, d := media.Loops(hashes("abc"), hashes("cabcab")); from != 2 || d != "" {
		t.Errorf("loops: from %d, %q", from, d)
	}
	if _, d := media.Loops(hashes("abc"), hashes("cacab")); d == "" {
		t.Error("a hole in a loop")
	}
}
