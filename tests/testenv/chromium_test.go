package testenv_test

import (
	"bytes"
	"image/png"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/framelog/framelog/tests/testenv"
)

func TestChromium(t *testing.T) {
	b := testenv.Chromium(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(`<!doctype html><title>x</title><link rel=icon href=data:,><body style="background:#f00">
<script>console.log("hello"); setTimeout(() => { window.later = 42; undefinedFunction() }, 50)</script>`))
	}))
	t.Cleanup(srv.Close)
	p := b.Open(t, srv.URL)
	p.Wait(testenv.Patience, "window.later === 42")
	var sum int
	p.Eval("Promise.resolve(40 + 2)", &sum)
	if sum != 42 {
		t.Errorf("sum %d", sum)
	}
	p.Eval("fetch('/missing').then(r => r.text())", nil)
	testenv.Wait(t, testenv.Patience, "the page's problems", func() bool { return len(p.Problems()) >= 2 })
	all := strings.Join(p.Problems(), "\n")
	if !strings.Contains(all, "undefinedFunction") || !strings.Contains(all, "404") {
		t.Errorf("problems:\n%s", all)
	}
	if !strings.Contains(strings.Join(p.Console(), "\n"), "hello") {
		t.Errorf("console: %q", p.Console())
	}
	var h264 bool
	p.Eval(`MediaSource.isTypeSupported('video/mp4; codecs="avc1.64001f,mp4a.40.2"')`, &h264)
	if !h264 {
		t.Error("no H.264")
	}
	img, err := png.Decode(bytes.NewReader(p.Screenshot()))
	if err != nil {
		t.Fatal(err)
	}
	if r, g, _, _ := img.At(5, 5).RGBA(); r < 0xf000 || g > 0x0fff {
		t.Errorf("not red: %v", img.At(5, 5))
	}
}
