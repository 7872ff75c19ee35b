package clip

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/clip"
	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// Public time steps back by 1.5 s between two sessions, so their times overlap. The range has a file of
// each session, with all its segments: the one that framelog clip --split writes.
func TestSessionsOverlap(t *testing.T) {
	log := newFootage(testmedia.Start)
	const all = "/clip/yard.mp4?start=2026-03-01T12:00:00Z&end=2026-03-01T12:00:06Z"
	for i := 4; i < 6; i++ {
		e := &log.fragments[i].Entry
		e.Start = e.Start.Add(-1500 * time.Millisecond)
	}
	url, _ := serve(t, log, Config{MaxRange: 20 * 365 * 24 * time.Hour})
	w, b, err := get(t, "GET", url+all)
	var told several
	at := func(s float64) time.Time { return testmedia.Start.Add(time.Duration(s * float64(time.Second))) }
	want := []span{{at(0), at(4), 7}, {at(2.5), at(4.5), 11}}
	if err != nil || w.StatusCode != 409 || json.Unmarshal(b, &told) != nil || !slices.Equal(told.Clips, want) {
		t.Fatalf("the range: %d %s, %v", w.StatusCode, b, err)
	}
	clips, err := clip.Plan(t.Context(), log, schemas.Topic{Camera: "yard"}, at(0), at(6))
	if err != nil || len(clips) != len(want) {
		t.Fatal(clips, err)
	}
	for i, c := range told.Clips {
		w, b, err := get(t, "GET", url+all+fmt.Sprint("&seq=", c.Seq))
		if err != nil || w.StatusCode != 200 {
			t.Fatalf("the session of %d: %d %s, %v", c.Seq, w.StatusCode, b, err)
		}
		f, err := clips[i].Prepare(t.Context(), log, func(int64) {})
		if err != nil {
			t.Fatal(err)
		}
		r := f.Reader(t.Context())
		defer r.Close()
		if split, err := io.ReadAll(r); err != nil || !bytes.Equal(b, split) {
			t.Errorf("the session of %d: %d bytes, the command writes %d (%v)", c.Seq, len(b), len(split), err)
		}
		for n, x := range log.fragments {
			segment, err := cmaf.Segment(x.Entry, x.All())
			if err != nil {
				t.Fatal(err)
			}
			if has := bytes.Contains(b, bytes.Join(segment, nil)); has != (n < 4 == (i == 0)) {
				t.Errorf("the session of %d has segment %d: %v", c.Seq, x.Entry.Seq, has)
			}
		}
		if w, _, err := get(t, "HEAD", url+all+fmt.Sprint("&seq=", c.Seq)); err != nil || w.StatusCode != 200 || w.ContentLength != int64(len(b)) {
			t.Errorf("HEAD of the session of %d: %d, %d bytes, %v", c.Seq, w.StatusCode, w.ContentLength, err)
		}
	}
}
