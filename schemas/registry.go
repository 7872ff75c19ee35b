package schemas

import (
	"slices"
	"strings"
	"time"
)

// Sources of a camera record. The source alone may change the record.
const (
	SourceFile = "file" // a configuration file; only that file changes it
	SourceAPI  = "api"  // the HTTP API or the command line
)

// Camera is one record of the registry: the desired state of one camera. The
// record's key is the camera's id; a tombstone removes it.
type Camera struct {
	ID    string `msgpack:"id" json:"id"`
	Label string `msgpack:"label,omitempty" json:"label,omitempty"` // free text for people
	// URL is rtsp:// or rtsps:// without user and password, or that of a [Replay].
	// Values in path and query of the former may be references to secrets:
	// ${FRAMELOG_SECRET_X} or ${file:NAME}.
	URL string `msgpack:"url" json:"url"`
	// User is plain text or one reference. If User is a reference and Password is
	// empty, the secret may be "user:password".
	User string `msgpack:"user,omitempty" json:"-"`
	// Password is one reference, never the password itself. Empty: there is none.
	Password string `msgpack:"password,omitempty" json:"-"`
	// Substream is the URL of the camera's second stream, a smaller picture that is
	// recorded as rendition [Sub]; "": there is none. Its user and password are as those
	// of URL, and the other settings are for both streams.
	Substream         string `msgpack:"substream,omitempty" json:"substream,omitempty"`
	SubstreamUser     string `msgpack:"substream_user,omitempty" json:"-"`
	SubstreamPassword string `msgpack:"substream_password,omitempty" json:"-"`

	Transport string `msgpack:"transport,omitempty" json:"transport,omitempty"` // "" (TCP, then UDP), "tcp" or "udp"
	// InsecureTLS accepts any certificate of an rtsps camera (many have
	// self-signed ones).
	InsecureTLS bool `msgpack:"insecure_tls,omitempty" json:"insecure_tls,omitempty"`
	NoAudio     bool `msgpack:"no_audio,omitempty" json:"no_audio,omitempty"`
	Disabled    bool `msgpack:"disabled,omitempty" json:"disabled,omitempty"`
	// Engine is what speaks RTSP with the camera: "gstreamer" or "native"; "": what is set
	// in the configuration of ingest.
	Engine string `msgpack:"engine,omitempty" json:"engine,omitempty"`
	// ChunkMS is how long its chunks are, in ms, at most MaxChunkMS. A chunk has at least one
	// picture. 0: what is set in the configuration of ingest.
	ChunkMS uint16 `msgpack:"chunk_ms,omitempty" json:"chunk_ms,omitempty"`

	Source string `msgpack:"source" json:"source"`                     // SourceFile or SourceAPI
	Origin string `msgpack:"origin,omitempty" json:"origin,omitempty"` // NAME:LINE of the configuration file, if Source is SourceFile
	// Place is where that file was when it was read, as HOST:PATH. It
	// distinguishes files with the same name.
	Place string `msgpack:"place,omitempty" json:"-"`

	Updated time.Time `msgpack:"updated" json:"updated"`
}

// MaxChunkMS is the most that Camera.ChunkMS may be.
const MaxChunkMS = 2000

// ChunkDuration returns how long the camera's chunks are; 0: as ingest is configured.
func (c Camera) ChunkDuration() time.Duration { return time.Duration(c.ChunkMS) * time.Millisecond }

// Equal reports whether d and c differ at most in label, origin, place and time
// of change, so that a running camera can go on. Different sources are not
// equal: a camera of a file may refer to secrets that a camera of the API may
// not.
func (c Camera) Equal(d Camera) bool {
	c.Label, d.Label = "", ""
	c.Origin, d.Origin = "", ""
	c.Place, d.Place = "", ""
	c.Updated, d.Updated = time.Time{}, time.Time{}
	return c == d
}

// Main returns c without its second stream.
func (c Camera) Main() Camera {
	c.Substream, c.SubstreamUser, c.SubstreamPassword = "", "", ""
	return c
}

// Sub returns c with its second stream as the only one; false if it has none.
func (c Camera) Sub() (Camera, bool) {
	sub := c.Main()
	sub.URL, sub.User, sub.Password = c.Substream, c.SubstreamUser, c.SubstreamPassword
	return sub, c.Substream != ""
}

// WithSub returns c with the only stream of sub as its second one.
func (c Camera) WithSub(sub Camera) Camera {
	c.Substream, c.SubstreamUser, c.SubstreamPassword = sub.URL, sub.User, sub.Password
	return c
}

// Streams returns the camera's streams, the main one first, each as the only one of a
// record.
func (c Camera) Streams() []Camera {
	all := []Camera{c.Main()}
	if sub, ok := c.Sub(); ok {
		all = append(all, sub)
	}
	return all
}

// State is what a camera is doing.
type State string

// The states of a camera.
const (
	StateConnecting State = "connecting" // first attempt
	StateLive       State = "live"       // recording; if not, Problem says why
	StateAway       State = "away"       // no connection or no data; ingest keeps trying
	StateRefused    State = "refused"    // the camera refuses the connection: credentials, path
	StateUnusable   State = "unusable"   // its stream cannot be recorded: codec, no keyframe
	StateDisabled   State = "disabled"   // disabled in the registry
	StateEnded      State = "ended"      // its source has an end, and all of it is recorded: a replay is complete
	// StateRemoved: the registry does not have the camera any more. The record keeps
	// where its numbers stand, until its footage is purged.
	StateRemoved State = "removed"
)

// Status is one record of the status topic: the observed state of one camera,
// written by its owner on every change and at least every 10 s. The key is the
// camera's id.
type Status struct {
	Camera string `msgpack:"camera" json:"camera"`
	Owner  string `msgpack:"owner" json:"owner"` // ingest instance
	Host   string `msgpack:"host" json:"host"`
	State  State  `msgpack:"state" json:"state"`
	// Error is the last error, without secrets. Problem is what is wrong with a
	// camera that is live ("no keyframe for 20 s").
	Error   string    `msgpack:"error,omitempty" json:"error,omitempty"`
	Problem string    `msgpack:"problem,omitempty" json:"problem,omitempty"`
	Since   time.Time `msgpack:"since" json:"since"`     // of State
	Updated time.Time `msgpack:"updated" json:"updated"` // of the record

	Video   Codec   `msgpack:"video,omitempty" json:"video,omitempty"`
	Audio   Codec   `msgpack:"audio,omitempty" json:"audio,omitempty"`
	Width   uint16  `msgpack:"width,omitempty" json:"width,omitempty"`
	Height  uint16  `msgpack:"height,omitempty" json:"height,omitempty"`
	FPS     float64 `msgpack:"fps,omitempty" json:"fps,omitempty"`
	Bitrate uint64  `msgpack:"bitrate,omitempty" json:"bitrate,omitempty"` // bit/s over the last 10 s

	// Absent is the newest time in which nothing was recorded, in seconds, and
	// AbsentReason why. It ended with the newest session.
	Absent       float64 `msgpack:"absent,omitempty" json:"absent,omitempty"`
	AbsentReason string  `msgpack:"absent_reason,omitempty" json:"absent_reason,omitempty"`

	// Stands is where the camera's numbers stood when its newest session began.
	// It is for writers of the log alone.
	Stands Standing `msgpack:"stands,omitempty" json:"-"`

	// Substream is the camera's second stream; nil: it never had one.
	Substream *StreamStatus `msgpack:"substream,omitempty" json:"substream,omitempty"`
}

// StreamStatus is the observed state of a camera's second stream. Its fields are as those
// of [Status].
type StreamStatus struct {
	State   State     `msgpack:"state" json:"state"` // "": the camera has no second stream any more
	Error   string    `msgpack:"error,omitempty" json:"error,omitempty"`
	Problem string    `msgpack:"problem,omitempty" json:"problem,omitempty"`
	Since   time.Time `msgpack:"since" json:"since"`

	Video   Codec   `msgpack:"video,omitempty" json:"video,omitempty"`
	Audio   Codec   `msgpack:"audio,omitempty" json:"audio,omitempty"`
	Width   uint16  `msgpack:"width,omitempty" json:"width,omitempty"`
	Height  uint16  `msgpack:"height,omitempty" json:"height,omitempty"`
	FPS     float64 `msgpack:"fps,omitempty" json:"fps,omitempty"`
	Bitrate uint64  `msgpack:"bitrate,omitempty" json:"bitrate,omitempty"`

	Stands Standing `msgpack:"stands,omitempty" json:"-"`
}

// StaleAfter is the age at which a status is out of date: its owner writes one
// every 10 s.
const StaleAfter = 30 * time.Second

// Stale reports whether s is out of date: its owner is gone, or cannot reach
// the brokers.
func (s *Status) Stale(now time.Time) bool { return now.Sub(s.Updated) > StaleAfter }

// Standing is where a camera's numbers stand. A writer that finds an index without
// entries, since retention has removed them, goes on from it. The zero value: not known.
type Standing struct {
	Life    string `msgpack:"life"`
	Seq     uint64 `msgpack:"seq"`     // of the newest session's first fragment
	Session uint64 `msgpack:"session"` // the newest one
	Layout  Layout `msgpack:"layout"`
	Media   int64  `msgpack:"media"` // media time of that fragment, ticks of MediaTimescale
}

// Purge is a record of the registry that is no camera: which footage of a camera id was
// purged. It stays when the camera is removed or added again, so that nothing of that
// footage comes back. Its key is [PurgeKey] and its partition that of the camera's record.
type Purge struct {
	Camera string    `msgpack:"camera"`
	Lives  []string  `msgpack:"lives,omitempty"` // that were purged, oldest first; at most MaxPurgedLives
	At     time.Time `msgpack:"at"`              // of the newest purge
}

// MaxPurgedLives is how many purged lives of a camera id are remembered, the newest ones.
// A late record of an older one would come from a process that stood still while the
// camera was purged that many times.
const MaxPurgedLives = 16

// With returns p with more lives. Empty ones and those that p has already are left out.
func (p Purge) With(at time.Time, lives ...string) Purge {
	p.Lives, p.At = slices.Clone(p.Lives), at
	for _, life := range lives {
		if life != "" && !slices.Contains(p.Lives, life) {
			p.Lives = append(p.Lives, life)
		}
	}
	p.Lives = p.Lives[max(len(p.Lives)-MaxPurgedLives, 0):]
	return p
}

// purgeKey stands before the camera's id. No id holds its slash.
const purgeKey = "purged/"

// PurgeKey returns the record key of a camera's [Purge].
func PurgeKey(camera string) string { return purgeKey + camera }

// RegistryKey parses the key of a record of the registry: the camera that it is about,
// and whether its value is a [Purge] instead of a [Camera].
func RegistryKey(key []byte) (camera string, purge bool) {
	return strings.CutPrefix(string(key), purgeKey)
}
