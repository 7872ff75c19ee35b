package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/testenv"
)

// timebar is the page's timeline.
type timebar struct {
	t *testing.T
	p *testenv.Page
}

// view is what it shows, to the second.
func (b timebar) view() (from, to time.Time) {
	b.t.Helper()
	var seconds [2]int64
	b.p.Eval("['min', 'max'].map((end) => Number(document.querySelector('#stage .bar').getAttribute('aria-value' + end)))", &seconds)
	return time.Unix(seconds[0], 0), time.Unix(seconds[1], 0)
}

// long is how much time it shows.
func (b timebar) long() time.Duration {
	b.t.Helper()
	from, to := b.view()
	return to.Sub(from)
}

// part is where a time stands in its view, from 0 to 1.
func (b timebar) part(at time.Time) float64 {
	b.t.Helper()
	from, to := b.view()
	return at.Sub(from).Seconds() / to.Sub(from).Seconds()
}

// place is where a time stands on the screen.
func (b timebar) place(at time.Time) testenv.Point {
	b.t.Helper()
	left, right := b.p.Box("#stage .bar")
	return testenv.Point{X: left.X + (right.X-left.X)*b.part(at), Y: (left.Y + right.Y) / 2}
}

// coloured is a function that gives which part of the timeline between two times has one of the
// style sheet's colours near its lower edge, from 0 to 1; null where it does not show them.
const coloured = `(colour, from, to) => {
  const bar = document.querySelector('#stage .bar'), canvas = bar.querySelector('canvas');
  const [min, max] = ['min', 'max'].map((end) => 1000 * Number(bar.getAttribute('aria-value' + end)));
  const [a, b] = [from, to].map((time) => Math.round((time - min) / (max - min) * canvas.width));
  if (a < 0 || b > canvas.width || b <= a) return null;
  const one = document.createElement('canvas').getContext('2d');
  one.fillStyle = getComputedStyle(canvas).getPropertyValue(colour);
  one.fillRect(0, 0, 1, 1);
  const want = one.getImageData(0, 0, 1, 1).data;
  const row = canvas.getContext('2d').getImageData(a, Math.round(canvas.height * 0.9), b - a, 1).data;
  let same = 0;
  for (let x = 0; x < b - a; x++) if ([0, 1, 2].every((n) => Math.abs(row[4 * x + n] - want[n]) < 8)) same++;
  return same / (b - a);
}`

// key presses keys on an element of the page, one right after the other: pictures are not waited
// for. A key with Shift is written as Shift+ArrowLeft.
func key(p *testenv.Page, element string, keys ...string) {
	p.Eval(fmt.Sprintf(`['%s'].forEach((key) => document.querySelector('%s').dispatchEvent(
		new KeyboardEvent('keydown', {key: key.replace('Shift+', ''), shiftKey: key.startsWith('Shift+'), bubbles: true}))), 0`, strings.Join(keys, "', '"), element), nil)
}
