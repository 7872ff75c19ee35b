package ingest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
)

// TestOwnershipSimulation has the group move partitions about between three
// processes in every way that it does, with openings that take their time,
// cameras that do too or take one client only, and processes that hear late that
// they are owners no more. Whatever happened: soon after, each camera is recorded
// by the process that has its partition, and no log changes hands any more. What
// happens at the same moment has no order, so a seed does not replay exactly.
func TestOwnershipSimulation(t *testing.T) {
	for n := range uint64(60) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) { simulateOwnership(t, w, n) })
		})
	}
}

func simulateOwnership(t *testing.T, w *world, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	upTo := func(d time.Duration) time.Duration { return rand.N(d) + 1 } // of what runs beside: its order is nobody's
	pause := func(d time.Duration) { after(time.Duration(r.Int64N(int64(d)) + 1)) }

	const parts = 3
	names := []string{"one", "two", "three"}
	cams := make([]map[string]schemas.Camera, parts)
	seats := make(map[string]chan struct{})
	for p := range cams {
		a, b := testCamera(fmt.Sprintf("p%d-a", p)), testCamera(fmt.Sprintf("p%d-single", p))
		cams[p] = cameraMap(a, b)
		seats[b.ID] = make(chan struct{}, 1)
	}
	var mu sync.Mutex
	calm := false // cameras answer at once
	w.source = func(_ string, cam schemas.Camera) Source {
		return sourceFunc(func(ctx context.Context, s Sink) error {
			mu.Lock()
			easy := calm
			mu.Unlock()
			if !easy {
				select {
				case <-time.After(upTo(6 * time.Second)):
				case <-ctx.Done():
					return ctx.Err()
				}
				if rand.N(5) == 0 {
					return ErrAway
				}
			}
			if seat := seats[cam.ID]; seat != nil {
				select {
				case seat <- struct{}{}:
				default:
					return ErrRefused
				}
				defer func() { <-seat }()
			}
			return steady(0)(ctx, s)
		})
	}
	w.logs.lag = func() time.Duration { return upTo(2 * time.Second) }

	services := make([]*Service, len(names))
	for i, name := range names {
		services[i] = w.service(t, Config{Instance: name})
		services[i].assigned(nil)
	}
	owner := make([]int, parts)
	give := func(p, to int) {
		services[to].assigned([]int32{int32(p)})
		pause(time.Second) // the partition is read
		services[to].desired(int32(p), cams[p])
		owner[p] = to
	}
	for p := range owner {
		give(p, r.IntN(len(services)))
	}
	var did []string
	for range 5 + r.IntN(20) {
		pause(8 * time.Second)
		p, to := r.IntN(parts), r.IntN(len(services))
		from, part := services[owner[p]], []int32{int32(p)}
		what := r.IntN(5)
		if owner[p] == to && what != 3 {
			what = 2
		}
		did = append(did, fmt.Sprintf("%d of p%d, %s to %s", what, p, names[owner[p]], names[to]))
		switch what {
		case 0, 1: // a rebalance
			from.revoked(part)
			pause(time.Second)
			from.assigned(nil)
			give(p, to)
		case 2: // a broker's restart
			from.lost(part)
			pause(8 * time.Second)
			give(p, owner[p])
		case 3: // somebody changes the cameras
			next := make(map[string]schemas.Camera)
			for id, c := range cams[p] {
				c.URL += "x"
				next[id] = c
			}
			cams[p] = next
			from.desired(int32(p), next)
		case 4: // the group gives it up, which it hears late or after all has passed
			if r.IntN(2) == 0 {
				from.lost(part)
			}
			pause(8 * time.Second)
			give(p, to)
			pause(40 * time.Second)
			from.lost(part)
			pause(4 * time.Second)
			from.assigned(nil)
		}
	}
	mu.Lock()
	calm = true
	mu.Unlock()
	after(5 * time.Minute)
	before, _ := w.logs.opens()
	after(10 * time.Minute)
	if now, _ := w.logs.opens(); now != before {
		t.Errorf("logs change hands for ever:%s", strings.TrimPrefix(now, before))
	}
	for p, o := range owner {
		for id := range cams[p] {
			switch wr := w.logs.of(id); {
			case wr == nil:
				t.Errorf("%s was never recorded", id)
			case wr.owner != names[o] || time.Since(wr.state().last) > time.Second:
				t.Errorf("%s is %s's, %s has its log and wrote last %v ago", id, names[o], wr.owner, time.Since(wr.state().last))
			}
		}
	}
	if t.Failed() {
		t.Logf("seed %d:\n%s", seed, strings.Join(did, "\n"))
	}
	for _, s := range services {
		finish(t, s)
	}
}
