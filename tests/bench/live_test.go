package bench

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"github.com/framelog/framelog/egress/live"
)

// Framelog with a wall of all cameras over one socket, with chunks of 200 ms and of one picture.
const (
	socketName     = "framelog, on_demand, a wall over the socket"
	socketFineName = "framelog, on_demand, a wall over the socket, chunks of one picture"
)

func startSocket(b *testing.B, c *cameras) running {
	return startWall(b, c, configOf(c, "on_demand"))
}

func startSocketFine(b *testing.B, c *cameras) running {
	return startWall(b, c, configOf(c, "on_demand")+"ingest:\n  chunk_duration: 40ms\n") // a picture has 33 ms
}

func startWall(b *testing.B, c *cameras, config string) running {
	b.Helper()
	l := startLog(b, c, config, false)
	l.watchers = watchWall(b, l.URL, c)
	return l
}

// watchWall is watchAll over one socket, as the page does it: what is listed is what has come.
func watchWall(b *testing.B, base string, c *cameras) *watchers {
	b.Helper()
	w := newWatchers(b, c)
	w.wg.Go(func() {
		if err := w.wall(w.ctx, base); err != nil && w.ctx.Err() == nil {
			w.fail(fmt.Errorf("wall: %w", err))
		}
	})
	w.waitAll(b)
	return w
}

func (w *watchers) wall(ctx context.Context, base string) error {
	began := map[int]bool{} // channels of which a second fragment has come
	first := map[int]uint64{}
	return overSocket(ctx, base, w.cams.n, func(m live.Media, at time.Time) error {
		if !began[m.Channel] { // the parts of the first fragment may be old
			if first[m.Channel] == 0 {
				first[m.Channel] = m.Seq
			}
			if began[m.Channel] = m.Seq != first[m.Channel]; !began[m.Channel] {
				return nil
			}
		}
		hash, err := firstPicture(m.Data)
		w.list(listing{camera: m.Channel - 1, hash: hash, at: at})
		return err
	})
}

// overSocket subscribes to the first cameras over one socket. got gets each part, and when it came.
func overSocket(ctx context.Context, base string, cameras int, got func(m live.Media, at time.Time) error) error {
	socket, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(base, "http")+"/live", nil)
	if err != nil {
		return err
	}
	defer socket.CloseNow()
	socket.SetReadLimit(-1)
	for i := range cameras {
		if err := wsjson.Write(ctx, socket, live.Message{Type: live.Subscribe, Channel: i + 1, Camera: cameraID(i)}); err != nil {
			return err
		}
	}
	taken := int64(0)
	for {
		kind, data, err := socket.Read(ctx)
		if err != nil {
			return err
		}
		at := time.Now()
		if kind == websocket.MessageText {
			if strings.Contains(string(data), `"left_out"`) || strings.Contains(string(data), `"end"`) {
				return fmt.Errorf("the server says %s", data)
			}
			continue
		}
		taken += int64(len(data))
		if err := wsjson.Write(ctx, socket, live.Message{Type: live.Ack, Bytes: taken}); err != nil {
			return err
		}
		m, err := live.ParseMedia(data)
		if err != nil {
			return err
		}
		if m.Init {
			continue
		}
		if err := got(m, at); err != nil {
			return err
		}
	}
}
