package medialog

import (
	"context"
	"sync"
	"time"
)

// joiner joins calls into requests that serve many keys at once. A call that
// comes while a request is under way waits for the next one, which begins when
// that one ends, or after joinWait if it is slow. So a single call does not wait,
// and a hundred calls at once make two requests. No answer is older than its
// call.
type joiner[K comparable, V any] struct {
	// do is the request. It returns a result for each key.
	do func(ctx context.Context, keys []K) map[K]result[V]

	mu      sync.Mutex
	next    *request[K, V] // takes keys and has not begun; nil: there is none
	running *request[K, V] // the newest one that has begun
}

type result[V any] struct {
	value V
	err   error
}

type request[K comparable, V any] struct {
	keys    map[K]struct{}
	done    chan struct{} // closed when results are there
	results map[K]result[V]
}

// joinWait is the longest that calls wait for a request before theirs.
const joinWait = 50 * time.Millisecond

// get returns the result for key. life is the context of the request, which
// may serve other calls too; ctx is that of this call.
func (j *joiner[K, V]) get(ctx, life context.Context, key K) (V, error) {
	j.mu.Lock()
	r := j.next
	if r == nil {
		r = &request[K, V]{keys: map[K]struct{}{}, done: make(chan struct{})}
		j.next = r
		go j.run(life, r, j.running)
	}
	r.keys[key] = struct{}{}
	j.mu.Unlock()
	select {
	case <-r.done:
		res := r.results[key]
		return res.value, res.err
	case <-ctx.Done():
		var none V
		return none, ctx.Err()
	}
}

func (j *joiner[K, V]) run(ctx context.Context, r, before *request[K, V]) {
	defer close(r.done)
	if before != nil {
		select {
		case <-before.done:
		case <-time.After(joinWait):
		}
	}
	j.mu.Lock()
	j.next, j.running = nil, r
	keys := make([]K, 0, len(r.keys))
	for k := range r.keys {
		keys = append(keys, k)
	}
	j.mu.Unlock()
	r.results = j.do(ctx, keys)
}
