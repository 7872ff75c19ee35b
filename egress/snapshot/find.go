package snapshot

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// failure is an answer without a picture.
type failure struct {
	code         int
	what, remedy string
}

func (f *failure) Error() string { return f.what }

func (f *failure) result() string {
	if f.code == http.StatusServiceUnavailable {
		return "failed"
	}
	return "none"
}

var (
	errNone    = &failure{http.StatusNotFound, "there is no picture near this time", "ask for another time; /v1/events/<camera> lists gaps"}
	errExpired = &failure{http.StatusGone, "this footage has expired", ""}
	errTooLong = &failure{
		http.StatusNotImplemented, "too much footage leads to this picture, 32 MiB are possible",
		"set a shorter keyframe interval in the camera, or run the processor thumbnail",
	}
	errNotDecoded = &failure{http.StatusServiceUnavailable, "the processor thumbnail made no picture", "try again; if it goes on, look at the log of that processor"}
	errNoDecoder  = &failure{
		http.StatusNotImplemented, "there is no picture to show: egress decodes no video, and no rendition of this camera is MJPEG",
		"run the processor thumbnail for this camera",
	}
)

// find returns the picture at a time: the exact one, else the nearest of a rendition.
func (s *Server) find(ctx context.Context, camera string, at time.Time, width int) (*picture, error) {
	newest, err := s.deps.Newest(ctx, camera)
	if err != nil {
		return nil, err
	}
	if newest[schemas.Raw].Kind == "" && !at.IsZero() {
		// The log has nothing of the camera. What there is at that time may be in the archive.
		e, _, err := s.nearest(ctx, schemas.Topic{Camera: camera}, schemas.Entry{}, at)
		if err != nil && len(newest) == 0 {
			return nil, err
		}
		if err == nil {
			newest[schemas.Raw] = e
		}
	}
	result, failed := "nearest", error(errNoDecoder)
	raw := newest[schemas.Raw].Layout.Video
	if s.deps.Decoder != nil && raw.Video() && (raw != schemas.MJPEG || width > 0) {
		p, err := s.decoded(ctx, camera, newest[schemas.Raw], at, width)
		if err == nil {
			return p, nil
		}
		result, failed = "instead", err
	}
	name, ok := choose(newest)
	if !ok {
		return nil, failed
	}
	topic := schemas.Topic{Camera: camera, Rendition: name}
	if name == schemas.Raw {
		topic = topic.Source()
	}
	f, err := s.footage(ctx, topic, newest[name], at)
	if err != nil {
		return nil, err
	}
	if name == schemas.Raw && result == "nearest" {
		result = "exact"
	}
	p := f.image(result)
	p.settled = p.settled && result != "instead" // an exact one may come
	return p, nil
}

// decoded returns the exact picture of a camera. It takes at most half of the time, so that
// the nearest one can still be read.
func (s *Server) decoded(ctx context.Context, camera string, newest schemas.Entry, at time.Time, width int) (*picture, error) {
	half, cancel := context.WithTimeout(ctx, s.cfg.ReadTimeout/2)
	defer cancel()
	f, err := s.footage(half, schemas.Topic{Camera: camera}, newest, at)
	if err != nil {
		return nil, err
	}
	b, shown, err := s.deps.Decoder.Picture(half, f.chunk, f.media, width)
	if err != nil {
		if ctx.Err() == nil { // the client has not gone
			s.deps.Logger.Warn("the processor thumbnail made no exact snapshot", "camera", camera, "seq", f.entry.Seq, "err", err)
		}
		return nil, errNotDecoded
	}
	return f.picture(b, shown, "exact"), nil
}

// choose returns the rendition to take pictures from: what the camera itself sent if it is
// MJPEG, else the rendition thumbnail, else any other of MJPEG.
func choose(newest map[string]schemas.Entry) (name string, ok bool) {
	var all []string
	for n, e := range newest {
		if e.Layout.Video == schemas.MJPEG && (n == schemas.Raw || e.Role == schemas.RoleVariant || e.Role == schemas.RoleAlternative) {
			all = append(all, n)
		}
	}
	if len(all) == 0 {
		return "", false
	}
	rank := func(n string) int { return slices.Index([]string{"thumbnail", schemas.Raw}, n) }
	return slices.MaxFunc(all, func(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(b, a)) }), true
}

// far is how far the nearest thumbnail may be from the time that was asked for. lookBack is
// how many fragments before the newest are searched for the newest thumbnail.
const (
	far      = 30 * time.Second
	lookBack = 32
)

// nearest returns the fragment with a picture nearest to a time. sure: none that is nearer
// can come later.
func (s *Server) nearest(ctx context.Context, t schemas.Topic, last schemas.Entry, at time.Time) (best schemas.Entry, sure bool, err error) {
	r := medialog.Range{FromSeq: last.Seq - min(last.Seq, lookBack)}
	if at.IsZero() {
		at = last.End()
	} else {
		r = medialog.Range{From: at.Add(-far), To: at.Add(far)}
	}
	found := false
	var end time.Time // of the newest fragment
	for e, err := range s.deps.Log.Entries(ctx, t, r) {
		if errors.Is(err, medialog.ErrNoTopic) {
			break
		}
		if err != nil {
			return best, false, err
		}
		end = e.End()
		if e.Playable() && (!found || distance(&e, at) <= distance(&best, at)) {
			best, found = e, true
		}
	}
	if !found {
		return best, false, errNone
	}
	return best, end.After(at.Add(distance(&best, at))), nil
}

// distance is how far a fragment is from a time.
func distance(e *schemas.Entry, at time.Time) time.Duration {
	return max(0, e.Start.Sub(at), at.Sub(e.End()))
}

// footage is what leads to the picture of a fragment at a time.
type footage struct {
	entry   schemas.Entry
	media   int64          // that time, as media time
	settled bool           // see picture
	chunk   *schemas.Chunk // the track and the samples of pictures, as one chunk
}

// maxFootage is the most bytes of footage that are read for one picture. Tests change it.
var maxFootage = 32 << 20

// footage reads the fragment with the picture nearest to a time; zero: the newest one.
func (s *Server) footage(ctx context.Context, t schemas.Topic, newest schemas.Entry, at time.Time) (*footage, error) {
	e, sure, err := s.nearest(ctx, t, newest, at)
	if err != nil {
		return nil, err
	}
	f := &footage{entry: e, media: math.MaxInt64, settled: sure && !at.IsZero()}
	if !at.IsZero() {
		f.media = e.Media + schemas.Ticks(at.Sub(e.Start))
	}
	var samples []schemas.Sample
	size := 0
	for c, err := range s.deps.Log.Chunks(ctx, t, e) {
		switch {
		case errors.Is(err, medialog.ErrExpired):
			return nil, errExpired
		case err != nil:
			return nil, err
		}
		if f.chunk == nil {
			first := *c
			f.chunk = &first
		}
		for _, x := range c.Video() {
			if x.Sync && x.DTS+int64(x.PTSOffset) <= f.media && size > 0 {
				// What is shown from here on decodes from here on.
				samples, size, f.chunk.OpenGOP = nil, 0, true
			}
			if n := len(samples); n > 0 { // a run has no holes
				samples[n-1].Duration = uint32(x.DTS - samples[n-1].DTS)
			}
			if size += len(x.Data); size > maxFootage {
				samples = nil // of no use, unless another GOP begins
				continue
			}
			samples = append(samples, x)
		}
		if size > 0 && c.MediaEnd() > f.media {
			break // later pictures are shown later
		}
	}
	if size > maxFootage {
		return nil, errTooLong
	}
	if len(samples) == 0 {
		return nil, errNone
	}
	f.chunk.Tracks = slices.DeleteFunc(slices.Clone(f.chunk.Tracks), func(t schemas.Track) bool { return t.ID != schemas.VideoTrack })
	f.chunk.Runs = []schemas.Run{{Track: schemas.VideoTrack, Samples: samples}}
	return f, nil
}

// picture returns the picture that is shown at a media time.
func (f *footage) picture(jpeg []byte, shown int64, result string) *picture {
	return &picture{jpeg: jpeg, taken: f.entry.Start.Add(schemas.FromTicks(shown - f.entry.Media)), settled: f.settled, result: result}
}

// image returns the picture of MJPEG that is shown at the time: the last one that begins at
// or before it, else the first one.
func (f *footage) image(result string) *picture {
	samples := f.chunk.Video()
	i := len(samples) - 1
	for i > 0 && samples[i].DTS > f.media {
		i--
	}
	return f.picture(samples[i].Data, samples[i].DTS, result)
}
