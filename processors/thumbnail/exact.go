package thumbnail

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/video"
	"github.com/framelog/framelog/schemas"
)

// maxFootage is the most bytes of a request for a picture, and maxTime is how long it may
// take.
const (
	maxFootage = 40 << 20 // egress sends at most 32 MiB of samples
	maxTime    = 10 * time.Second
)

// Pictures makes exact pictures over HTTP, of footage that comes with the request. So it
// needs no rights: whoever asks has the footage.
//
//	POST /picture?media=N&width=N
//
// The body is a track of pictures, and its samples from a sync sample to the wanted picture
// or further, as the value of a record of a media topic: see docs/wire-format.md. The answer
// is the picture that is shown at media, a media time in ticks of schemas.MediaTimescale, as
// JPEG. width is in pixels; 0, or more than the picture has: as it is. The header
// Framelog-Media is the picture's media time. Errors are text: 400 and 413 for a wrong
// request, 422 for footage that gives no picture, 503 if it takes too long.
func Pictures(s Settings) http.Handler {
	p := &exact{quality: s.Quality, places: semaphore.NewWeighted(int64(cmp.Or(s.Exact, defaultExact)))}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /picture", p.serve)
	return mux
}

type exact struct {
	quality int
	places  *semaphore.Weighted
}

func (p *exact) serve(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), maxTime)
	defer cancel()
	if p.places.Acquire(ctx, 1) != nil { // before the body is read: it stays in memory
		http.Error(w, "too many pictures are being decoded", http.StatusServiceUnavailable)
		return
	}
	defer p.places.Release(1)
	until, _ := ctx.Deadline()
	rc := http.NewResponseController(w)
	_, _ = rc.SetReadDeadline(until), rc.SetWriteDeadline(until) // not every writer has deadlines
	q := r.URL.Query()
	media, err := strconv.ParseInt(q.Get("media"), 10, 64)
	width, bad := strconv.Atoi(q.Get("width"))
	if err != nil || bad != nil || width < 0 {
		http.Error(w, "media and width: numbers are wanted", http.StatusBadRequest)
		return
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxFootage))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	c, err := schemas.DecodeChunkShared(b)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s, err := pictureAt(ctx, processors.NewFragment("a snapshot", schemas.Entry{}, c), media, width, p.quality)
	switch {
	case ctx.Err() != nil:
		http.Error(w, "decoding takes too long", http.StatusServiceUnavailable)
	case err != nil:
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
	default:
		w.Header().Set("Content-Type", "image/jpeg")
		w.Header().Set("Framelog-Media", strconv.FormatInt(s.pts, 10))
		_, _ = w.Write(s.jpeg) // it fails when the client has gone
	}
}

// still is a picture of a fragment.
type still struct {
	pts  int64 // media time
	jpeg []byte
}

var errNoPicture = errors.New("thumbnail: the fragment has no picture")

// pictureAt decodes the picture that is shown at a media time: the last one that begins at
// or before it, else the fragment's first one. If that picture is damaged, it is the next
// one, or the last one of the fragment.
func pictureAt(ctx context.Context, in *processors.Fragment, media int64, width, quality int) (still, error) {
	t := in.Video()
	if t == nil {
		return still{}, errNoPicture
	}
	if t.Width > 0 && width >= int(t.Width) {
		width = 0
	}
	pts, err := shown(ctx, in, media)
	if err != nil {
		return still{}, err
	}
	var found *video.Picture
	for p, err := range video.Pictures(ctx, in, video.Options{Width: width}) {
		if err != nil {
			return still{}, err
		}
		found = p
		if p.PTS >= pts {
			break
		}
	}
	if found == nil {
		return still{}, errNoPicture
	}
	b, err := video.JPEG(found, cmp.Or(quality, defaultQuality))
	return still{pts: found.PTS, jpeg: b}, err
}

// shown returns the PTS of the picture that is shown at a media time.
func shown(ctx context.Context, in *processors.Fragment, media int64) (pts int64, err error) {
	pts = in.Media
	for c, err := range in.Chunks(ctx) {
		if err != nil {
			return 0, err
		}
		for _, s := range c.Video() {
			if at := s.DTS + int64(s.PTSOffset); at <= media {
				pts = max(pts, at)
			}
		}
		if c.MediaEnd() > media {
			break // later pictures are shown later
		}
	}
	return pts, nil
}
