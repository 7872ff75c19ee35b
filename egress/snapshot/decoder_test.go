package snapshot

import (
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/framelog/framelog/schemas"
)

// A Thumbnailer sends the footage, and takes only a picture.
func TestThumbnailer(t *testing.T) {
	footage := &schemas.Chunk{
		Seq: 7, OpenGOP: true, Tracks: []schemas.Track{{ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale, Config: []byte("sets")}},
		Runs: []schemas.Run{{Track: schemas.VideoTrack, Samples: []schemas.Sample{{DTS: 900, Duration: 3600, Sync: true, Data: []byte("one")}, {DTS: 4500, Duration: 3600, Data: []byte("two")}}}},
	}
	for _, c := range []struct {
		name, media, kind, body string
		code                    int
		want                    string // of the error; "": none
	}{
		{"a picture", "4500", "image/jpeg", "JPEG", 200, ""},
		{"no picture", "4500", "text/html", "<html>", 200, `"text/html"`},
		{"no time", "", "image/jpeg", "JPEG", 200, "no picture"},
		{"an error", "", "text/plain", "it cannot be decoded\n", 422, "422 Unprocessable Entity: it cannot be decoded"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			got, err := schemas.DecodeChunk(b)
			if err != nil || !reflect.DeepEqual(got.Tracks, footage.Tracks) || !reflect.DeepEqual(got.Runs, footage.Runs) || !got.OpenGOP {
				t.Errorf("the footage is %+v, %v", got, err)
			}
			if q := r.Method + " " + r.URL.String(); q != "POST /picture?media=5000&width=320" {
				t.Errorf("the request is %s", q)
			}
			w.Header().Set("Content-Type", c.kind)
			w.Header().Set("Framelog-Media", c.media)
			w.WriteHeader(c.code)
			_, _ = io.WriteString(w, c.body)
		}))
		d := &Thumbnailer{Client: server.Client(), URL: server.URL + "/"}
		b, shown, err := d.Picture(t.Context(), footage, 5000, 320)
		if c.want == "" && (string(b) != "JPEG" || shown != 4500 || err != nil) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %q at %d, %v", c.name, b, shown, err)
		}
		server.Close()
	}
}
