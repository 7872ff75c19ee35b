package archive

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/oracle/media"
	"github.com/framelog/framelog/tests/oracle/pictures"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

// A file of the archive alone, with what stands behind its footage, begins at 0 and has the
// pictures and the sound of its source: in ffmpeg, GStreamer, VLC and a browser's <video>.
func TestPlayers(t *testing.T) {
	const seconds = 3
	dir := t.TempDir()
	files := map[schemas.Codec]string{}
	decoded := map[schemas.Codec][]testenv.Hash{} // the pictures, by ffmpeg
	for codec, encoder := range map[schemas.Codec][]string{schemas.H264: testmedia.H264BFrames, schemas.H265: testmedia.H265BFrames} {
		source := testmedia.MakeClip(t, seconds, true, encoder...)
		l, of := log(source.Fragments(place(), 5)), schemas.Topic{Camera: string(codec)}
		entries := l.entries(-1)
		if err := Write(t.Context(), Local(dir), l, of, entries); err != nil {
			t.Fatal(err)
		}
		files[codec] = filepath.ToSlash(Path(of, entries))
		path := filepath.Join(dir, files[codec])

		got, want := testenv.FrameHashes(t, path, testenv.HashOptions{}), testenv.FrameHashes(t, source.Path, testenv.HashOptions{})
		shown := testenv.FrameHashes(t, path, testenv.HashOptions{EditList: true, NoAudio: true}).Video
		if d := media.Diff(want.Video, shown); d != "" || len(want.Video) != seconds*25 {
			t.Errorf("%s: ffmpeg: pictures: %s", codec, d)
		}
		if d := media.Diff(want.Audio, got.Audio); d != "" || len(want.Audio) < seconds*45 {
			t.Errorf("%s: ffmpeg: sound: %s", codec, d)
		}
		p := testenv.Probe(t, path)
		if v, ok := p.Stream("video"); !ok || v.StartTime != "0.000000" || p.Format.StartTime != "0.000000" {
			t.Errorf("%s: ffmpeg: it begins at %s, the pictures at %s", codec, p.Format.StartTime, v.StartTime)
		}
		testmedia.CheckGStreamer(t, path, codec)
		testmedia.CheckVLC(t, path)
		for _, planes := range pictures.Decode(t, path, "yuv420p", 320*180*3/2) {
			decoded[codec] = append(decoded[codec], testenv.Hash{Sum: fmt.Sprintf("%x", sha256.Sum256(planes))})
		}
	}

	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	page := testenv.Chromium(t).Open(t, server.URL+"/")
	for codec, file := range files {
		t.Run("Chromium "+string(codec), func(t *testing.T) {
			if codec == schemas.H265 {
				can := ""
				if page.Eval(`document.createElement('video').canPlayType('video/mp4; codecs="hvc1.1.6.L60.90,mp4a.40.2"')`, &can); can == "" {
					t.Skip("this build of Chromium decodes no H.265")
				}
			}
			played := page.PlayFile("/" + file)
			if d := played.Long - seconds*time.Second; d < 0 || d > 80*time.Millisecond || played.First != 0 || played.Pictures != seconds*25 {
				t.Errorf("%+v, want %d s from 0 on in %d pictures", played, seconds, seconds*25)
			}
			// Each picture is the one that ffmpeg decodes, byte by byte.
			var middles []time.Duration
			for n := range seconds * 25 {
				middles = append(middles, (time.Duration(n)*2+1)*time.Second/50)
			}
			if d := media.Diff(decoded[codec], page.FilePictures("/"+file, middles...)); d != "" {
				t.Error(d)
			}
		})
	}
}
