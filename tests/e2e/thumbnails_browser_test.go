package e2e

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image/jpeg"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// peek is what the page shows over the timeline where the pointer is. With at, a time of a picture,
// same tells whether the text is that of this time, or of the second before: pictures are asked for
// by the second, and the text is the time at the pointer.
const peek = `(at) => {
  const box = document.querySelector('#stage .peek'), image = box.querySelector('img');
  const text = new Intl.DateTimeFormat([], {hour: '2-digit', minute: '2-digit', second: '2-digit'});
  const says = box.querySelector('strong').textContent;
  return {
    shown: box.checkVisibility(), why: box.querySelector('.why').textContent, says,
    same: [at, at - 1000].some((t) => text.format(t) === says),
    picture: image.checkVisibility() && image.complete && image.naturalWidth === 320 && image.getBoundingClientRect().width > 100 ? image.src : '',
  };
}`

type peeked struct {
	Shown, Same        bool
	Why, Says, Picture string
}

// at reads the strip in the picture; the zero time: there is none.
func (k peeked) at(t *testing.T) time.Time {
	t.Helper()
	content, ok := strings.CutPrefix(k.Picture, "data:image/jpeg;base64,")
	if !ok {
		return time.Time{}
	}
	b, err := base64.StdEncoding.DecodeString(content)
	if err != nil {
		t.Fatal(err)
	}
	return takenOfJPEG(t, b)
}

func takenOfJPEG(t *testing.T, b []byte) time.Time {
	t.Helper()
	picture, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	strip, err := camsim.ReadStripImage(picture)
	if err != nil {
		t.Fatal(err)
	}
	return strip.Time
}

// Over the timeline the page shows the picture of the time at the pointer, which the processor
// thumbnail makes. Where nothing was recorded there is none, and the page says so.
func TestPageShowsThumbnails(t *testing.T) {
	b := testenv.Chromium(t)
	f := testenv.Up(t, testenv.UpOptions{Config: "processors: [{name: thumbnail}]\n"})
	begin := time.Now().Add(-2 * time.Hour).Truncate(time.Second)
	at := func(seconds float64) time.Time {
		return begin.Add(time.Duration(seconds * float64(time.Second)))
	}
	system.RecordPast(t, f, "cam", system.Span{From: begin, To: at(40)})
	// Before the processor runs, others than the exact picture may come, and the page keeps them.
	f.Wait(t, 2*testenv.Patience, "an exact picture", func() bool {
		code, body, err := f.Get(t, "/snapshot/cam.jpg?width=320&at="+url.QueryEscape(at(21.53).Format(time.RFC3339Nano)))
		return err == nil && code == http.StatusOK && takenOfJPEG(t, body).Equal(at(21.5))
	})
	p := b.Open(t, f.URL+"/#cam?t="+at(20).UTC().Format(time.RFC3339))
	tellFailure(t, p)
	p.Wait(2*testenv.Patience, "document.querySelector('#stage .past video') && "+taken+" !== null")
	p.Eval(fmt.Sprintf("window.framelog.show(%d, false)", at(20).UnixMilli()), nil)
	shownPast(t, p, "where the view is", at(20))
	// A minute of the timeline, from 10 s before the footage to 10 s behind it.
	p.Eval("((s) => { s.value = '60000'; s.dispatchEvent(new Event('change')); })(document.querySelector('.deck [aria-label=\"What the timeline shows\"]'))", nil)
	timeline := timebar{t, p}
	if long := timeline.long(); long != time.Minute {
		t.Fatalf("the timeline shows %v", long)
	}
	p.Eval("document.querySelector('#stage .bar').scrollIntoView({block: 'nearest'})", nil)

	for _, seconds := range []float64{3.2, 25.4, 11.7, 37.9} {
		p.Hover(timeline.place(at(seconds)))
		var k peeked
		var got time.Time
		// Until it has come, the picture of a time near it may be shown.
		ok := testenv.Poll(t, testenv.Patience, func() bool {
			if p.Eval(fmt.Sprintf("(%s)(0)", peek), &k); k.Picture == "" {
				return false
			}
			got = k.at(t)
			p.Eval(fmt.Sprintf("(%s)(%d)", peek, got.UnixMilli()), &k)
			// Half a second since times are asked for by the second, and as much since the ends of
			// the view are known so.
			return k.Same && got.Sub(at(seconds)).Abs() < 1100*time.Millisecond
		})
		k.Picture = ""
		if t.Logf("at %v s: the picture of %v s: %+v", seconds, got.Sub(begin).Seconds(), k); !ok {
			t.Errorf("at %v s the page does not come to show that time", seconds)
		}
	}
	for _, seconds := range []float64{-5, 45} {
		p.Hover(timeline.place(at(seconds)))
		p.Wait(testenv.Patience, fmt.Sprintf("(({shown, picture, why}) => shown && picture === '' && why === 'no footage')((%s)(0))", peek))
	}
	left, _ := p.Box("#stage .bar")
	p.Hover(testenv.Point{X: left.X, Y: left.Y - 200})
	p.Wait(testenv.Patience, fmt.Sprintf("!(%s)(0).shown", peek))
	noProblems(t, p)
}
