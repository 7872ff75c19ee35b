package faults

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// All egress processes serve the same playlists and the same bytes, whatever their
// mode, and whether they followed the footage or read it back from the log.
func TestEgressProcessesAreAlike(t *testing.T) {
	t.Parallel()
	s := start(t, simple(2, 300), "egress:\n  window: 20s\n")
	s.allGrown(t, s.ids, time.Time{}, 1)
	more := func(mode string) string {
		dir := filepath.Join(t.TempDir(), mode)
		return fmt.Sprintf("listen: 127.0.0.1:0\ndata: %s\nbroker_listen: %s\negress:\n  window: 20s\n  mode: %s\n", dir, s.Broker, mode)
	}
	always := startRole(t, "egress", more("always"))
	demand := startRole(t, "egress", more("on_demand"))
	bases := []string{s.URL, always.url, demand.url}
	for _, id := range s.ids { // from here on all follow the cameras
		for _, b := range bases {
			fileHashes(t, b, id)
		}
	}
	s.allGrown(t, s.ids, time.Now(), 6)

	// Playlists are compared when all were fetched between two changes.
	same := func(what string, bases []string) {
		t.Helper()
		for _, id := range s.ids {
			var texts []string
			if !testenv.Poll(t, 3*testenv.Patience, func() bool {
				texts = make([]string, len(bases))
				var all sync.WaitGroup // at once: a part lasts 200 ms
				for i, b := range bases {
					all.Go(func() {
						if p := system.MediaPlaylist(t, system.Multivariant(b, id)); p != nil && len(p.Segments) > 0 {
							texts[i] = p.Text
						}
					})
				}
				all.Wait()
				return texts[0] != "" && len(slices.Compact(slices.Clone(texts))) == 1
			}) {
				t.Errorf("%s: playlists of %s never agree:\n%s", what, id, strings.Join(texts, "\n---\n"))
			}
		}
	}
	same("running", bases)

	files := map[string]string{}
	for _, id := range s.ids {
		maps.Copy(files, fileHashes(t, s.URL, id))
	}
	checkFiles(t, always.url, files)
	checkFiles(t, demand.url, files)

	// After a restart nothing is cached: all is read back from the log.
	if s.Kill(t, "egress") != 1 {
		t.Fatal("there is no egress to kill")
	}
	always.KillTree()
	again := startRole(t, "egress", more("always"))
	s.WaitReady(t)
	checkFiles(t, s.URL, files)
	checkFiles(t, again.url, files)
	same("started again", []string{s.URL, again.url, demand.url})
	// What has left the playlists is served as long as the log has it.
	fresh := startRole(t, "egress", more("on_demand"))
	checkFiles(t, fresh.url, files)
}
