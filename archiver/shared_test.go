package archiver

import (
	"testing"
	"time"

	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/schemas"
)

// Archivers of one group share the cameras. Others come and go while footage does: each fragment is
// archived, in one file.
func TestGroup(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		topics := []schemas.Topic{raw}
		for _, id := range []string{"dock", "gate", "hall", "lane"} { // in several partitions of the topic cameras
			e.add(id)
			topics = append(topics, schemas.Topic{Camera: id})
		}
		var cams []*recorder
		for _, topic := range topics {
			cams = append(cams, e.record(topic))
		}
		seconds := func(n int) {
			for range n / 2 {
				for _, c := range cams { // they record at the same time: only the first one waits
					c.seconds(2)
				}
			}
		}
		all := []*process{e.start(nil)}
		seconds(90)
		all = append(all, e.start(nil), e.start(nil))
		seconds(150)
		all[0].stop()
		seconds(100)
		all = append(all, e.start(nil))
		seconds(90)
		time.Sleep(3 * time.Minute)

		var written, files float64
		for i, p := range all {
			n := p.metric(t, "files_total")
			if n == 0 && i < 3 {
				t.Errorf("archiver %d has written nothing", i)
			}
			written += n
		}
		for _, topic := range topics {
			entries := e.entries(topic)
			life := entries[0].Life
			if got, want := seqs(e.archived(life, topic)), seqs(entries); got != want {
				t.Errorf("%v: archived %s\nof %s", topic, got, want)
			}
			found, err := e.dir.Files(t.Context(), archive.Series{Life: life, Topic: topic})
			if err != nil {
				t.Fatal(err)
			}
			files += float64(len(found))
		}
		if written != files {
			t.Errorf("%v files were written, and there are %v", written, files)
		}
	})
}
