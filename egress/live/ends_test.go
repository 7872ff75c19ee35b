package live_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/framelog/framelog/egress/live"
	"github.com/framelog/framelog/egress/live/livetest"
)

// ended checks for what reasons connections were ended.
func (e *env) ended(t *testing.T, want ...string) {
	t.Helper()
	all, err := e.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range all {
		for _, m := range f.Metric {
			if f.GetName() == "framelog_egress_live_ended_total" && m.GetCounter().GetValue() > 0 {
				got = append(got, fmt.Sprint(m.Label[0].GetValue(), " ", m.GetCounter().GetValue()))
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("ended: %q, want %q", got, want)
	}
}

// TestDeadClient: a connection whose client does not answer ends.
func TestDeadClient(t *testing.T) {
	inBubble(t, live.Config{}, func(t *testing.T, e *env) {
		c := e.dial(t)
		time.Sleep(time.Minute) // one that answers stays
		if err := c.Ended(); err != nil {
			t.Fatalf("ended: %v", err)
		}
		c.Close()
		socket, _ := livetest.Open(t, e.handler, "/live", nil)
		synctest.Wait()
		e.metric(t, "connections", 1)
		time.Sleep(time.Minute)
		e.metric(t, "connections", 0)
		e.ended(t, "write_timeout 1")
		_ = socket.CloseNow() // it has ended
		c = livetest.DialMute(t, e.handler, "/live")
		time.Sleep(21 * time.Second)
		if c.Ended() == nil {
			t.Error("one that answers no ping is connected")
		}
		e.ended(t, "ping 1", "write_timeout 1")
	})
}

// TestSlowClient: a client that takes some bytes stays connected, however long a message takes, and
// gets all parts. One that takes none any more is ended after the write time-out.
func TestSlowClient(t *testing.T) {
	inBubble(t, live.Config{WriteTimeout: 20 * time.Second}, func(t *testing.T, e *env) {
		var rate atomic.Int64
		rate.Store(20_000)
		c := livetest.DialSlow(t, e.handler, "/live", func() int { return int(rate.Load()) })
		const size = 500_000 // 25 s
		for part := range uint32(100) {
			e.add("yard", 1, part, "a", size)
		}
		c.Subscribe(1, "yard", "", nil)
		time.Sleep(5 * time.Minute)
		if n := len(c.Media()); c.Ended() != nil || n < 12 {
			t.Errorf("%d messages of media came in 5 min, ended with %v", n, c.Ended())
			return
		}
		e.metric(t, "connections", 1)
		rate.Store(0)
		time.Sleep(35 * time.Second)
		e.metric(t, "connections", 0)
		e.ended(t, "write_timeout 1")
		rate.Store(20_000)
	})
}

// TestUnread: a client that reads nothing, and goes on to ask for cameras that do not exist, is
// ended when too many answers wait for it.
func TestUnread(t *testing.T) {
	inBubble(t, live.Config{}, func(t *testing.T, e *env) {
		socket, _ := livetest.Open(t, e.handler, "/live", nil)
		defer func() { _ = socket.CloseNow() }() // it has ended
		const most = 10_000                      // answers, each of more than 50 bytes
		for i := range most {
			ask := fmt.Appendf(nil, `{"type":"subscribe","channel":%d,"camera":"ghost"}`, i+1)
			if socket.Write(t.Context(), websocket.MessageText, ask) != nil {
				break
			}
			synctest.Wait() // the subscription has ended: so the next one has a place
		}
		synctest.Wait()
		e.metric(t, "connections", 0)
		e.ended(t, "unread 1")
	})
}
