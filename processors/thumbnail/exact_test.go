package thumbnail

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/oracle/pictures"
	"github.com/framelog/framelog/tests/testmedia"
)

// The picture is the one that is shown at a time, also between two pictures and outside of
// the fragment.
func TestPictureAt(t *testing.T) {
	need(t)
	const frame = schemas.MediaTimescale / 25
	for name, options := range map[string][]string{"h264": testmedia.H264BFrames, "h265": testmedia.H265BFrames} {
		clip := testmedia.MakeClip(t, 2, false, options...)
		want := decoded(t, clip, sourceW, sourceH)
		f := clip.Fragments(place, 5)[1]
		in := processors.NewFragment("cam", f.Entry, f.Chunks...)
		first := int64(math.MaxInt64) // PTS of the fragment's first picture
		for _, c := range f.Chunks {
			for _, s := range c.Video() {
				first = min(first, s.DTS+int64(s.PTSOffset))
			}
		}
		for _, tt := range []struct {
			at   int64 // since the first picture
			want int
		}{{0, 0}, {7 * frame, 7}, {8*frame - 1, 7}, {8 * frame, 8}, {24 * frame, 24}, {-5 * frame, 0}, {100 * frame, 24}} {
			s, err := pictureAt(t.Context(), in, first+tt.at, 0, 95)
			if err != nil {
				t.Fatal(err)
			}
			if s.pts != first+int64(tt.want)*frame {
				t.Errorf("%s: at %d: PTS %d, want %d", name, tt.at, s.pts-first, tt.want*frame)
			}
			got, w, h := luma(t, s.jpeg)
			if w != sourceW || h != sourceH {
				t.Fatalf("%s: %d by %d", name, w, h)
			}
			n := 25 + tt.want
			db := pictures.PSNR(got, want[n])
			if beside := max(pictures.PSNR(got, want[n-1]), pictures.PSNR(got, want[min(n+1, 48)])); db < 30 || db <= beside {
				t.Errorf("%s: at %d: %.1f dB to picture %d, %.1f dB to one beside it", name, tt.at, db, n, beside)
			}
		}
		s, err := pictureAt(t.Context(), in, first, 128, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, w, h := luma(t, s.jpeg); w != 128 || h != 72 {
			t.Errorf("%s: %d by %d, want 128 by 72", name, w, h)
		}
	}
}

// request is the body of a request for a picture of a fragment.
func request(t *testing.T, chunks []*schemas.Chunk) []byte {
	t.Helper()
	all := *chunks[0]
	all.Runs = []schemas.Run{{Track: schemas.VideoTrack}}
	for _, c := range chunks {
		all.Runs[0].Samples = append(all.Runs[0].Samples, c.Video()...)
	}
	b, err := schemas.EncodeChunk(&all)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Over HTTP a fragment is sent, and the picture that is shown at a time comes back.
func TestPictures(t *testing.T) {
	need(t)
	clip := testmedia.MakeClip(t, 1, true, testmedia.H264Plain...)
	want := decoded(t, clip, sourceW, sourceH)
	f := clip.Fragments(place, 5)[0]
	body := request(t, f.Chunks)
	h := Pictures(Settings{Quality: 95, Exact: 1})
	ask := func(ctx context.Context, body io.Reader, query string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "POST", "/picture?"+query, body))
		return w
	}
	const frame = schemas.MediaTimescale / 25
	seventh := f.Chunks[1].Video()[2]
	at := seventh.DTS + int64(seventh.PTSOffset)
	w := ask(t.Context(), bytes.NewReader(body), fmt.Sprintf("media=%d&width=0", at+frame/2))
	if w.Code != 200 || w.Header().Get("Framelog-Media") != strconv.FormatInt(at, 10) || w.Header().Get("Content-Type") != "image/jpeg" {
		t.Fatalf("%d, %v", w.Code, w.Header())
	}
	got, _, _ := luma(t, w.Body.Bytes())
	if db := pictures.PSNR(got, want[7]); db < 30 || db <= max(pictures.PSNR(got, want[6]), pictures.PSNR(got, want[8])) {
		t.Errorf("%.1f dB to the picture, %.1f and %.1f dB to those beside it", db, pictures.PSNR(got, want[6]), pictures.PSNR(got, want[8]))
	}
	w = ask(t.Context(), bytes.NewReader(body), fmt.Sprintf("media=%d&width=128", at))
	if _, width, height := luma(t, w.Body.Bytes()); width != 128 || height != 72 {
		t.Errorf("%d by %d, want 128 by 72", width, height)
	}
	broken := *f.Chunks[0]
	broken.Runs = []schemas.Run{{Track: schemas.VideoTrack, Samples: []schemas.Sample{{Sync: true, Duration: frame, Data: []byte{0, 0, 0, 4, 0x65, 1, 2, 3}}}}}
	for _, c := range []struct {
		name, query string
		body        []byte
		code        int
	}{
		{"no time", "width=0", body, 400},
		{"a wrong width", "media=0&width=-1", body, 400},
		{"no chunk", "media=0&width=0", []byte("hello"), 400},
		{"too much", "media=0&width=0", make([]byte, maxFootage+1), 413},
		{"no tracks", "media=0&width=0", request(t, f.Chunks[1:]), 422},
		{"no picture", "media=0&width=0", request(t, []*schemas.Chunk{&broken}), 422},
	} {
		if w := ask(t.Context(), bytes.NewReader(c.body), c.query); w.Code != c.code || w.Header().Get("Content-Type") == "image/jpeg" {
			t.Errorf("%s: %d %s, want %d", c.name, w.Code, w.Body, c.code)
		}
	}

	// A request that is still sending its footage has the only place.
	r, send := io.Pipe()
	first := make(chan *httptest.ResponseRecorder)
	go func() { first <- ask(t.Context(), r, fmt.Sprintf("media=%d&width=0", at)) }()
	if _, err := send.Write(body[:1]); err != nil { // it is read
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if w := ask(gone, strings.NewReader(""), "media=0&width=0"); w.Code != 503 {
		t.Errorf("beyond the limit: %d %s", w.Code, w.Body)
	}
	if _, err := send.Write(body[1:]); err != nil {
		t.Fatal(err)
	}
	_ = send.Close()
	if w := <-first; w.Code != 200 {
		t.Errorf("the first request: %d %s", w.Code, w.Body)
	}
}
