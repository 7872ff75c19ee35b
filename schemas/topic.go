package schemas

import (
	"fmt"
	"regexp"
	"strings"
)

// Raw is the rendition that the camera itself sent.
const Raw = "raw"

// Sub is the rendition of a camera's second stream. No processor makes it: like raw it has
// numbers of its own.
const Sub = "sub"

// DeadLetterPrefix stands before a processor's name in the rendition of its dead letters.
const DeadLetterPrefix = "dlq-"

var (
	idPattern     = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	prefixPattern = regexp.MustCompile(`^[a-zA-Z0-9._-]{0,64}$`)
)

// ValidateCameraID returns an error if id cannot name a camera. An id is 1 to 63
// lower-case letters, digits and dashes, and does not begin with a dash. "events" is
// reserved, since the API has a path of that name.
func ValidateCameraID(id string) error {
	if id == "events" {
		return fmt.Errorf("camera id %q: it is reserved", id)
	}
	if !idPattern.MatchString(id) {
		return fmt.Errorf("camera id %q: want 1 to 63 of a-z, 0-9 and -, not beginning with -", id)
	}
	return nil
}

// ValidateRendition returns an error if name cannot name a rendition. The rules are
// those of a camera id, and "index" is the name of another topic.
func ValidateRendition(name string) error {
	if name == "index" || !idPattern.MatchString(name) {
		return fmt.Errorf("rendition %q: want 1 to 63 of a-z, 0-9 and -, not beginning with -, and not \"index\"", name)
	}
	return nil
}

// Topic is one camera's media of one rendition. The zero Rendition and [Raw]
// are the source itself.
type Topic struct{ Camera, Rendition string }

// IsRaw reports whether t is what the camera itself sent.
func (t Topic) IsRaw() bool { return t.Rendition == "" || t.Rendition == Raw }

// FromCamera reports whether t is what the camera itself sent, and has numbers of its own:
// [Raw] or [Sub].
func (t Topic) FromCamera() bool { return t.IsRaw() || t.Rendition == Sub }

// Name returns the rendition's name: [Raw] for what the camera itself sent.
func (t Topic) Name() string {
	if t.Rendition == "" {
		return Raw
	}
	return t.Rendition
}

// Source returns the raw topic that t derives from; t itself if it is raw.
func (t Topic) Source() Topic { return Topic{Camera: t.Camera} }

// String returns the topic as people write it: "camera" or "camera/rendition".
func (t Topic) String() string {
	if t.IsRaw() {
		return t.Camera
	}
	return t.Camera + "/" + t.Rendition
}

// Names converts topics to Kafka topic names and back. Prefix (default: none) stands
// before every name, so that several Framelogs can share a cluster.
type Names struct{ Prefix string }

// Validate returns an error if Kafka does not allow the prefix.
func (n Names) Validate() error {
	if !prefixPattern.MatchString(n.Prefix) {
		return fmt.Errorf("topic prefix %q: want at most 64 letters, digits, '.', '_' and '-'", n.Prefix)
	}
	return nil
}

// Media returns the name of the topic of t's chunks: cam.<camera>[.<rendition>].
func (n Names) Media(t Topic) string {
	if t.IsRaw() {
		return n.Prefix + "cam." + t.Camera
	}
	return n.Prefix + "cam." + t.Camera + "." + t.Rendition
}

// Index returns the name of the topic of t's entries, which has one partition.
func (n Names) Index(t Topic) string { return n.Media(t) + ".index" }

// Cameras returns the name of the compacted topic of [Camera] records.
func (n Names) Cameras() string { return n.Prefix + "cameras" }

// Status returns the name of the compacted topic of [Status] records.
func (n Names) Status() string { return n.Prefix + "cameras.status" }

// Events returns the name of the topic of [Event] records of all processors.
func (n Names) Events() string { return n.Prefix + "events" }

// Users returns the name of the compacted topic of users, sign-outs and signing keys.
func (n Names) Users() string { return n.Prefix + "users" }

// Parse parses a Kafka topic name. index reports whether it is an index or a media
// topic. ok is false if the name is not that of a camera's topic.
func (n Names) Parse(name string) (t Topic, index, ok bool) {
	rest, ok := strings.CutPrefix(name, n.Prefix+"cam.")
	if !ok {
		return Topic{}, false, false
	}
	rest, index = strings.CutSuffix(rest, ".index")
	camera, rendition, derived := strings.Cut(rest, ".")
	if !idPattern.MatchString(camera) {
		return Topic{}, false, false
	}
	if derived && (rendition == Raw || ValidateRendition(rendition) != nil) {
		return Topic{}, false, false
	}
	return Topic{Camera: camera, Rendition: rendition}, index, true
}

// Key returns the Kafka record key of a fragment's chunks and entry: <camera>/<seq>.
func Key(camera string, seq uint64) []byte {
	return fmt.Appendf(nil, "%s/%d", camera, seq)
}
