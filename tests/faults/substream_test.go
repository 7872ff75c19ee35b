package faults

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// A camera gets a second stream, another one and none again. Its first stream is recorded
// all the time, without a break.
func TestSubstreamComesAndGoes(t *testing.T) {
	t.Parallel()
	system.Engines(t, testSubstreamComesAndGoes)
}

func testSubstreamComesAndGoes(t *testing.T, engine string) {
	s := &scene{}
	s.servers, _ = serve(t, []camera{{id: "yard", clip: withSound}, {id: "one", clip: small}, {id: "two", clip: large}})
	s.Framelog = system.Up(t, engine, testenv.UpOptions{})
	s.reader = openLog(t, s.Broker)
	sub := schemas.Topic{Camera: "yard", Rendition: schemas.Sub}
	put := func(second string) (at time.Time) {
		t.Helper()
		at = time.Now()
		system.PutCamera(t, s.URL, "yard", fmt.Sprintf(`{"url":%q,"substream":%q}`, s.servers["yard"].URL("cam"), second))
		return at
	}
	put("")
	s.grown(t, "yard", time.Time{}, 2)

	for second, width := range map[string]uint16{"one": 320, "two": 480} {
		at := put(s.servers[second].URL("cam"))
		limit := 2 * testenv.Patience
		testenv.Wait(t, limit, "the second stream from "+second, func() bool {
			all, err := system.Statuses(t, s.URL)
			if err != nil {
				return false
			}
			st := all["yard"].Substream
			return st != nil && st.State == schemas.StateLive && st.Width == width
		})
		all := s.grownOf(t, sub, at.Add(time.Second), 2, limit)
		m := s.matchOf(t, sub, second, all[len(all)-2:], schemas.H264, schemas.VideoTrack)
		if m.got == 0 || len(m.strange) > 0 || len(m.missing) > 0 {
			t.Errorf("%s: %d pictures of the second stream, %d never sent, %d missing", second, m.got, len(m.strange), len(m.missing))
		}
	}
	at := put("")
	testenv.Wait(t, testenv.Patience, "the end of the second stream", func() bool {
		all, err := system.Statuses(t, s.URL)
		return err == nil && (all["yard"].Substream == nil || all["yard"].Substream.State == "")
	})
	all := s.grown(t, "yard", at, 3)
	checkWhole(t, "yard", all)
	s.checkComplete(t, "yard", all)
	checkSessions(t, "yard", all, 1)
	for i, e := range all {
		if e.Epoch != all[0].Epoch || i > 0 && e.Media != all[i-1].MediaEnd() {
			t.Fatalf("the log was opened again, or has a hole, at fragment %d:\n%s", e.Seq, table(all))
		}
	}
	if n := system.Metric(t, s.URL, "framelog_ingest_reconnects_total", `camera="yard"`); n != 0 {
		t.Errorf("the camera was connected again %v times", n)
	}
	testenv.Wait(t, testenv.Patience, "what was recorded of the second stream", func() bool {
		code, _, err := testenv.Get(t, s.URL+"/hls/yard/sub.m3u8")
		return err == nil && code == http.StatusOK
	})
}
