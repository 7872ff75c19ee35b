package forward

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bluenviron/gortmplib/pkg/amf0"
	"github.com/bluenviron/gortmplib/pkg/bytecounter"
	"github.com/bluenviron/gortmplib/pkg/handshake"
	"github.com/bluenviron/gortmplib/pkg/rawmessage"

	"github.com/framelog/framelog/schemas"
)

// rtmpConn publishes by RTMP (Adobe's RTMP 1.0), with the bodies of FLV tags (Adobe's Video
// File Format 10.1, annex E). H.265 is that of Enhanced RTMP 2. gortmplib's own client is
// not used: it answers the server's pings while it may be writing, does not mark keyframes
// of H.265, and does not understand FFmpeg's server.
type rtmpConn struct {
	net   net.Conn
	count *bytecounter.ReadWriter
	in    *rawmessage.Reader
	start int64 // media time of RTMP time 0, in ticks of schemas.MediaTimescale

	stream string // its name
	broken bool   // a message was not sent as a whole

	writing sync.Mutex
	out     *rawmessage.Writer

	ended chan struct{}
	cause error
}

// Streams of chunks and of messages in a connection.
const (
	rtmpControl  = 2
	rtmpCommands = 3
	rtmpAudio    = 4
	rtmpVideo    = 6
	rtmpStream   = 1 << 24 // message stream 1, in little-endian order
	rtmpChunk    = 65536   // bytes
)

// Types of messages, and of user control messages (RTMP 1.0 sections 5.4, 7.1 and 7.1.7).
const (
	rtmpSetChunk    = 1
	rtmpAcknowledge = 3
	rtmpUser        = 4
	rtmpSetWindow   = 5
	rtmpAudioType   = 8
	rtmpVideoType   = 9
	rtmpData        = 18 // AMF0
	rtmpCommand     = 20 // AMF0
	rtmpPing        = 6
	rtmpPong        = 7
)

// Numbers of the commands.
const (
	rtmpConnect = iota + 1
	rtmpRelease
	rtmpFCPublish
	rtmpCreate
	rtmpPublish
	rtmpUnpublish
	rtmpDelete
)

func (t target) dialRTMP(ctx context.Context, u *url.URL, tracks []schemas.Track, start int64) (connection, error) {
	port := "1935"
	if t.scheme == "rtmps" {
		port = "443"
	}
	conn, err := t.dialTCP(ctx, net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port)))
	if err != nil {
		return nil, err
	}
	c := &rtmpConn{net: conn, start: start, ended: make(chan struct{})}
	c.count = bytecounter.NewReadWriter(conn)
	c.out = rawmessage.NewWriter(c.count, c.count.Writer, false)
	c.in = rawmessage.NewReader(c.count, c.count.Reader, c.acknowledge)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err = c.publish(u)
	if err == nil {
		err = c.describe(tracks)
	}
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	go c.listen()
	return c, nil
}

// names returns the application and the stream of a URL: the last part of the path names
// the stream, with the query.
func names(u *url.URL) (app, stream string) {
	app, stream = path.Split(strings.Trim(u.EscapedPath(), "/"))
	app = strings.Trim(app, "/")
	if app == "" {
		app, stream = stream, ""
	}
	if u.RawQuery != "" {
		stream += "?" + u.RawQuery
	}
	return app, stream
}

// publish does what comes before media (RTMP 1.0 sections 5.2 and 7.2).
func (c *rtmpConn) publish(u *url.URL) error {
	if _, _, err := handshake.DoClient(c.count, false, false); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	app, stream := names(u)
	c.stream = stream
	chunk := binary.BigEndian.AppendUint32(nil, rtmpChunk)
	if err := c.send(&rawmessage.Message{ChunkStreamID: rtmpControl, Type: rtmpSetChunk, Body: chunk}); err != nil {
		return err
	}
	c.out.SetChunkSize(rtmpChunk)
	if err := c.ask("connect", rtmpConnect, 0, amf0.Object{
		{Key: "app", Value: app},
		{Key: "type", Value: "nonprivate"},
		{Key: "flashVer", Value: "FMLE/3.0 (compatible; Framelog)"},
		{Key: "tcUrl", Value: u.Scheme + "://" + u.Host + "/" + app},
		{Key: "fourCcList", Value: amf0.StrictArray{"hvc1"}},
	}); err != nil {
		return err
	}
	for i, name := range []string{"releaseStream", "FCPublish"} { // some servers need them
		if err := c.command(name, rtmpRelease+i, 0, nil, stream); err != nil {
			return err
		}
	}
	if err := c.ask("createStream", rtmpCreate, 0, nil); err != nil {
		return err
	}
	return c.ask("publish", rtmpPublish, rtmpStream, nil, stream, "live")
}

// command sends a command.
func (c *rtmpConn) command(name string, number int, stream uint32, args ...any) error {
	body, err := append(amf0.Data{name, float64(number)}, args...).Marshal()
	if err != nil {
		return err
	}
	return c.send(&rawmessage.Message{ChunkStreamID: rtmpCommands, MessageStreamID: stream, Type: rtmpCommand, Body: body})
}

// ask sends a command and waits for its answer.
func (c *rtmpConn) ask(name string, number int, stream uint32, args ...any) error {
	if err := c.command(name, number, stream, args...); err != nil {
		return err
	}
	for {
		a, err := c.next()
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", name, err)
		case a.name == "_error" && a.number == number, a.name == "onStatus" && a.status("level") == "error":
			return fmt.Errorf("%s: the server refuses it: %s %s", name, a.status("code"), a.status("description"))
		case a.name == "_result" && a.number == number, a.name == "onStatus" && number == rtmpPublish:
			return nil
		}
	}
}

// rtmpAnswer is a command that the server sends.
type rtmpAnswer struct {
	name   string
	number int
	args   []any
}

// status returns a field of the answer's information.
func (a rtmpAnswer) status(field string) string {
	for _, arg := range a.args {
		switch o := arg.(type) {
		case amf0.Object:
			if s, ok := o.GetString(field); ok {
				return s
			}
		case amf0.ECMAArray:
			if s, ok := amf0.Object(o).GetString(field); ok {
				return s
			}
		}
	}
	return ""
}

// next returns the next command of the server. It does what other messages ask for.
func (c *rtmpConn) next() (rtmpAnswer, error) {
	for {
		m, err := c.in.Read()
		if err != nil {
			return rtmpAnswer{}, err
		}
		if m.Type != rtmpCommand {
			if err := c.obey(m); err != nil {
				return rtmpAnswer{}, err
			}
			continue
		}
		args, err := amf0.Unmarshal(m.Body)
		if err != nil {
			return rtmpAnswer{}, err
		}
		var a rtmpAnswer
		if len(args) >= 2 { // FFmpeg sends some that have a name only
			number, _ := args[1].(float64)
			a.name, _ = args[0].(string)
			a.number, a.args = int(number), args[2:]
		}
		return a, nil
	}
}

// obey does what a message of the protocol asks for (RTMP 1.0 sections 5.4 and 7.1.7).
func (c *rtmpConn) obey(m *rawmessage.Message) error {
	switch {
	case m.Type == rtmpSetChunk && len(m.Body) >= 4:
		return c.in.SetChunkSize(binary.BigEndian.Uint32(m.Body) & (1<<31 - 1))
	case m.Type == rtmpSetWindow && len(m.Body) >= 4:
		c.in.SetWindowAckSize(binary.BigEndian.Uint32(m.Body))
	case m.Type == rtmpUser && len(m.Body) >= 6 && binary.BigEndian.Uint16(m.Body) == rtmpPing:
		pong := binary.BigEndian.AppendUint16(nil, rtmpPong)
		return c.send(&rawmessage.Message{ChunkStreamID: rtmpControl, Type: rtmpUser, Body: append(pong, m.Body[2:6]...)})
	}
	return nil
}

func (c *rtmpConn) acknowledge(bytes uint32) error {
	return c.send(&rawmessage.Message{
		ChunkStreamID: rtmpControl, Type: rtmpAcknowledge, Body: binary.BigEndian.AppendUint32(nil, bytes),
	})
}

// listen reads what the server sends until the connection ends.
func (c *rtmpConn) listen() {
	defer close(c.ended)
	for {
		a, err := c.next()
		if err == nil && a.name == "onStatus" && a.status("level") == "error" {
			err = fmt.Errorf("the server ends the stream: %s %s", a.status("code"), a.status("description"))
		}
		if err != nil {
			c.cause = err
			c.net.Close()
			return
		}
	}
}

// send sends a message. It blocks while the server takes nothing.
func (c *rtmpConn) send(m *rawmessage.Message) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.net.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	return c.out.Write(m)
}

// describe sends what decoders need before the first sample.
func (c *rtmpConn) describe(tracks []schemas.Track) error {
	about := amf0.ECMAArray{{Key: "encoder", Value: "Framelog"}}
	var configs []*rawmessage.Message
	for _, t := range tracks {
		switch t.Codec {
		case schemas.H264:
			about = append(about, amf0.ObjectEntry{Key: "videocodecid", Value: float64(flvAVC)})
			configs = append(configs, video(0, avc(flvConfig, true, 0, t.Config)))
		case schemas.H265:
			about = append(about, amf0.ObjectEntry{Key: "videocodecid", Value: float64(binary.BigEndian.Uint32(hvc1))})
			configs = append(configs, video(0, hevc(exConfig, true, 0, t.Config)))
		default:
			about = append(about, amf0.ObjectEntry{Key: "audiocodecid", Value: float64(flvAAC)})
			configs = append(configs, audio(0, flvConfig, t.Config))
		}
		if t.Codec.Video() {
			about = append(about, amf0.ObjectEntry{Key: "width", Value: float64(t.Width)}, amf0.ObjectEntry{Key: "height", Value: float64(t.Height)})
		}
	}
	body, err := amf0.Data{"@setDataFrame", "onMetaData", about}.Marshal()
	if err != nil {
		return err
	}
	meta := &rawmessage.Message{ChunkStreamID: rtmpAudio, MessageStreamID: rtmpStream, Type: rtmpData, Body: body}
	for _, m := range slices.Insert(configs, 0, meta) {
		if err := c.send(m); err != nil {
			return err
		}
	}
	return nil
}

func (c *rtmpConn) write(ctx context.Context, t *schemas.Track, s schemas.Sample, _ time.Time) error {
	// When ctx ends, the write that blocks must end too.
	stop := context.AfterFunc(ctx, func() { c.net.Close() })
	defer stop()
	ticks := func(n int64) time.Duration {
		return schemas.FromTicks(schemas.Rescale(n, t.Timescale, schemas.MediaTimescale))
	}
	at := max(0, ticks(s.DTS)-schemas.FromTicks(c.start)) // sound may begin a little before the picture
	offset := ticks(int64(s.PTSOffset))
	var m *rawmessage.Message
	switch t.Codec {
	case schemas.H264:
		m = video(at, avc(flvFrame, s.Sync, offset, s.Data))
	case schemas.H265:
		m = video(at, hevc(exFrame, s.Sync, offset, s.Data))
	default:
		m = audio(at, flvFrame, s.Data)
	}
	err := c.send(m)
	c.broken = c.broken || err != nil
	if errors.Is(err, net.ErrClosed) { // listen has closed it, and knows why
		<-c.ended
		return c.cause
	}
	return err
}

func (c *rtmpConn) flush(context.Context) error { return nil } // write has done it
func (c *rtmpConn) gone() <-chan struct{}       { return c.ended }
func (c *rtmpConn) err() error                  { return c.cause }

// close tells the server that the stream ends, and waits until it has read everything: if
// the connection were closed at once, an answer that comes later would make the operating
// systems drop what the server has not read yet.
func (c *rtmpConn) close() {
	if !c.broken && c.unpublish() == nil {
		timer := time.NewTimer(closeTimeout)
		defer timer.Stop()
		select {
		case <-c.ended:
		case <-timer.C:
		}
	}
	c.net.Close()
	<-c.ended
}

func (c *rtmpConn) unpublish() error {
	if err := c.command("FCUnpublish", rtmpUnpublish, 0, nil, c.stream); err != nil {
		return err
	}
	if err := c.command("deleteStream", rtmpDelete, 0, nil, float64(1)); err != nil {
		return err
	}
	half, ok := c.net.(interface{ CloseWrite() error })
	if !ok {
		return errors.New("it cannot be closed for writing only")
	}
	return half.CloseWrite()
}

// Values of FLV (annex E.4.2 and E.4.3) and of Enhanced RTMP.
const (
	flvAVC    = 7
	flvAAC    = 10
	flvConfig = 0
	flvFrame  = 1
	flvKey    = 1 << 4
	flvInter  = 2 << 4
	exHeader  = 1 << 7
	exConfig  = 0
	exFrame   = 1
)

var hvc1 = []byte("hvc1")

func frameType(key bool) byte {
	if key {
		return flvKey
	}
	return flvInter
}

// offset24 is an offset of presentation in milliseconds, in 24 bits.
func offset24(d time.Duration) []byte {
	return binary.BigEndian.AppendUint32(nil, uint32(d.Milliseconds()))[1:]
}

func avc(kind byte, key bool, offset time.Duration, data []byte) []byte {
	return slices.Concat([]byte{frameType(key) | flvAVC, kind}, offset24(offset), data)
}

func hevc(kind byte, key bool, offset time.Duration, data []byte) []byte {
	head := append([]byte{exHeader | frameType(key) | kind}, hvc1...)
	if kind == exFrame {
		head = append(head, offset24(offset)...)
	}
	return slices.Concat(head, data)
}

func video(at time.Duration, body []byte) *rawmessage.Message {
	return &rawmessage.Message{ChunkStreamID: rtmpVideo, MessageStreamID: rtmpStream, Timestamp: at, Type: rtmpVideoType, Body: body}
}

// audio is AAC: 16 bits, stereo and 44 kHz stand in the first byte whatever the sound is.
func audio(at time.Duration, kind byte, data []byte) *rawmessage.Message {
	body := slices.Concat([]byte{flvAAC<<4 | 3<<2 | 1<<1 | 1, kind}, data)
	return &rawmessage.Message{ChunkStreamID: rtmpAudio, MessageStreamID: rtmpStream, Timestamp: at, Type: rtmpAudioType, Body: body}
}
