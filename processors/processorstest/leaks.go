package processorstest

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// spareFiles is how many open files may be there more than before: libraries open some
// once. A processor that leaves one behind each time leaves at least minCalls.
const spareFiles = 8

// stock is what a process holds.
type stock struct {
	goroutines map[string]int // by the line that started them
	files      int            // open files; 0 where that is not known
}

var creator = regexp.MustCompile(`(?m)^created by (.*?)(?: in goroutine \d+)?\n\t(\S+)`)

func takeStock() stock {
	runtime.GC() // what has a finalizer goes
	buf := make([]byte, 1<<16)
	for n := runtime.Stack(buf, true); n == len(buf); n = runtime.Stack(buf, true) {
		buf = make([]byte, 2*len(buf))
	}
	s := stock{goroutines: map[string]int{}}
	for g := range strings.SplitSeq(string(buf), "\n\n") {
		if m := creator.FindStringSubmatch(g); m != nil {
			s.goroutines[m[1]+" ("+m[2]+")"]++
		}
	}
	if files, err := os.ReadDir("/proc/self/fd"); err == nil {
		s.files = len(files)
	}
	return s
}

// compare reports what is there more than before, once it has had time to end.
func (before stock) compare(t testing.TB) {
	t.Helper()
	var leaks []string
	for end := time.Now().Add(soon); ; time.Sleep(10 * time.Millisecond) {
		if leaks = before.leaks(takeStock()); leaks == nil {
			return
		}
		if time.Now().After(end) {
			break
		}
	}
	for _, l := range leaks {
		t.Errorf("the processor leaves something behind after all its calls have returned: %s", l)
	}
}

func (before stock) leaks(now stock) (leaks []string) {
	for _, by := range slices.Sorted(maps.Keys(now.goroutines)) {
		if n := now.goroutines[by] - before.goroutines[by]; n > 0 {
			leaks = append(leaks, fmt.Sprintf("%d goroutines, started by %s", n, by))
		}
	}
	if n := now.files - before.files; n > spareFiles {
		leaks = append(leaks, fmt.Sprintf("%d open files", n))
	}
	return leaks
}
