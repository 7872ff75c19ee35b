package video

import (
	"math"

	"github.com/framelog/framelog/schemas"
)

// grid is the instants of media time at which pictures are wanted: multiples of a fixed
// interval since media time 0. So they do not depend on where a fragment begins.
type grid struct {
	n    int64 // instants in period
	last int64 // the instant of the picture before
	any  bool  // there was one
}

// period is 1000 s in ticks: rates are rounded to 1/1000.
const period = 1000 * schemas.MediaTimescale

func newGrid(fps float64) *grid { return &grid{n: int64(math.Round(fps * 1000))} }

// instant returns the k-th instant.
func (g *grid) instant(k int64) int64 { return k/g.n*period + k%g.n*period/g.n }

// from returns the number of the first instant that is not before t.
func (g *grid) from(t int64) int64 { return t/period*g.n + (t%period*g.n+period-1)/period }

// take tells whether the picture that is shown at pts for a duration is wanted, and for
// which time. Media time is never below 0.
func (g *grid) take(pts, duration int64) (at, until int64, ok bool) {
	k := g.from(pts)
	at, until = g.instant(k), g.instant(g.from(pts+duration))
	if at >= pts+duration || g.any && at <= g.last {
		return 0, 0, false
	}
	g.any, g.last = true, at
	return at, until, true
}

// takeFirst is take for a picture that is wanted in any case, at its own time.
func (g *grid) takeFirst(pts, duration int64) (until int64) {
	g.any, g.last = true, pts
	return g.instant(g.from(pts + duration))
}
