package testenv

import "testing"

func TestCrashIsSeen(t *testing.T) {
	for line, want := range map[string]bool{
		"WARNING: DATA RACE":                                   true,
		"panic: runtime error: invalid memory address":         true,
		"fatal error: concurrent map writes":                   true,
		"SIGABRT: abort":                                       true,
		`time=x level=WARN msg="panic: at the disco" role=up`:  true,
		`time=x msg="child ended" why="signal: aborted" in=1s`: true,
		`time=x msg="child ended" why="signal: killed" in=1s`:  false, // a test did it
		`time=x msg="camera panicked" err="panic: it broke"`:   false, // nothing else prints that
		"GET /panic: 404":                                      false,
	} {
		if got := crash.MatchString("before\n" + line + "\nafter\n"); got != want {
			t.Errorf("%s: %v", line, got)
		}
	}
}
