package thumbnail

import (
	"bytes"
	"fmt"
	"image/color"
	"image/jpeg"
	"strings"
	"testing"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/processorstest"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/oracle/pictures"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

// need skips a test where GStreamer lacks what decodes and encodes in software.
func need(t testing.TB) {
	t.Helper()
	testenv.SkipShort(t, "ffmpeg")
	pictures.Need(t, "avdec_h264", "avdec_h265", "jpegenc", "h264parse")
}

func newThumbnail(t testing.TB, s Settings) processors.Processor {
	t.Helper()
	p, err := New("thumbnail", s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestConformance(t *testing.T) {
	need(t)
	processorstest.Run(t, newThumbnail(t, Settings{}))
}

var place = testmedia.Place{Seq: 7, Session: 3, Epoch: 5, Layout: testmedia.Layout, Start: testmedia.Start}

const sourceW, sourceH = 320, 180 // of testmedia's clips

// decoded returns the luma of all pictures of a clip as ffmpeg decodes it, in the size that
// is asked for.
func decoded(t testing.TB, c testmedia.Clip, w, h int) (all [][]byte) {
	t.Helper()
	raw := testmedia.FFmpeg(t, "-i", c.Path, "-map", "0:v", "-fps_mode", "passthrough", "-vf", fmt.Sprintf("scale=%d:%d:flags=area", w, h), "-f", "rawvideo", "-pix_fmt", "yuv420p", "-")
	for n := w * h * 3 / 2; len(raw) >= n; raw = raw[n:] {
		all = append(all, raw[:w*h])
	}
	return all
}

// luma decodes a JPEG picture to values from 16 to 235.
func luma(t testing.TB, b []byte) (y []byte, w, h int) {
	t.Helper()
	img, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	r := img.Bounds()
	for j := r.Min.Y; j < r.Max.Y; j++ {
		for i := r.Min.X; i < r.Max.X; i++ {
			y = append(y, byte(16+int(color.GrayModel.Convert(img.At(i, j)).(color.Gray).Y)*219/255))
		}
	}
	return y, r.Dx(), r.Dy()
}

// Each fragment gets one picture, its first one, which lasts as long as the fragment.
func TestOnePictureAFragment(t *testing.T) {
	need(t)
	clip := testmedia.MakeClip(t, 3, true, testmedia.H264BFrames...)
	want := decoded(t, clip, 160, 90)
	p := newThumbnail(t, Settings{Width: 160, Quality: 90})
	if p.Outputs[0].Role != schemas.RoleAlternative {
		t.Errorf("role %s", p.Outputs[0].Role)
	}
	for i, f := range clip.Fragments(place, 5) {
		r, err := p.Collect(t.Context(), processors.NewFragment("cam", f.Entry, f.Chunks...))
		if err != nil {
			t.Fatal(err)
		}
		chunks := r.Chunks["thumbnail"]
		if len(chunks) != 1 || len(chunks[0].Runs) != 1 || len(chunks[0].Video()) != 1 || len(chunks[0].Tracks) != 1 {
			t.Fatalf("fragment %d: %+v, want one chunk of one picture", i, chunks)
		}
		c, s, track := chunks[0], chunks[0].Video()[0], chunks[0].Tracks[0]
		if track.Codec != schemas.MJPEG || track.Width != 160 || track.Height != 90 {
			t.Errorf("fragment %d: track %+v", i, track)
		}
		if !c.Last || !c.Start.Equal(f.Entry.Start) || s.DTS != f.Entry.Media || int64(s.Duration) != f.Entry.Duration || !s.Sync {
			t.Errorf("fragment %d: %+v from %d for %d, its picture from %d for %d", i, c, f.Entry.Media, f.Entry.Duration, s.DTS, s.Duration)
		}
		got, w, h := luma(t, s.Data)
		if w != 160 || h != 90 {
			t.Fatalf("fragment %d: %d by %d", i, w, h)
		}
		if db := pictures.PSNR(got, want[25*i]); db < 26 || pictures.PSNR(got, want[25*i+1]) >= db {
			t.Errorf("fragment %d: %.1f dB to the first picture, %.1f dB to the second", i, db, pictures.PSNR(got, want[25*i+1]))
		}
	}
}

func TestSmallPicturesStayAsTheyAre(t *testing.T) {
	need(t)
	f := testmedia.MakeClip(t, 1, false, testmedia.H264Plain...).Fragments(place, 5)[0]
	p := newThumbnail(t, Settings{Width: 640})
	r, err := p.Collect(t.Context(), processors.NewFragment("cam", f.Entry, f.Chunks...))
	if err != nil {
		t.Fatal(err)
	}
	if track := r.Chunks["thumbnail"][0].Tracks[0]; track.Width != sourceW || track.Height != sourceH {
		t.Errorf("track %+v", track)
	}
}

// A fragment that cannot be decoded is an error, and one without pictures has none.
func TestFragmentsWithoutPictures(t *testing.T) {
	need(t)
	f := testmedia.MakeClip(t, 1, false, testmedia.H264Plain...).Fragments(place, 25)[0]
	broken := *f.Chunks[0]
	broken.Runs = []schemas.Run{{Track: schemas.VideoTrack}}
	for _, s := range f.Chunks[0].Video() {
		s.Data = []byte{0, 0, 0, 4, 0x65, 1, 2, 3}
		broken.Runs[0].Samples = append(broken.Runs[0].Samples, s)
	}
	in := processors.NewFragment("cam", f.Entry, &broken)
	p := newThumbnail(t, Settings{})
	if r, err := p.Collect(t.Context(), in); err == nil {
		t.Errorf("a broken fragment gives %+v", r)
	}
	sound := schemas.Chunk{Last: true, Tracks: []schemas.Track{{ID: schemas.AudioTrack, Codec: schemas.AAC, Timescale: 48000}}}
	in = processors.NewFragment("cam", f.Entry, &sound)
	if r, err := p.Collect(t.Context(), in); err != nil || len(r.Filtered) != 1 {
		t.Errorf("sound alone gives %+v, %v", r, err)
	}
}

func TestSettingsThatAreWrong(t *testing.T) {
	for want, s := range map[string]Settings{
		"width: 8; give 16 to 16384":  {Width: 8},
		"quality: 101; give 1 to 100": {Quality: 101},
	} {
		if _, err := New("thumbnail", s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", s, err, want)
		}
	}
}
