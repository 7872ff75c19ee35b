package replay

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// archive writes all footage of yard into files, and returns the log with these behind it.
func (e *env) archive() medialog.Store {
	e.t.Helper()
	entries, _ := e.told(yard, time.Time{}, false)
	all := func(yield func(schemas.Entry, error) bool) {
		for _, x := range entries {
			if !yield(x, nil) {
				return
			}
		}
	}
	dir, written := archive.Local(e.t.TempDir()), 0
	write := func(file []schemas.Entry) {
		if err := archive.Write(e.t.Context(), dir, e.log, yard, file); err != nil {
			e.t.Fatal(err)
		}
		written += len(file)
	}
	for file := range archive.Cut(yard, all) {
		write(file)
	}
	write(entries[written:]) // nothing comes behind it
	return archive.NewJoined(e.log, archive.NewSet(dir, nil, nil))
}

// forget removes the media of the first n of some entries of yard from the log, and with index set
// the entries too, as retention does.
func (e *env) forget(entries []schemas.Entry, n int, index bool) {
	e.t.Helper()
	before := kadm.Offsets{}
	for _, x := range entries[:n] {
		if x.Playable() {
			before.AddOffset(schemas.Names{}.Media(yard), x.Partition, x.Last+1, -1)
		}
	}
	switch {
	case index && n < len(entries):
		before.AddOffset(schemas.Names{}.Index(yard), 0, entries[n].Offset, -1)
	case index:
		before.AddOffset(schemas.Names{}.Index(yard), 0, -1, -1) // to its end
	}
	if err := e.expire(before); err != nil {
		e.t.Fatal(err)
	}
}

// TestArchived: a replay of footage that the log does not have any more, or of which it has the end
// alone, gives what it gave when the log had it: each sample, gap and session, and each fragment names
// its source. It does not matter how much the log still has, and where it ends.
func TestArchived(t *testing.T) {
	for _, index := range []bool{false, true} {
		for kept := range 8 { // fragments with media
			t.Run(fmt.Sprintf("the log has %d, index too %v", kept, index), func(t *testing.T) {
				virtual(t, func(t *testing.T, e *env) {
					r := e.film()
					r.Speed = 0
					source, want := e.told(yard, r.From, false)
					e.store = e.archive()
					n := len(source)
					for left := kept; left > 0; {
						if n--; source[n].Playable() {
							left--
						}
					}
					e.forget(source, n, index)
					left := 0
					for x, err := range e.log.Entries(t.Context(), yard, medialog.Range{}) {
						if err != nil {
							t.Fatal(err)
						}
						if x.Playable() {
							left++
						}
					}
					if left != kept {
						t.Fatalf("the log has %d fragments, want %d", left, kept)
					}
					e.must(r, nil)
					e.checkCopy(copied, r, source, want)
				})
			})
		}
	}
}

// TestExpiresIntoArchive: what retention removes from the log while it is repeated comes from the
// archive.
func TestExpiresIntoArchive(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		r := e.film()
		source, want := e.told(yard, r.From, false)
		e.store = e.archive()
		now := 0 // the entry that is repeated
		e.must(r, func(c *schemas.Chunk) {
			switch c.Index {
			case 0:
				now = slices.IndexFunc(source, func(x schemas.Entry) bool { return x.Seq == c.Lineage.Seq })
			case 2: // this one, and the next one before its turn
				next := slices.IndexFunc(source[now+1:], func(x schemas.Entry) bool { return x.Playable() })
				e.forget(source, now+1+next+1, false)
			}
		})
		if _, _, err := e.log.Bounds(t.Context(), yard); !errors.Is(err, medialog.ErrNotFound) {
			t.Fatalf("retention has left footage in the log (%v)", err)
		}
		e.checkCopy(copied, r, source, want)
	})
}

// TestTwoAtOnce: two replays of one source at the same time, at speeds of their own, give each the same
// samples, while the log has them and when the archive alone does.
func TestTwoAtOnce(t *testing.T) {
	other := schemas.Topic{Camera: "other"}
	for name, archived := range map[string]bool{"log": false, "archive": true} {
		for _, speeds := range [][2]float64{{1, 1}, {1, 4}, {0, 0}} {
			t.Run(fmt.Sprint(name, speeds), func(t *testing.T) {
				virtual(t, func(t *testing.T, e *env) {
					r := e.film()
					source, want := e.told(yard, r.From, false)
					if archived {
						e.store = e.archive()
						e.forget(source, len(source), true)
					}
					ended := make(chan error, 2)
					replays := map[schemas.Topic]schemas.Replay{}
					for i, target := range []schemas.Topic{copied, other} {
						own := r
						own.Speed = speeds[i]
						replays[target] = own
						p := &process{log: e.connect()}
						go func() { ended <- e.into(t.Context(), target, own, p) }()
					}
					for range 2 {
						if err := <-ended; !errors.Is(err, ingest.ErrEnded) {
							t.Errorf("it ended with %v", err)
						}
					}
					for target, own := range replays {
						e.checkCopy(target, own, source, want)
					}
				})
			})
		}
	}
}
