package archive

import (
	"fmt"
	"testing"

	"github.com/framelog/framelog/tests/testmedia"
)

// The newest entry is found from any seq on, also where numbers get another digit. Of a store that
// takes long for a list, few names are listed if the seq is near the end.
func TestNewest(t *testing.T) {
	for _, first := range []uint64{7, 1_000_000_000 - 100, 1_790_000_000} {
		t.Run(fmt.Sprint(first), func(t *testing.T) { onStores(t, func(t *testing.T, d Dir) { testNewest(t, d, first) }) })
	}
}

func testNewest(t *testing.T, d Dir, first uint64) {
	at := place()
	at.Seq = first
	k := &kafka{log: testmedia.Synthetic(at, 200)}
	k.all = k.entries(-1)
	archiveAll(t, d, k)
	j := NewJoined(k, NewSet(d, nil, nil))
	_, want, err := j.set.Bounds(t.Context(), Series{"life1", topic})
	if err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint64{0, first, first + 50, want.Seq, want.Seq + 1, want.Seq + 1<<21} {
		j.set.lists.all.Purge()
		switch got, err := j.Archived(t.Context(), topic, "life1", seq); {
		case err != nil:
			t.Errorf("from %d on: %v", seq, err)
		case got.Footage() && got.Seq != want.Seq, !got.Footage() && seq <= want.Seq:
			t.Errorf("from %d on: %d, want %d", seq, got.Seq, want.Seq)
		}
	}
	if got, err := j.Archived(t.Context(), topic, "life2", 0); err != nil || got.Footage() {
		t.Errorf("of a life that is not archived: %+v, %v", got, err)
	}
	if l, err := j.set.lists.near(t.Context(), Series{"life1", topic}, want.Seq+1<<20); err != nil || !d.onDisk() && first == 1_790_000_000 && len(l.files) > 0 {
		t.Errorf("%d files are listed that are not needed, %v", len(l.files), err)
	}
}
