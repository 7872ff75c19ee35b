package hls

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// damagedLog is a log whose tails come to a damaged record before they are live.
type damagedLog struct {
	*fakeLog
	damaged atomic.Bool
	tails   atomic.Int32 // that came to it
}

func (l *damagedLog) Tail(ctx context.Context, t schemas.Topic, from medialog.Position) iter.Seq2[medialog.Event, error] {
	if !l.damaged.Load() {
		return l.fakeLog.Tail(ctx, t, from)
	}
	l.tails.Add(1)
	return func(yield func(medialog.Event, error) bool) {
		if yield(opened(1, ""), nil) {
			yield(medialog.Event{}, fmt.Errorf("tail: %w", medialog.ErrDamaged))
		}
	}
}

// A tail comes to a damaged record each time it begins again. The pauses between grow, and when the
// tails pass the record, the stream goes on.
func TestDamagedTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &damagedLog{fakeLog: newFakeLog()}
		f := testmedia.Synthetic(testPlace, 9)
		log.add("cam", f[:8]...)
		s := run(t, Config{}, log)
		want(t, get(s, playlist0), 200)
		log.damaged.Store(true)
		log.breakTails()
		for range 10 {
			time.Sleep(6 * time.Second)
			want(t, get(s, playlist0), 200)
		}
		if n := log.tails.Load(); n < 10 || n > 20 {
			t.Errorf("%d tails in a minute", n)
		}
		log.damaged.Store(false)
		log.add("cam", f[8])
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if body := want(t, get(s, playlist0), 200); !strings.Contains(body, fmt.Sprintf("m1/%d.m4s\n", f[8].Entry.Seq)) {
			t.Errorf("behind the record:\n%s", body)
		}
	})
}
