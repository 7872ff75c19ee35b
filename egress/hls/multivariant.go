package hls

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/framelog/framelog/schemas"
)

// Variant is one rendition in a multivariant playlist.
type Variant struct {
	URI           string
	Keyframes     string // URI of the playlist of its keyframes; "": there is none
	Peak, Average int64  // bit/s
	Tracks        []schemas.Track
	FrameRate     float64 // frames per second; 0 if it is not known
}

// Multivariant makes the multivariant playlist (RFC 8216bis section 4.4.6). It does
// not contain INDEPENDENT-SEGMENTS: players read it once, and the tag would hold
// for all segments that come later.
func Multivariant(variants []Variant) []byte {
	var b strings.Builder
	b.WriteString("#EXTM3U\n#EXT-X-VERSION:9\n")
	for _, v := range variants {
		fmt.Fprintf(&b, "#EXT-X-STREAM-INF:BANDWIDTH=%d,AVERAGE-BANDWIDTH=%d", v.Peak, v.Average)
		if c := Codecs(v.Tracks); c != "" {
			fmt.Fprintf(&b, ",CODECS=%q", c)
		}
		for _, t := range v.Tracks {
			if t.Codec.Video() && t.Width > 0 && t.Height > 0 {
				fmt.Fprintf(&b, ",RESOLUTION=%dx%d", t.Width, t.Height)
			}
		}
		if v.FrameRate > 0 {
			fmt.Fprintf(&b, ",FRAME-RATE=%.3f", v.FrameRate)
		}
		fmt.Fprintf(&b, "\n%s\n", v.URI)
	}
	for _, v := range variants {
		writeKeyframes(&b, v)
	}
	return []byte(b.String())
}

// chunkOverhead is an upper estimate of the bytes that boxes add to a chunk. An
// entry has the bytes of the samples, not their number.
const chunkOverhead = 512

// Bandwidth returns bit rates of entries (RFC 8216bis section 4.4.6.2), in bit/s:
// the largest of any run of segments that lasts between 0.5 and 1.5 target
// durations, and the average of all. Gaps have no bits and do not count.
func Bandwidth(entries []schemas.Entry) (peak, average int64) {
	rate := func(bytes, ticks int64) int64 {
		return int64(math.Ceil(float64(bytes) * 8 * schemas.MediaTimescale / float64(ticks)))
	}
	var bytes, ticks int64
	for i := range entries {
		e := &entries[i]
		if !e.Playable() || e.Duration <= 0 {
			continue
		}
		bytes += size(e)
		ticks += e.Duration
		target := int64(e.Layout.Target) * schemas.MediaTimescale
		var runBytes, runTicks int64
		for j := i; j < len(entries) && entries[j].Playable(); j++ {
			runBytes += size(&entries[j])
			runTicks += entries[j].Duration
			if 2*runTicks > 3*target {
				break
			}
			if 2*runTicks >= target {
				peak = max(peak, rate(runBytes, runTicks))
			}
		}
	}
	if ticks > 0 {
		average = rate(bytes, ticks)
	}
	return max(peak, average), average
}

func size(e *schemas.Entry) int64 { return e.Bytes + int64(e.Chunks)*chunkOverhead }

// maxLag: the multivariant playlist lists a variant only if it is less than so many target
// durations behind raw. The limit is high since players read that playlist once: a variant
// that is late for a moment must not be missing.
const maxLag = 6

func (s *Server) serveMultivariant(w http.ResponseWriter, r *http.Request, res resource) error {
	if hasSpan(r.URL.Query()) {
		return s.serveRange(w, r, res)
	}
	dvr, err := s.dvr(r.URL.Query())
	if err != nil {
		return err
	}
	st, err := s.stream(res.topic)
	if err != nil {
		return err
	}
	defer st.leave()
	base := ""
	var others []*stream
	if res.alone {
		base = "../"
	} else {
		for _, t := range s.variants(r, res.topic.Camera, false) {
			if o, err := s.stream(t); err == nil { // else there is no room for its tail: it is left out
				others = append(others, o)
			}
		}
	}
	for _, o := range others {
		defer o.leave()
	}
	all, err := s.lines(r.Context(), st, others)
	if err != nil {
		return err
	}
	for i := range all {
		if dvr > 0 {
			all[i].Keyframes = base + strings.TrimSuffix(all[i].URI, ".m3u8") + "/keyframes.m3u8" + dvrQuery(dvr)
		}
		all[i].URI = base + all[i].URI + dvrQuery(dvr)
	}
	return sendPlaylist(w, r, Multivariant(all))
}

// variants returns a camera's variants, without raw and without those that the sender of r may
// not watch. If past, those are among them that only the archive has.
func (s *Server) variants(r *http.Request, camera string, past bool) (all []schemas.Topic) {
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.FirstWait)
	defer cancel()
	list := s.renditions.variants
	if past {
		list = s.renditions.pastVariants
	}
	for _, t := range list(ctx, camera) {
		if s.cfg.MayWatch == nil || s.cfg.MayWatch(r, camera, t.Name()) {
			all = append(all, t)
		}
	}
	return all
}

// lines returns the lines of a multivariant playlist: of st as soon as it can be played,
// and of its variants that are not late. If st is MJPEG, they are of the variants alone.
func (s *Server) lines(ctx context.Context, st *stream, variants []*stream) ([]Variant, error) {
	begin := time.Now()
	var first Variant
	err := s.ready(ctx, st, func() (ok bool) {
		first, ok = st.line()
		return ok
	})
	all := []Variant{first}
	if err != nil {
		if f, ok := errors.AsType[*failure](err); !ok || f.code != http.StatusNotAcceptable || len(variants) == 0 {
			return nil, err
		}
		all, err = nil, fail(http.StatusServiceUnavailable, "timeout", "no variant of %s has footage to play yet", noun(st.topic))
	}
	st.mu.Lock()
	edge, limit := st.model.edge(), maxLag*schemas.Ticks(st.model.target())
	st.mu.Unlock()
	for _, o := range variants {
		// A variant that is not there in time is left out.
		_ = o.await(ctx, s.cfg.FirstWait-time.Since(begin), func() (bool, error) { return o.live, nil })
		o.mu.Lock()
		line, ok := o.line()
		late := edge-o.model.edge() >= limit
		o.mu.Unlock()
		if ok && !late {
			all = append(all, line)
		}
	}
	if len(all) == 0 {
		return nil, err
	}
	return all, nil
}

// line returns the stream's line in a multivariant playlist; ok is false while it cannot be
// played. st.mu is held.
func (st *stream) line() (v Variant, ok bool) {
	if !st.live || st.model.video() == schemas.MJPEG {
		return v, false
	}
	v, ok = st.model.variant()
	v.URI = st.topic.Name() + ".m3u8"
	return v, ok
}

// reports returns how far the camera's other variants are, as far as they are followed now.
// It returns none if st is no variant.
func (s *Server) reports(st *stream) (all []Report) {
	st.mu.Lock()
	variant := st.isVariant()
	st.mu.Unlock()
	if !variant {
		return nil
	}
	for _, t := range slices.Concat([]schemas.Topic{st.topic.Source()}, s.renditions.known(st.topic.Camera)) {
		if t == st.topic {
			continue
		}
		if o := s.lookup(t); o != nil {
			if r, ok := o.report(); ok {
				all = append(all, r)
			}
		}
	}
	return all
}
