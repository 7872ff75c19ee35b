package testenv

import (
	"os"
	"testing"
)

// IsLong reports whether FRAMELOG_TEST_LONG is 1, as in `make test-long`.
func IsLong() bool { return os.Getenv("FRAMELOG_TEST_LONG") == "1" }

// Long skips a test that takes long, unless IsLong.
func Long(t testing.TB) {
	t.Helper()
	if !IsLong() {
		t.Skip("testenv: this test takes long: FRAMELOG_TEST_LONG=1 runs it (make test-long)")
	}
}

// SkipRace skips a test of one goroutine that computes for long, under the race detector,
// which makes it ten times slower and finds nothing there. The Makefile's target test-go runs
// it without.
func SkipRace(t testing.TB) {
	t.Helper()
	if raceEnabled {
		t.Skip("testenv: one goroutine that computes for long: make test runs this test without the race detector")
	}
}
