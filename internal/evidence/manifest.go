// Package evidence writes ranges of footage with all that is needed to show later that nothing
// in them was changed. [Export] writes a directory with clips (see package clip), a manifest,
// sums for sha256sum, and a signature if there is a key. [Verify] checks the directory alone,
// and [Manifest.Compare] checks it against the log.
package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/framelog/framelog/schemas"
)

// Names of the files of an export, beside its clips.
const (
	ManifestName  = "manifest.json"
	SignatureName = "manifest.sig" // 64 bytes of Ed25519 (RFC 8032) over manifest.json
	SumsName      = "SHA256SUMS"   // for sha256sum -c
)

// version is the version of manifests.
const version = 1

// Manifest tells what an export has, and where it comes from.
type Manifest struct {
	Version    int       `json:"version"`
	Camera     string    `json:"camera"`
	Rendition  string    `json:"rendition"`
	Topic      string    `json:"topic"`       // in Kafka, of the chunks
	IndexTopic string    `json:"index_topic"` // of the entries
	From       time.Time `json:"from"`        // that were asked for, in public time
	To         time.Time `json:"to"`
	Made       Made      `json:"made"`
	// PublicKey is the key of the signature: SubjectPublicKeyInfo (RFC 5280) in base64, as
	// between the lines of its PEM file. Empty: the export has no signature.
	PublicKey string `json:"public_key,omitempty"`
	Clips     []Clip `json:"clips"`
	// Missing is what the range does not have.
	Missing []Missing `json:"missing"`
}

// Made tells how an export was made.
type Made struct {
	At       time.Time `json:"at"`
	By       string    `json:"by"`
	Host     string    `json:"host"`
	Software string    `json:"software"`
	Muxer    string    `json:"muxer"` // cmaf.Version
}

// Clip is an MP4 file: the footage of one session and one configuration.
type Clip struct {
	File    string    `json:"file"`
	Bytes   int64     `json:"bytes"`
	SHA256  string    `json:"sha256"`
	From    time.Time `json:"from"` // what it shows, in public time
	To      time.Time `json:"to"`
	Life    string    `json:"life"`
	Session uint64    `json:"session"`
	Config  string    `json:"config"`
	// Header is the part of the file before its segments.
	Header   Header    `json:"header"`
	Segments []Segment `json:"segments"` // one after another up to the file's end
}

// Header is the part of a clip that is made for it.
type Header struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Segment is a fragment of the log, in the form in which HLS, clips and the archive have it.
type Segment struct {
	Seq         uint64    `json:"seq"`
	Epoch       int64     `json:"epoch"`
	Partition   int32     `json:"partition"`
	FirstOffset int64     `json:"first_offset"` // of its chunks in the topic
	LastOffset  int64     `json:"last_offset"`
	IndexOffset int64     `json:"index_offset"` // of its entry
	Start       time.Time `json:"start"`        // public time
	End         time.Time `json:"end"`
	Media       int64     `json:"media"` // media time, in ticks of 1/90000 s
	// Truncated is why the fragment is not whole; empty: it is.
	Truncated string `json:"truncated,omitempty"`
	// LostPackets and LostUnits are what is missing inside, as far as ingest knows.
	LostPackets uint32 `json:"lost_packets,omitempty"`
	LostUnits   uint32 `json:"lost_units,omitempty"`
	At          int64  `json:"at"` // in the clip
	Bytes       int64  `json:"bytes"`
	SHA256      string `json:"sha256"`
	// Chain is SHA-256 of the line that link makes of the segment, and so of all segments of
	// the export up to this one.
	Chain string `json:"chain"`
}

// Missing is time of the range without footage.
type Missing struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	Kind string    `json:"kind"`
	// Reason is that of the gap or absence in the log; see schemas.
	Reason string `json:"reason,omitempty"`
	Seq    uint64 `json:"seq,omitempty"` // of a gap
}

// Kinds of Missing.
const (
	Gap     = "gap"     // footage was received and not kept
	Absence = "absence" // nothing was recorded
	NoEntry = "unknown" // the log has no entry: nothing was recorded, or it has expired
)

// firstLink is what the chain begins with.
var firstLink = strings.Repeat("0", 2*sha256.Size)

// link returns the next link of the chain: SHA-256 of the line
//
//	<link before> <seq> <epoch> <partition> <first offset> <last offset> <SHA-256>
//
// with a line feed at its end.
func (s *Segment) link(before string) string {
	return sum(fmt.Appendf(nil, "%s %d %d %d %d %d %s\n", before, s.Seq, s.Epoch, s.Partition, s.FirstOffset, s.LastOffset, s.SHA256))
}

// sum is SHA-256 in hexadecimal.
func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// encode writes the manifest. Its last two lines are
//
//	  "sha256": "<SHA-256 of all lines before>"
//	}
func (m *Manifest) encode() ([]byte, error) {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, err
	}
	b = append(bytes.TrimSuffix(b, []byte("\n}")), ",\n"...)
	return append(b, lastLines(sum(b))...), nil
}

func lastLines(sum string) string { return "  \"sha256\": \"" + sum + "\"\n}\n" }

// errManifest is returned for a manifest that is not as it was written.
var errManifest = errors.New("it is changed, or cut off: its last lines are not the sum of those before")

// decode reads a manifest. Errors: errManifest; schemas.ErrNewer.
func decode(b []byte) (*Manifest, error) {
	end := len(b) - len(lastLines(firstLink))
	if end < 0 || lastLines(sum(b[:end])) != string(b[end:]) {
		return nil, errManifest
	}
	var v struct{ Version int }
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, err
	}
	if v.Version > version {
		return nil, schemas.ErrNewer
	}
	var m struct {
		Manifest
		SHA256 string `json:"sha256"`
	}
	r := json.NewDecoder(bytes.NewReader(b))
	r.DisallowUnknownFields()
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	if _, err := r.Token(); !errors.Is(err, io.EOF) {
		return nil, errManifest
	}
	return &m.Manifest, m.check()
}

// isClip accepts the names of clips.
var isClip = regexp.MustCompile(`^[a-z0-9][a-zA-Z0-9-]{0,200}\.mp4$`)

// check checks that the manifest describes what Export writes.
func (m *Manifest) check() error {
	if m.Version != version || len(m.Clips) == 0 {
		return fmt.Errorf("it is of version %d and has %d clips", m.Version, len(m.Clips))
	}
	before, names := firstLink, map[string]bool{}
	for i := range m.Clips {
		c := &m.Clips[i]
		if !isClip.MatchString(c.File) || names[c.File] {
			return fmt.Errorf("%q cannot be the name of a clip", c.File)
		}
		names[c.File] = true
		at := c.Header.Bytes
		if at <= 0 {
			return fmt.Errorf("%s has a header of %d bytes", c.File, at)
		}
		for j := range c.Segments {
			s := &c.Segments[j]
			if s.At != at || s.Bytes <= 0 {
				return fmt.Errorf("segment %d stands at %d, want %d", s.Seq, s.At, at)
			}
			if before = s.link(before); s.Chain != before {
				return fmt.Errorf("the chain is broken at segment %d", s.Seq)
			}
			at += s.Bytes
		}
		if at != c.Bytes {
			return fmt.Errorf("%s has %d bytes, and its segments end at %d", c.File, c.Bytes, at)
		}
	}
	return nil
}

// sums is the file for sha256sum.
func (m *Manifest) sums(manifest, signature []byte) []byte {
	var b bytes.Buffer
	for _, c := range m.Clips {
		fmt.Fprintf(&b, "%s  %s\n", c.SHA256, c.File)
	}
	fmt.Fprintf(&b, "%s  %s\n", sum(manifest), ManifestName)
	if signature != nil {
		fmt.Fprintf(&b, "%s  %s\n", sum(signature), SignatureName)
	}
	return b.Bytes()
}
