package medialog

import (
	"testing"

	"github.com/framelog/framelog/schemas"
)

// TestGrow: another process gives the topic more partitions, and the writer
// opens anew at once.
func TestGrow(t *testing.T) {
	eachLog(t, func(t *testing.T, e *env) {
		l, other := e.log(), e.log(func(c *Config) { c.Partitions = e.parts + 3 })
		w := l.Open(t.Context(), cam, OpenOptions{Writer: "w1"})
		f := newFeed(w, 1)
		for range 4 {
			if err := f.fragment(2); err != nil {
				t.Fatal(err)
			}
		}
		closeWriter(t, w)
		if err := other.Ensure(t.Context(), cam); err != nil {
			t.Fatal(err)
		}
		w = l.Open(t.Context(), cam, OpenOptions{Writer: "w1"})
		ready(t, w)
		f.w = w
		for range 8 {
			if err := f.fragment(2); err != nil {
				t.Fatal(err)
			}
		}
		closeWriter(t, w)
		es := entriesOf(t, l, Range{})
		dense(t, es)
		for _, x := range es {
			if x.Kind != schemas.KindWhole {
				t.Errorf("%+v", x)
			}
		}
		if len(es) != 12 {
			t.Errorf("%d entries", len(es))
		}
	})
}
