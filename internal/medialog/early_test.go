package medialog

import (
	"testing"

	"github.com/framelog/framelog/schemas"
)

// TestEarlyIsBounded: hours without Kafka, with a camera that comes and goes, do not
// need more and more memory.
func TestEarlyIsBounded(t *testing.T) {
	b := stoppableEmbedded(t)
	b.stop()
	e := newEnv(t, b.brokers, 2)
	l := e.log(func(c *Config) { c.Budget = 60_000 })
	w := l.Open(t.Context(), cam, OpenOptions{Writer: "w1"})
	f := newFeed(w, 1)
	first := f.media
	for range 5000 {
		w.NewSession("")
		for k := range 2 {
			_ = f.chunk(uint32(k), 5, false, 1000)
			w.Lost(schemas.Lost{Packets: 1})
			w.Lost(schemas.Lost{Packets: 1})
		}
		w.Truncate(schemas.ReasonSource)
		f.media += 5 * frame
		w.Gap(publicTime(f.media-5*frame), f.media-5*frame, 5*frame, schemas.ReasonKeyframe)
	}
	w.mu.Lock()
	n := len(w.early.ops)
	w.mu.Unlock()
	if n > earlyLimit+10 {
		t.Errorf("%d operations wait for Kafka", n)
	}
	b.start()
	ready(t, w)
	waitFor(t, "all has its entry", func() bool { return w.buffered() == 0 && w.items() == 0 })
	w.NewSession("")
	if err := f.fragment(5); err != nil {
		t.Fatal(err)
	}
	closeWriter(t, w)
	es := entriesOf(t, l, Range{})
	dense(t, es)
	at := first
	for _, x := range es {
		if x.Media != at {
			t.Fatalf("seq %d begins at %d, want %d", x.Seq, x.Media, at)
		}
		at = x.MediaEnd()
	}
	if x := es[len(es)-1]; at != f.media || x.Kind != schemas.KindWhole || x.Session == es[len(es)-2].Session {
		t.Errorf("footage up to %d of %d, the last two\n%+v\n%+v", at, f.media, es[len(es)-2], x)
	}
}
