package faults

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/testenv"
)

// procRole is one role as a process of its own.
type procRole struct {
	*testenv.Process
	url string
}

// procStart starts `framelog ROLE` with a configuration, and waits until it is
// ready.
func procStart(t *testing.T, role, config string) *procRole {
	t.Helper()
	path := filepath.Join(t.TempDir(), role+".yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	addr, flag := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t)), "--http"
	if role == "egress" {
		flag = "--listen"
	}
	cmd := exec.CommandContext(context.Background(), testenv.Binary(t), role, "--config", path, flag, addr)
	p := &procRole{testenv.Start(t, "framelog "+role, cmd), "http://" + addr}
	p.Wait(t, 2*testenv.Patience, "ready", func() bool {
		status, _, err := testenv.Get(t, p.url+"/readyz")
		return err == nil && status == http.StatusOK
	})
	return p
}

// procComparable is a playlist as far as it depends on the log alone and not
// on the moment: without parts that are to come.
func procComparable(t *testing.T, base, id string) (from, to uint64, lines string) {
	t.Helper()
	p, u := procPlaylist(t, base, id)
	if p == nil || len(p.Segments) == 0 {
		return 0, 0, ""
	}
	_, body, err := testenv.Get(t, u)
	if err != nil {
		return 0, 0, ""
	}
	return p.Sequence, p.Segments[len(p.Segments)-1].Seq, string(body)
}

// All egress processes serve the same playlists and the same bytes, whatever
// their mode, and whether they saw the footage come or made it from the log.
func TestEgressProcessesAreAlike(t *testing.T) {
	t.Parallel()
	ids, config := procCameras(t, 2, 300)
	f := testenv.Up(t, testenv.UpOptions{Config: config + "egress:\n  window: 20s\n"})
	l := procConnect(t, f.Broker)
	l.grown(t, ids, time.Time{}, 1)
	more := func(mode string) string {
		dir := filepath.Join(t.TempDir(), mode)
		return fmt.Sprintf("listen: 127.0.0.1:0\ndata: %s\nbroker_listen: %s\negress:\n  window: 20s\n  mode: %s\n", dir, f.Broker, mode)
	}
	always := procStart(t, "egress", more("always"))
	demand := procStart(t, "egress", more("on_demand"))
	bases := []string{f.URL, always.url, demand.url}
	for _, id := range ids { // all see the footage come from here on
		for _, b := range bases {
			procFiles(t, b, id)
		}
	}
	l.grown(t, ids, time.Now(), 6)

	// Playlists are compared where all were fetched between two changes.
	same := func(what string, bases []string) {
		t.Helper()
		for _, id := range ids {
			var texts []string
			if !camWait(t, 3*testenv.Patience, func() bool {
				texts = make([]string, len(bases))
				var all sync.WaitGroup // at once: a part lasts 200 ms
				for i, b := range bases {
					all.Go(func() { _, _, texts[i] = procComparable(t, b, id) })
				}
				all.Wait()
				return texts[0] != "" && !differs(texts)
			}) {
				t.Errorf("%s: playlists of %s never agree:\n%s", what, id, strings.Join(texts, "\n---\n"))
			}
		}
	}
	same("running", bases)

	files := map[string]string{}
	for _, id := range ids {
		for path, sum := range procFiles(t, f.URL, id) {
			files[path] = sum
		}
	}
	procSame(t, always.url, files)
	procSame(t, demand.url, files)

	// After a restart nothing is cached: all is made from the log.
	if f.Kill(t, "egress") != 1 {
		t.Fatal("there is no egress to kill")
	}
	always.KillTree()
	again := procStart(t, "egress", more("always"))
	f.WaitReady(t)
	procSame(t, f.URL, files)
	procSame(t, again.url, files)
	same("started again", []string{f.URL, again.url, demand.url})
	// What has left the playlists is there as long as the log has it.
	fresh := procStart(t, "egress", more("on_demand"))
	procSame(t, fresh.url, files)
}

func differs(texts []string) bool {
	for _, x := range texts {
		if x != texts[0] {
			return true
		}
	}
	return false
}
