package live

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/framelog/framelog/egress/parts"
	"github.com/framelog/framelog/schemas"
)

// Version is the protocol's. It is in the hello, and the first byte of each binary message.
const Version = 1

const (
	// maxMessage bounds a message of a client, in bytes.
	maxMessage = 4 << 10
	// maxChannel is the highest channel.
	maxChannel = 1<<16 - 1
	// maxPart is more than any fragment has.
	maxPart = 1 << 24
)

// Types of messages. Those of the client are [Subscribe], [Unsubscribe] and [Ack].
const (
	Subscribe     = "subscribe"
	Unsubscribe   = "unsubscribe"
	Ack           = "ack"
	typeHello     = "hello"
	typeNow       = "now"
	typeConfig    = "config"
	typeFragment  = "fragment"
	typeLeftOut   = "left_out"
	typeEnd       = "end"
	mediaInit     = 1
	mediaPart     = 2
	headerInitLen = 4
	headerPartLen = 24
)

// Message is what a client sends, as JSON.
type Message struct {
	Type      string          `json:"type"`
	Channel   int             `json:"channel,omitempty"`
	Camera    string          `json:"camera,omitempty"`
	Rendition string          `json:"rendition,omitempty"` // default raw
	After     *parts.Position `json:"after,omitempty"`     // the last part that the client has
	Keyframes bool            `json:"keyframes,omitempty"` // of each fragment the first part alone
	Bytes     int64           `json:"bytes,omitempty"`     // of binary messages that the client has taken since the connection began
}

// protocolError is a message that no client of this protocol sends.
type protocolError struct{ text string }

func (e *protocolError) Error() string { return e.text }

func badf(format string, a ...any) error { return &protocolError{fmt.Sprintf(format, a...)} }

// ParseMessage reads a message of a client. Members that it does not know are ignored, so
// that newer clients can talk to older servers. The error is for the client.
func ParseMessage(b []byte) (m Message, err error) {
	if json.Unmarshal(b, &m) != nil {
		return m, badf("a message is no JSON of this protocol")
	}
	switch m.Type {
	case Ack:
		if m.Bytes < 0 {
			return m, badf("ack: bytes are below 0")
		}
		return m, nil
	case Unsubscribe, Subscribe:
	default:
		return m, badf("there is no message of this type")
	}
	if m.Channel < 1 || m.Channel > maxChannel {
		return m, badf("%s: a channel is a number from 1 to %d", m.Type, maxChannel)
	}
	if m.Type == Unsubscribe {
		return m, nil
	}
	if m.Rendition == "" {
		m.Rendition = schemas.Raw
	}
	if schemas.ValidateCameraID(m.Camera) != nil || schemas.ValidateRendition(m.Rendition) != nil {
		return m, badf("subscribe: this is no id of a camera, or no name of a rendition")
	}
	if m.After != nil && (m.After.Part >= maxPart || m.After.Epoch < 0) {
		return m, badf("subscribe: after names no part")
	}
	return m, nil
}

// topic is what a subscription is about.
func (m *Message) topic() schemas.Topic {
	t := schemas.Topic{Camera: m.Camera}
	if m.Rendition != schemas.Raw {
		t.Rendition = m.Rendition
	}
	return t
}

// Messages of the server, as JSON.
type (
	hello struct {
		Type     string `json:"type"`
		Version  int    `json:"version"`
		InFlight int64  `json:"in_flight"` // the most bytes of media that are not acknowledged
	}
	now struct {
		Type string `json:"type"`
		Now  int64  `json:"now"` // milliseconds since 1970
	}
	config struct {
		Type    string `json:"type"`
		Channel int    `json:"channel"`
		Config  string `json:"config"`
		MIME    string `json:"mime"`
	}
	begins struct {
		Type    string `json:"type"`
		Channel int    `json:"channel"`
		parts.Fragment
	}
	leftOut struct {
		Type    string `json:"type"`
		Channel int    `json:"channel"`
		*parts.LeftOut
	}
	ends struct {
		Type    string `json:"type"`
		Channel int    `json:"channel"`
		Reason  string `json:"reason"`
		Error   string `json:"error"`
	}
)

func nowMessage() now { return now{Type: typeNow, Now: time.Now().UnixMilli()} }

// initHeader stands before an init segment.
func initHeader(channel int) []byte {
	return binary.BigEndian.AppendUint16([]byte{Version, mediaInit}, uint16(channel))
}

// partHeader stands before a part.
func partHeader(channel int, p parts.Position) []byte {
	b := binary.BigEndian.AppendUint16([]byte{Version, mediaPart}, uint16(channel))
	b = binary.BigEndian.AppendUint32(b, p.Part)
	b = binary.BigEndian.AppendUint64(b, p.Seq)
	return binary.BigEndian.AppendUint64(b, uint64(p.Epoch))
}

// Media is a binary message of the server: an init segment, or a part.
type Media struct {
	Channel int
	Init    bool
	parts.Position
	Data []byte
}

// ParseMedia reads a binary message of the server, for clients in Go.
func ParseMedia(b []byte) (m Media, err error) {
	switch {
	case len(b) >= headerInitLen && b[0] == Version && b[1] == mediaInit:
		m.Init, m.Data = true, b[headerInitLen:]
	case len(b) >= headerPartLen && b[0] == Version && b[1] == mediaPart:
		m.Part, m.Seq, m.Epoch = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint64(b[8:]), int64(binary.BigEndian.Uint64(b[16:]))
		m.Data = b[headerPartLen:]
	default:
		return m, fmt.Errorf("live: %d bytes are no media of version %d", len(b), Version)
	}
	m.Channel = int(binary.BigEndian.Uint16(b[2:]))
	return m, nil
}
