package medialog

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// TestLookBackBehindRetention: retention removes all of what a reader is about to read
// from the end of an index. There is no entry then, for a follower and for a writer.
func TestLookBackBehindRetention(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log()
		w := l.Open(t.Context(), cam, OpenOptions{Writer: "w"})
		f := newFeed(w, 1)
		for range 3 {
			if err := f.fragment(2); err != nil {
				t.Fatal(err)
			}
		}
		closeWriter(t, w)
		index := l.names.Index(cam)
		s, err := l.spans(t.Context(), index)
		if err != nil {
			t.Fatal(err)
		}
		expire(t, l, index, 0, s[0].end-1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if c, err := l.checkpoint(ctx, index, s[0].end-2); err != nil || c.last != nil {
			t.Errorf("checkpoint %+v, %v", c, err)
		}
		if n, err := l.newestBefore(ctx, index, s[0].end-2); err != nil || n.entry != nil {
			t.Errorf("newest entry %+v, %v", n.entry, err)
		}
	})
}
