package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/framelog/framelog/tests/testenv"
)

// TestVersionCheck: everything that is wrong is told, each with a remedy.
func TestVersionCheck(t *testing.T) {
	t.Chdir(t.TempDir())
	check := func(text string, environ ...string) (string, error) {
		t.Helper()
		if err := os.WriteFile("framelog.yaml", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, out := versionCmd{settings: settings{Config: "framelog.yaml"}}, bytes.Buffer{}
		err := c.check(t.Context(), &out, environ)
		return out.String(), err
	}
	want := func(got string, wants ...string) {
		t.Helper()
		for _, w := range wants {
			if !strings.Contains(got, w) {
				t.Errorf("%s\nlacks %q", got, w)
			}
		}
	}
	nobody := testenv.Refusing(t)

	got, err := check(fmt.Sprintf("broker_listen: %s\nlistn: x\negress: {windw: 1m}\n", nobody), "FRAMELOG_LOG_LEVL=info")
	if err == nil || err.Error() != "there are 4 problems to solve before this version runs here" {
		t.Errorf("%v", err)
	}
	want(got,
		"PROBLEM  configuration framelog.yaml: framelog.yaml:2: listn: unknown key\n         → did you mean listen?\n",
		"PROBLEM  configuration framelog.yaml: framelog.yaml:3: egress.windw: unknown key\n         → did you mean window?\n",
		"PROBLEM  configuration framelog.yaml: FRAMELOG_LOG_LEVL: unknown environment variable\n         → did you mean FRAMELOG_LOG_LEVEL?\n",
		"PROBLEM  brokers: framelog.yaml:1: broker_listen: "+nobody+" does not answer: connection refused\n         → start framelog up",
	)

	// What cannot be read at all is told too, and the brokers are not asked.
	got, err = check("egress: {window: often}\n")
	if err == nil || err.Error() != "there is a problem to solve before this version runs here" {
		t.Errorf("%v", err)
	}
	want(got, `PROBLEM  configuration framelog.yaml: framelog.yaml:1: egress.window: "often": `, "brokers: not asked")
	got, err = check("processors:\n  - {name: motion, settings: {fps: 5, colour: red}}\n  - {name: transcode, settings: {ladder: [{name: low}, {name: low}]}}\n")
	if err == nil || err.Error() != "there are 2 problems to solve before this version runs here" {
		t.Errorf("%v", err)
	}
	want(got, "framelog.yaml:2: processors[0].settings.colour: unknown key", "framelog.yaml:3: processors[1]")
}
