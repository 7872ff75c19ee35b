package testenv_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/framelog/framelog/tests/testenv"
)

// portsVariable makes this test program ask for ports, as another test process.
const portsVariable = "FRAMELOG_TEST_PORTS"

// No port is returned twice, not even by two test processes that run at the same
// time and do not listen yet.
func TestFreePort(t *testing.T) {
	const each = 300
	if os.Getenv(portsVariable) != "" {
		for range each {
			fmt.Println("port", testenv.FreePort(t))
		}
		_, _ = os.Stdin.Read(make([]byte, 1)) // until the other has its ports too
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestFreePort$")
	cmd.Env = append(os.Environ(), portsVariable+"=1")
	hold, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	other := testenv.Start(t, "other test process", cmd)
	given := map[string]int{}
	for range each {
		given[fmt.Sprint("port ", testenv.FreePort(t))]++
	}
	other.Wait(t, testenv.Patience, "all ports", func() bool { return strings.Count(other.Log.String(), "port ") == each })
	hold.Close()
	for line := range strings.Lines(other.Log.String()) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "port ") {
			given[line]++
		}
	}
	if len(given) != 2*each {
		t.Errorf("%d ports of %d", len(given), 2*each)
	}
}
