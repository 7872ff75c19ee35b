package medialog

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestJoiner: calls that come during a request share the next one, each gets its
// own result, and a request that is slow keeps later calls no longer than
// joinWait.
func TestJoiner(t *testing.T) {
	for _, x := range []struct {
		name  string
		takes time.Duration // each request
		after time.Duration // until all calls have their result
	}{
		{"fast", 10 * time.Millisecond, 20 * time.Millisecond},
		{"slow", time.Second, time.Second + joinWait},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				errOdd := errors.New("an odd number")
				var mu sync.Mutex
				var served []int
				j := joiner[int, int]{do: func(_ context.Context, keys []int) map[int]result[int] {
					mu.Lock()
					served = append(served, len(keys))
					mu.Unlock()
					time.Sleep(x.takes)
					out := map[int]result[int]{}
					for _, k := range keys {
						out[k] = result[int]{value: 2 * k}
						if k%2 == 1 {
							out[k] = result[int]{err: errOdd}
						}
					}
					return out
				}}
				began := time.Now()
				var wg sync.WaitGroup
				call := func(k int) {
					wg.Go(func() {
						v, err := j.get(t.Context(), t.Context(), k)
						if (k%2 == 1) != errors.Is(err, errOdd) || (err == nil && v != 2*k) {
							t.Errorf("get(%d) = %d, %v", k, v, err)
						}
					})
				}
				call(0)
				synctest.Wait() // the first request is under way
				for k := range 99 {
					call(k + 1)
				}
				gone, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				defer cancel()
				if _, err := j.get(gone, t.Context(), 5); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("a call whose context ends: %v", err)
				}
				wg.Wait()
				if len(served) != 2 || served[0] != 1 || served[1] != 99 {
					t.Errorf("requests for %v keys, want 1 and 99", served)
				}
				if d := time.Since(began); d != x.after {
					t.Errorf("all have their results after %v, want %v", d, x.after)
				}
			})
		})
	}
}
