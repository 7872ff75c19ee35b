package archive

import (
	"bytes"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/schemas"
)

// A file that a hold brings back is never away: who has read it while it was hidden reads on at once.
func TestHeldFileIsBack(t *testing.T) { onStores(t, testHeldFileIsBack) }

func testHeldFileIsBack(t *testing.T, d Dir) {
	k := recorded()
	archiveAll(t, d, k)
	set, at := NewSet(d, nil, nil), &clock{time.Now()}
	keep, _, _ := keeper(KeepConfig{Dir: d, Limit: 1, Delay: time.Minute}, at)
	look(t, keep) // hides all but the newest
	// One file is read while it is hidden, another one is known to be hidden and is not read.
	read, known := k.all[3], k.all[70]
	there := func(when string) {
		t.Helper()
		b, err := cmaf.Segment(read, set.Chunks(t.Context(), topic, read))
		source, _ := cmaf.Segment(read, k.log[3].All())
		if err != nil || !bytes.Equal(bytes.Join(b, nil), bytes.Join(source, nil)) {
			t.Errorf("%s: %v", when, err)
		}
	}
	there("hidden")
	for _, e := range []schemas.Entry{read, known} {
		if _, err := d.AddHold(t.Context(), Hold{Camera: topic.Camera, From: e.Start, To: e.End(), Reason: "a burglary", At: at.at}); err != nil {
			t.Fatal(err)
		}
	}
	look(t, keep) // brings them back
	there("back")
	if e, err := set.Entry(t.Context(), Series{"life1", topic}, known.Seq); err != nil || e.Seq != known.Seq {
		t.Errorf("the entry of a file that is back: %v", err)
	}
	if has, err := set.Has(t.Context(), topic, known); err != nil || !has {
		t.Errorf("a file that is back: %v, %v", has, err)
	}
	at.at = at.at.Add(time.Minute)
	look(t, keep) // removes the others
	there("held")
}
