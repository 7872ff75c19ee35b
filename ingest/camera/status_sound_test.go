package camera

import "testing"

func TestShownProblem(t *testing.T) {
	for _, c := range []struct {
		problems [problemKinds]string
		want     string
	}{
		{[problemKinds]string{}, ""},
		{[problemKinds]string{problemSound: "sound"}, "sound"},
		{[problemKinds]string{problemSource: "source"}, "source"},
		{[problemKinds]string{problemSource: "source", problemSound: "sound"}, "source; sound"},
		{[problemKinds]string{problemLog: "log", problemSource: "source", problemSound: "sound"}, "log; sound"},
	} {
		if got := shownProblem(c.problems); got != c.want {
			t.Errorf("%q of %q, want %q", got, c.problems, c.want)
		}
	}
}
