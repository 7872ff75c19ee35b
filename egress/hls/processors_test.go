package hls

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// toldRenditions is what a server tells of a camera's renditions, a line each.
func toldRenditions(t *testing.T, s *Server, camera string) string {
	t.Helper()
	all, err := s.Renditions(t.Context(), camera)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range all {
		behind := "?"
		if r.OK {
			behind = r.Behind.String()
		}
		out = append(out, strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s %d %s", r.Name, r.Role, r.Processor, widthOf(r), r.Newest.Seq-testPlace.Seq, behind)), " "))
	}
	return strings.Join(out, ", ")
}

func widthOf(r Rendition) string {
	if r.Width == 0 {
		return ""
	}
	return fmt.Sprintf("%dpx", r.Width)
}

// What processors make of a camera, and how many seconds each is behind: of topics that
// nobody watches it is read, of others it is known.
func TestRenditions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		raw := testmedia.Synthetic(testPlace, 10) // of 1 s each
		small := derived(raw, schemas.RoleVariant, 160)
		for _, f := range small {
			f.Chunks[0].Lineage = &schemas.Lineage{Processor: "transcode"}
		}
		redacted := derived(raw[:3], schemas.RoleAlternative, 320)
		old := derived(raw[:2], schemas.RoleData, 320)
		for i := range old {
			old[i].Entry.Life = "before-a-purge"
		}
		log.add("cam", raw[:9]...)
		log.add("cam/small", small[:8]...)
		log.update("cam/redacted", func(topic *fakeTopic) {
			topic.events = append(topic.events, opened(3, "redact"))
		})
		log.add("cam/redacted", redacted...)
		log.add("cam/dlq-redact", derived(raw[4:5], schemas.RoleDeadLetter, 320)...)
		log.add("cam/old", old...)
		log.add("cam/sub", derived(raw[:1], schemas.RoleAlternative, 160)...) // it has numbers of its own
		log.update("cam/begins", func(*fakeTopic) {})
		log.add("other/small", small[:1]...)
		s := run(t, Config{}, log)
		want0 := "raw 8 ?, dlq-redact dead-letter 320px 4 ?, old data 320px 1 ?, redacted alternative redact 320px 2 6s, small variant transcode 160px 7 1s, sub alternative 0 ?"
		if got := toldRenditions(t, s, "cam"); got != want0 {
			t.Errorf("%s\nwant\n%s", got, want0)
		}
		if got := toldRenditions(t, s, "ghost"); got != "" {
			t.Errorf("of a camera without a topic: %s", got)
		}
		reads, loads := log.reads(), log.loads
		if toldRenditions(t, s, "cam"); log.reads() != reads || log.loads != loads {
			t.Errorf("it is read again at once: %d reads, %d loads", log.reads()-reads, log.loads-loads)
		}
		log.add("cam/small", small[8])
		time.Sleep(keepNewest)
		if got := toldRenditions(t, s, "cam"); !strings.Contains(got, "small variant transcode 160px 8 0s") || log.loads != loads {
			t.Errorf("after %v, with %d loads: %s", keepNewest, log.loads-loads, got)
		}
		// Followed topics are known.
		want(t, get(s, "/hls/cam/index.m3u8"), 200)
		log.add("cam", raw[9])
		synctest.Wait()
		if got := toldRenditions(t, s, "cam"); !strings.HasPrefix(got, "raw 9 ?") || !strings.Contains(got, "small variant transcode 160px 8 1s") || !strings.Contains(got, "redacted alternative redact 320px 2 7s") {
			t.Errorf("with followed topics: %s", got)
		}
		log.fail(errors.New("away"))
		time.Sleep(time.Minute)
		if got := toldRenditions(t, s, "cam"); !strings.Contains(got, "redacted alternative redact 320px 2 6s") {
			t.Errorf("with the log away: %s", got)
		}
		if _, err := run(t, Config{}, log).Renditions(context.Background(), "cam"); err == nil {
			t.Error("a log that was never there is no error")
		}
	})
}
