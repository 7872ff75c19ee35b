package exec

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/framelog/framelog/schemas"
)

// version is the version of the protocol.
const version = 1

// A frame begins with headSize bytes: "FL" and the version, its kind, and the lengths of
// its header and its payload.
const (
	headSize = 12
	// maxHeader is the most bytes of a header.
	maxHeader = 1 << 20
)

// The kinds of frames. The first ones are for the program, the others are its answers.
// kindPicture is both.
const (
	kindHello    = 'H'
	kindFragment = 'F'
	kindPicture  = 'P'
	kindChunk    = 'C'
	kindEnd      = 'E'

	kindReady  = 'R'
	kindData   = 'D'
	kindEvent  = 'V'
	kindNote   = 'N'
	kindDone   = 'O'
	kindFailed = 'X'
)

// micros is a time in RFC 3339 with microseconds, as most languages can read it.
type micros time.Time

func (m micros) MarshalJSON() ([]byte, error) {
	return time.Time(m).UTC().AppendFormat(nil, `"2006-01-02T15:04:05.000000Z"`), nil
}

// key names an attempt to process a fragment. All frames about it have it.
type key struct {
	Seq     uint64 `json:"seq"`
	Attempt int    `json:"attempt"`
}

type helloHeader struct {
	Version   int     `json:"version"`
	Processor string  `json:"processor"`
	Mode      string  `json:"mode"`
	Format    string  `json:"format,omitempty"`
	Width     int     `json:"width,omitempty"`
	Height    int     `json:"height,omitempty"`
	FPS       float64 `json:"fps,omitempty"`
	Output    string  `json:"output,omitempty"` // the rendition of the program's pictures
}

type fragmentHeader struct {
	key
	Camera       string        `json:"camera"`
	Input        string        `json:"input"`
	Life         string        `json:"life"`
	Session      uint64        `json:"session"`
	Start        micros        `json:"start"`
	Media        int64         `json:"media"`
	OpenGOP      bool          `json:"open_gop,omitempty"`
	KeyframeOnly bool          `json:"keyframe_only,omitempty"`
	Tracks       []trackHeader `json:"tracks"`
}

type trackHeader struct {
	ID         uint8         `json:"id"`
	Codec      schemas.Codec `json:"codec"`
	Timescale  uint32        `json:"timescale"`
	Config     []byte        `json:"config,omitempty"` // base64
	Width      uint16        `json:"width,omitempty"`
	Height     uint16        `json:"height,omitempty"`
	SampleRate uint32        `json:"sample_rate,omitempty"`
	Channels   uint8         `json:"channels,omitempty"`
}

type pictureHeader struct {
	key
	PTS      int64  `json:"pts"`
	Duration int64  `json:"duration"`
	Time     micros `json:"time"`
	Width    int    `json:"width"`
	Height   int    `json:"height"`
	Format   string `json:"format"`
}

type chunkHeader struct {
	key
	Index   uint32         `json:"index"`
	Samples []sampleHeader `json:"samples"`
}

type sampleHeader struct {
	Track    uint8  `json:"track"`
	DTS      int64  `json:"dts"`
	PTS      int64  `json:"pts"`
	Duration uint32 `json:"duration"`
	Sync     bool   `json:"sync,omitempty"`
	Size     int    `json:"size"`
}

type endHeader struct {
	key
	Complete    bool         `json:"complete"` // the program has got everything
	Kind        schemas.Kind `json:"kind,omitempty"`
	Duration    int64        `json:"duration,omitempty"`
	LostPackets uint32       `json:"lost_packets,omitempty"`
	LostUnits   uint32       `json:"lost_units,omitempty"`
}

// answer is a frame of the program: its kind and all that a header can have.
type answer struct {
	kind            byte
	header, payload int // their lengths; read the payload with answers.read

	key
	Version  int `json:"version"`
	PTS      int64
	Duration int64
	Width    int
	Height   int
	Boxes    []schemas.Box
	Score    float64
	Type     string
	Start    time.Time
	End      time.Time
	Value    float64
	Data     json.RawMessage
	Note     json.RawMessage
	Error    string
}

// writeFrame writes a frame in which no payload is copied.
func writeFrame(f *os.File, kind byte, header any, payloads ...[]byte) error {
	b := make([]byte, headSize, 512)
	h, err := json.Marshal(header)
	if err != nil {
		return fmt.Errorf("exec: frame %c: %w", kind, err)
	}
	n := 0
	for _, p := range payloads {
		n += len(p)
	}
	b = append(b, h...)
	putHead(b, kind, len(h), n)
	if _, err := f.Write(b); err != nil {
		return err
	}
	for _, p := range payloads {
		if _, err := f.Write(p); err != nil {
			return err
		}
	}
	return nil
}

func putHead(b []byte, kind byte, header, payload int) {
	copy(b, "FL")
	b[2], b[3] = version, kind
	binary.BigEndian.PutUint32(b[4:], uint32(header))
	binary.BigEndian.PutUint32(b[8:], uint32(payload))
}

// garbage is an answer that breaks the protocol.
type garbage struct{ what string }

func (g *garbage) Error() string { return "its answer breaks the protocol: " + g.what }

func garbagef(format string, args ...any) error { return &garbage{fmt.Sprintf(format, args...)} }

// answers reads the frames of a program.
type answers struct {
	r      *bufio.Reader
	header []byte
}

// await waits until a frame is there. It reads nothing, so it can be called again after an
// error. Errors: those of the reader; io.EOF between two frames.
func (a *answers) await() error {
	b, err := a.r.Peek(headSize)
	if errors.Is(err, io.EOF) && len(b) > 0 {
		return garbagef("it ends with %q, within a frame", b)
	}
	return err
}

// next reads a frame but for its payload. Errors: *garbage; those of the reader.
func (a *answers) next() (*answer, error) {
	if err := a.await(); err != nil {
		return nil, err
	}
	var head [headSize]byte
	if _, err := io.ReadFull(a.r, head[:]); err != nil {
		return nil, err
	}
	if string(head[:2]) != "FL" {
		return nil, garbagef("it wrote %q where a frame begins", head[:])
	}
	if head[2] != version {
		return nil, garbagef("a frame of version %d, Framelog has %d", head[2], version)
	}
	header, payload := binary.BigEndian.Uint32(head[4:]), binary.BigEndian.Uint32(head[8:])
	if header > maxHeader {
		return nil, garbagef("a header of %d bytes, at most %d are allowed", header, maxHeader)
	}
	if payload > 0 && head[3] != kindPicture {
		return nil, garbagef("a payload in a frame %q, which has none", head[3])
	}
	if cap(a.header) < int(header) {
		a.header = make([]byte, header)
	}
	b := a.header[:header]
	if err := a.read(b); err != nil {
		return nil, err
	}
	m := &answer{kind: head[3], header: int(header), payload: int(payload)}
	if err := json.Unmarshal(b, m); err != nil {
		return nil, garbagef("the header of a frame %q: %v", head[3], err)
	}
	return m, nil
}

// read fills b.
func (a *answers) read(b []byte) error {
	_, err := io.ReadFull(a.r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return garbagef("it ends within a frame")
	}
	return err
}
