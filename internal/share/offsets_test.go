package share

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Offsets that have changed are committed once a second, all others once a day.
func TestOffsets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := NewOffsets()
		var mu sync.Mutex
		commits := map[string]int{}
		fails := false
		setFails := func(on bool) {
			mu.Lock()
			defer mu.Unlock()
			fails = on
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			o.Run(ctx, func(_ context.Context, all map[string]Offset) error {
				mu.Lock()
				defer mu.Unlock()
				if fails {
					return errors.New("a rebalance")
				}
				for topic, at := range all {
					commits[fmt.Sprint(topic, at.At)]++
				}
				return nil
			}, slog.New(slog.DiscardHandler))
		}()
		check := func(what string, want map[string]int) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if !maps.Equal(commits, want) {
				t.Errorf("%s: %v, want %v", what, commits, want)
			}
		}
		o.Set("a", Offset{At: 1})
		o.Set("b", Offset{At: 1})
		time.Sleep(10 * time.Second)
		check("first", map[string]int{"a1": 1, "b1": 1})
		for at := range int64(100) {
			o.Set("a", Offset{At: at + 2})
		}
		time.Sleep(1500 * time.Millisecond)
		check("changed", map[string]int{"a1": 1, "b1": 1, "a101": 1})
		setFails(true)
		o.Set("b", Offset{At: 2})
		time.Sleep(time.Minute)
		setFails(false)
		o.Remove("a")
		time.Sleep(25 * time.Hour)
		check("after an error, and a day", map[string]int{"a1": 1, "b1": 1, "a101": 1, "b2": 2})
		cancel()
		<-done
	})
}
