package hls

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/schemas"
)

// kind is what a request is for. It is a label of a metric.
type kind string

const (
	kindMultivariant kind = "multivariant"
	kindPlaylist     kind = "playlist"
	kindKeyframes    kind = "keyframes"
	kindSegment      kind = "segment"
	kindKeyframe     kind = "keyframe"
	kindPart         kind = "part"
	kindInit         kind = "init"
	kindOther        kind = "other"
)

// resource is what a URL names.
type resource struct {
	kind   kind
	topic  schemas.Topic
	seq    uint64 // of a segment, a part or a keyframe
	epoch  int64  // of a part
	part   uint32
	config string // of an init
	alone  bool   // a multivariant playlist that lists its rendition alone
}

// parsePath reads the path of a URL. A resource has exactly one path: numbers with
// a leading zero or a sign are refused.
func parsePath(path string) (r resource, ok bool) {
	rest, ok := strings.CutPrefix(path, "/hls/")
	if !ok {
		return r, false
	}
	camera, rest, ok := strings.Cut(rest, "/")
	if !ok || schemas.ValidateCameraID(camera) != nil {
		return r, false
	}
	r.topic.Camera = camera
	if rest == "index.m3u8" {
		r.kind = kindMultivariant
		return r, true
	}
	rendition, rest, deeper := strings.Cut(rest, "/")
	if !deeper {
		if rendition, ok = strings.CutSuffix(rendition, ".m3u8"); !ok {
			return r, false
		}
		r.kind = kindPlaylist
	}
	if schemas.ValidateRendition(rendition) != nil {
		return r, false
	}
	if rest == "index.m3u8" {
		r.kind, r.alone = kindMultivariant, true
	}
	if rest == "keyframes.m3u8" {
		r.kind = kindKeyframes
	}
	if rendition != schemas.Raw {
		r.topic.Rendition = rendition
	}
	if r.kind != "" {
		return r, true
	}
	name, ok := strings.CutPrefix(rest, cmaf.Version+"/")
	if !ok {
		return r, false
	}
	if hash, ok := strings.CutPrefix(name, "init-"); ok {
		r.kind = kindInit
		r.config, ok = strings.CutSuffix(hash, ".mp4")
		return r, ok && isHash(r.config)
	}
	name, ok = strings.CutSuffix(name, ".m4s")
	if !ok {
		return r, false
	}
	seq, name, isPart := strings.Cut(name, ".")
	if r.seq, ok = number(seq, 64); !ok || !isPart {
		r.kind = kindSegment
		return r, ok
	}
	if name == "key" {
		r.kind = kindKeyframe
		return r, true
	}
	r.kind = kindPart
	epoch, part, _ := strings.Cut(name, ".")
	e, ok1 := number(epoch, 63)
	p, ok2 := number(part, 32)
	r.epoch, r.part = int64(e), uint32(p)
	return r, ok1 && ok2
}

// Subject returns the camera and the rendition that a request is about, for access
// control. Both are "" if the path is not one of this package; then ServeHTTP
// answers 404.
func Subject(r *http.Request) (camera, rendition string) {
	res, ok := parsePath(r.URL.Path)
	if !ok {
		return "", ""
	}
	return res.topic.Camera, res.topic.Name()
}

// Denied answers a sender that may not watch a camera, in the same way as
// ServeHTTP for a camera that does not exist.
func Denied(w http.ResponseWriter, _ *http.Request, camera string) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, noCamera(camera), http.StatusNotFound)
}

func noCamera(camera string) string { return fmt.Sprintf("no camera %q", camera) }

// noun names a topic in an answer.
func noun(t schemas.Topic) string {
	if t.IsRaw() {
		return fmt.Sprintf("camera %q", t.Camera)
	}
	return fmt.Sprintf("rendition %q of camera %q", t.Rendition, t.Camera)
}

// path is the inverse of parsePath.
func (r resource) path() string {
	base := "/hls/" + r.topic.Camera + "/"
	rendition := r.topic.Name()
	switch r.kind {
	case kindMultivariant:
		if r.alone {
			base += rendition + "/"
		}
		return base + "index.m3u8"
	case kindPlaylist:
		return base + rendition + ".m3u8"
	case kindKeyframes:
		return base + rendition + "/keyframes.m3u8"
	case kindSegment:
		return base + rendition + "/" + segmentURI(r.seq)
	case kindKeyframe:
		return base + rendition + "/" + keyframeURI(r.seq)
	case kindPart:
		return base + rendition + "/" + partURI(r.seq, r.epoch, r.part)
	case kindInit:
		return base + rendition + "/" + initURI(r.config)
	case kindOther:
	}
	return ""
}

// URIs of media, below the folder of their rendition.

func segmentURI(seq uint64) string { return string(appendSegmentURI(nil, seq)) }

func appendSegmentURI(b []byte, seq uint64) []byte {
	return append(strconv.AppendUint(append(b, cmaf.Version+"/"...), seq, 10), ".m4s"...)
}

func keyframeURI(seq uint64) string {
	return cmaf.Version + "/" + strconv.FormatUint(seq, 10) + ".key.m4s"
}

func partURI(seq uint64, epoch int64, index uint32) string {
	return fmt.Sprintf("%s/%d.%d.%d.m4s", cmaf.Version, seq, epoch, index)
}

func initURI(config string) string { return cmaf.Version + "/init-" + config + ".mp4" }

func number(s string, bits int) (uint64, bool) {
	if s == "" || len(s) > 1 && s[0] == '0' || s[0] < '0' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, bits)
	return n, err == nil
}

func isHash(s string) bool {
	if len(s) != 16 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
