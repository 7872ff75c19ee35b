// Package media compares the frames that came out of a system with those that went
// in.
package media

import (
	"fmt"
	"strings"

	"github.com/framelog/framelog/tests/testenv"
)

// Diff tells where got differs from want; "" if all frames are the same.
func Diff(want, got []testenv.Hash) string {
	for i := range min(len(want), len(got)) {
		if want[i].Sum != got[i].Sum {
			return fmt.Sprintf("frame %d of %d differs%s", i, len(want), whence(want, got[i].Sum, i))
		}
	}
	switch {
	case len(got) < len(want):
		return fmt.Sprintf("%d frames of %d: the last %d are missing", len(got), len(want), len(want)-len(got))
	case len(got) > len(want):
		return fmt.Sprintf("%d frames too many behind the %d", len(got)-len(want), len(want))
	}
	return ""
}

// whence tells where a frame that is in the wrong place belongs.
func whence(want []testenv.Hash, sum string, at int) string {
	for d := 1; d < len(want); d++ {
		if i := at + d; i < len(want) && want[i].Sum == sum {
			return fmt.Sprintf(": it is frame %d, %d are missing", i, d)
		}
		if i := at - d; i >= 0 && want[i].Sum == sum {
			return fmt.Sprintf(": it is frame %d once more", i)
		}
	}
	return ": it is no frame of the source (damaged?)"
}

// Window tells where got differs from a run of frames within want, as a client sees
// that joins late or leaves early. from is the index in want at which the run
// begins.
func Window(want, got []testenv.Hash) (from int, diff string) {
	if len(got) == 0 {
		return 0, "no frames"
	}
	for from = range want {
		if want[from].Sum == got[0].Sum {
			return from, Diff(want[from:min(len(want), from+len(got))], got)
		}
	}
	return 0, "the first frame is no frame of the source"
}

// Loops is Window for a source that plays want over and over.
func Loops(want, got []testenv.Hash) (from int, diff string) {
	if len(want) == 0 {
		return 0, "no source"
	}
	var all []testenv.Hash
	for len(all) < len(want)+len(got) {
		all = append(all, want...)
	}
	return Window(all, got)
}

// Summary describes a sequence in one line, for logs.
func Summary(h []testenv.Hash) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d frames", len(h))
	if len(h) > 0 {
		fmt.Fprintf(&b, ", %d..%d, %.8s..%.8s", h[0].PTS, h[len(h)-1].PTS, h[0].Sum, h[len(h)-1].Sum)
	}
	return b.String()
}
