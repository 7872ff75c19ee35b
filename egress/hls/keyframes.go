package hls

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/schemas"
)

// Keyframes makes the playlist of the keyframes of entries (RFC 8216bis section 4.4.3.6), for
// players that wind forward and back. Each fragment begins with one. It is a resource of its own
// and no byte range, since the size of a keyframe is in no index. A playlist of a range has an end, and
// a live one goes on: its entries are dense.
func Keyframes(entries []schemas.Entry, base string, live bool) []byte {
	if len(entries) == 0 {
		return nil
	}
	var b strings.Builder
	target, _ := promise(entries, nil)
	fmt.Fprintf(&b, "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-I-FRAMES-ONLY\n#EXT-X-TARGETDURATION:%d\n", target)
	if !live {
		b.WriteString("#EXT-X-PLAYLIST-TYPE:VOD\n")
	}
	fmt.Fprintf(&b, "#EXT-X-MEDIA-SEQUENCE:%d\n#EXT-X-DISCONTINUITY-SEQUENCE:%d\n", entries[0].Seq, entries[0].Session)
	config := ""
	for i := range entries {
		e := &entries[i]
		if i > 0 && (e.Session != entries[i-1].Session || e.Seq != entries[i-1].Seq+1) {
			b.WriteString("#EXT-X-DISCONTINUITY\n")
		}
		if hasKeyframe(e) {
			config = writeMap(&b, base, config, e.Config)
		}
		writeDate(&b, e.Start)
		if !hasKeyframe(e) {
			b.WriteString("#EXT-X-GAP\n")
		}
		fmt.Fprintf(&b, "#EXTINF:%s,\n%s\n", seconds(micros(e.Duration)), base+keyframeURI(e.Seq))
	}
	if !live {
		b.WriteString("#EXT-X-ENDLIST\n")
	}
	return []byte(b.String())
}

// hasKeyframe reports whether HLS carries pictures of an entry.
func hasKeyframe(e *schemas.Entry) bool { return carried(e) && e.Layout.Video != "" }

// writeKeyframes writes the line of the keyframes of a variant into a multivariant playlist (RFC
// 8216bis section 4.4.6.3). The bandwidth is that of the whole variant, which is more.
func writeKeyframes(b *strings.Builder, v Variant) {
	for _, t := range v.Tracks {
		if !t.Codec.Video() || v.Keyframes == "" {
			continue
		}
		fmt.Fprintf(b, "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=%d,CODECS=%q", v.Peak, Codecs([]schemas.Track{t}))
		if t.Width > 0 && t.Height > 0 {
			fmt.Fprintf(b, ",RESOLUTION=%dx%d", t.Width, t.Height)
		}
		fmt.Fprintf(b, ",URI=\"%s\"\n", v.Keyframes)
	}
}

// serveKeyframes answers with the playlist of the keyframes of a range, or with ?dvr=… of the newest
// footage.
func (s *Server) serveKeyframes(w http.ResponseWriter, r *http.Request, res resource) error {
	d, err := s.dvr(r.URL.Query())
	if err != nil {
		return err
	}
	if d > 0 {
		return s.serveLiveKeyframes(w, r, res, d)
	}
	in, err := s.parseSpan(r.URL.Query(), time.Now())
	if err != nil {
		return err
	}
	entries, err := s.rangeEntries(r.Context(), res.topic, in)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(entries, func(e schemas.Entry) bool { return hasKeyframe(&e) }) {
		return fail(http.StatusNotFound, "not_found", "%s has no pictures there", noun(res.topic))
	}
	return sendPlaylist(w, r, Keyframes(entries, "", false))
}

func (s *Server) serveLiveKeyframes(w http.ResponseWriter, r *http.Request, res resource, d time.Duration) error {
	st, err := s.stream(res.topic)
	if err != nil {
		return err
	}
	defer st.leave()
	if err := s.ready(r.Context(), st, nil); err != nil {
		return err
	}
	for range 3 {
		if err := s.loadPast(r.Context(), st, d); err != nil {
			return err
		}
		entries, err := st.listed(d)
		if errors.Is(err, errMoved) {
			continue
		}
		if len(entries) == 0 {
			return errTimeout // the first fragment is not complete
		}
		b, err := with(r.Context(), s.loader.rebuilds, func() ([]byte, error) { return Keyframes(entries, "", true), nil })
		if err != nil {
			return err
		}
		return sendPlaylist(w, r, b)
	}
	return errMoved
}

// serveKeyframe answers with the keyframe of a fragment, as one CMAF chunk.
func (s *Server) serveKeyframe(w http.ResponseWriter, r *http.Request, res resource) error {
	e, err := s.loader.find(r.Context(), res.topic, res.seq, s.known(res))
	if err != nil {
		return err
	}
	if !hasKeyframe(&e) {
		return errNoKeyframe
	}
	k, err := s.loader.keyframe(r.Context(), res.topic, e)
	if err != nil {
		return err
	}
	s.writeMedia(w, r, k.parts)
	return nil
}

// keyframe returns the keyframe of an entry.
func (l *loader) keyframe(ctx context.Context, t schemas.Topic, e schemas.Entry) (*segment, error) {
	k := cacheKey{topic: t, seq: e.Seq, config: "key"}
	if s := l.cache.get(k); s != nil {
		return s, nil
	}
	s, _, err := share(ctx, l, &l.made, k, func(ctx context.Context) (*segment, error) {
		return with(ctx, l.rebuilds, func() (*segment, error) {
			for c, err := range l.log.Chunks(ctx, t, e) {
				if err != nil {
					return nil, err
				}
				b, err := keyframeOf(c)
				if err != nil {
					return nil, err
				}
				s := &segment{parts: cmaf.Blocks{b}}
				l.cache.put(k, s, s.parts.Size())
				return s, nil
			}
			return nil, errNoKeyframe
		})
	})
	return s, err
}

var errNoKeyframe = fail(http.StatusNotFound, "not_found", "there is no keyframe here")

// keyframeOf makes a CMAF chunk of the first picture of a chunk 0.
func keyframeOf(c *schemas.Chunk) ([]byte, error) {
	v := c.Video()
	if len(v) == 0 || !v[0].Sync {
		return nil, errNoKeyframe
	}
	one := *c
	one.Runs = []schemas.Run{{Track: schemas.VideoTrack, Samples: v[:1]}}
	var tracks []schemas.Track
	for _, t := range c.Tracks {
		if t.ID == schemas.VideoTrack {
			tracks = append(tracks, t)
		}
	}
	return cmaf.Chunk(tracks, &one)
}
