package e2e

import (
	"fmt"
	"os/exec"
	"testing"

	"github.com/framelog/framelog/tests/testenv"
)

// TestPageSaysThatBrokersAreAway: egress that waits for its brokers serves the
// page, and the page says why it shows no camera.
func TestPageSaysThatBrokersAreAway(t *testing.T) {
	browser := testenv.Chromium(t)
	listen := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))
	egress := testenv.Start(t, "egress", exec.Command(testenv.Binary(t), "egress", "--data", t.TempDir(), "--brokers", "127.0.0.1:1", "--listen", listen))
	egress.Wait(t, testenv.Patience, "the page", func() bool {
		code, _, err := testenv.Get(t, "http://"+listen+"/")
		return err == nil && code == 200
	})
	page := browser.Open(t, "http://"+listen+"/")
	page.Wait(testenv.Patience, "document.body.classList.contains('offline') && document.getElementById('offline').textContent === 'The brokers do not answer: connection refused. Trying again…'")
}
