package e2e

import (
	"bytes"
	"image/jpeg"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// listener measures what is heard of the player in focus: window.heard(ms) promises the loudest
// sample of the next ms.
const listener = `(() => {
  const c = new AudioContext(), a = c.createAnalyser();
  c.createMediaElementSource(document.querySelector('#stage video')).connect(a);
  a.connect(c.destination);
  a.fftSize = 8192;
  const b = new Float32Array(a.fftSize);
  window.heard = async (ms) => {
    let most = 0;
    for (const end = Date.now() + ms; Date.now() < end; await new Promise((r) => setTimeout(r, 50))) {
      a.getFloatTimeDomainData(b);
      for (const x of b) most = Math.max(most, Math.abs(x));
    }
    return most;
  };
  return c.resume();
})()`

// The controls of the large view: sound, its volume, picture in picture, and a still picture
// to keep. And the form for a camera.
func TestControls(t *testing.T) {
	strain, pauses := testenv.WatchStrain(t), testenv.WatchPauses(t)
	b := testenv.Chromium(t)
	live, err := camsim.NewLive(t.Context(), camsim.LiveConfig{KeyInterval: 25, Audio: true})
	if err != nil {
		t.Fatal(err)
	}
	_, url := system.Camera(t, camsim.CameraConfig{Feed: live})
	f := testenv.Up(t, testenv.UpOptions{Config: system.Cameras(map[string]string{"yard": url})})
	p := b.Open(t, f.URL+"/#yard")
	tellFailure(t, p)
	p.Wait(2*testenv.Patience, "window.framelog && window.framelog.players().some(p => p.mode === 'focus' && p.state === 'playing' && p.frames > 0)")
	p.Wait(testenv.Patience, "!document.querySelector('#stage .volume').hidden")

	// Sound. The camera beeps once a second.
	p.Eval(listener, nil)
	heard := func() (loud float64) {
		t.Helper()
		p.Eval("window.heard(2500)", &loud)
		return loud
	}
	if loud := heard(); loud != 0 {
		t.Errorf("at first it is to be silent: %v", loud)
	}
	p.Click(`#stage [aria-label="Sound on"]`)
	var whole float64
	testenv.Wait(t, testenv.Patience, "sound", func() bool { whole = heard(); return whole >= 0.05 })
	p.Eval(`(() => { const v = document.querySelector('#stage .volume'); v.value = '0.25'; v.dispatchEvent(new Event('input', { bubbles: true })); })()`, nil)
	testenv.Wait(t, testenv.Patience, "a quarter of the volume is heard", func() bool { return math.Abs(heard()/whole-0.25) < 0.05 })
	p.Eval("document.activeElement.blur()", nil)
	p.Press("m")
	var state struct {
		Muted  bool    `json:"muted"`
		Volume float64 `json:"volume"`
		Slider string  `json:"slider"`
	}
	p.Eval("(() => { const v = document.querySelector('#stage video'); return { muted: v.muted, volume: v.volume, slider: document.querySelector('#stage .volume').value }; })()", &state)
	if !state.Muted || state.Volume != 0.25 || state.Slider != "0" {
		t.Errorf("after M: %+v", state)
	}
	p.Press("m")
	p.Wait(testenv.Patience, "!document.querySelector('#stage video').muted && document.querySelector('#stage .volume').value === '0.25'")

	// A still picture.
	before := time.Now()
	name, jpg := p.Download(t, func() { p.Click(`#stage [aria-label="Save this picture"]`) })
	picture, err := jpeg.Decode(bytes.NewReader(jpg))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if size := picture.Bounds().Size(); size.X != 640 || size.Y != 360 || !strings.HasPrefix(name, "yard-20") || !strings.HasSuffix(name, "Z.jpg") {
		t.Errorf("%s has %v", name, size)
	}
	strip, err := camsim.ReadStripImage(picture)
	if err != nil {
		t.Fatal(err)
	}
	named, err := time.Parse("2006-01-02T15-04-05.000Z", strings.TrimSuffix(strings.TrimPrefix(name, "yard-"), ".jpg"))
	if err != nil {
		t.Error(err)
	}
	if strip.Time.After(time.Now()) || strip.Time.Before(before.Add(-testenv.Patience)) || named.Sub(strip.Time).Abs() > strain.Stretch(500*time.Millisecond)+pauses.Longest(time.Time{}, time.Now()) {
		t.Errorf("saved at %v, %s shows %v", before, name, strip.Time)
	}

	// Picture in picture.
	var can bool
	p.Eval("document.pictureInPictureEnabled", &can)
	const pip = `#stage [aria-label="Picture in picture"]`
	if !can {
		p.Wait(testenv.Patience, "document.querySelector('"+pip+"').hidden")
		t.Log("this browser has no picture in picture; its button is hidden")
	} else {
		p.Click(pip)
		p.Wait(testenv.Patience, "document.pictureInPictureElement === document.querySelector('#stage video')")
		p.Click(pip)
		p.Wait(testenv.Patience, "document.pictureInPictureElement === null")
	}

	// The form for a camera.
	p.Click("#add")
	p.Eval(`(() => {
		document.querySelector('dialog details').open = true;
		for (const [id, v] of [['field-id', 'gate'], ['field-url', 'rtsp://127.0.0.1:9/'], ['field-engine', 'native']]) document.getElementById(id).value = v;
	})()`, nil)
	p.Click(`dialog button[type="submit"]`)
	testenv.Wait(t, testenv.Patience, "the camera with its engine", func() bool {
		code, body, err := testenv.Get(t, f.URL+"/v1/cameras/gate")
		return err == nil && code == http.StatusOK && strings.Contains(string(body), `"engine":"native"`)
	})
	noProblems(t, p)
}
