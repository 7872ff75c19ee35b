package testenv

import (
	"os"
	"testing"
)

// Long skips a test that takes long, unless FRAMELOG_TEST_LONG is 1.
func Long(t testing.TB) {
	t.Helper()
	if os.Getenv("FRAMELOG_TEST_LONG") != "1" {
		t.Skip("testenv: this test takes long: FRAMELOG_TEST_LONG=1 runs it (make test-long)")
	}
}
