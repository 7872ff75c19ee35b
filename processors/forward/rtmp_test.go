package forward

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortmplib"
	"github.com/bluenviron/gortmplib/pkg/amf0"
	"github.com/bluenviron/gortmplib/pkg/message"

	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/processors/processorstest"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// rtmpServer serves RTMP clients with serve.
func rtmpServer(t *testing.T, serve func(net.Conn)) *forwarder {
	t.Helper()
	f, err := newForwarder("push", Settings{URL: "rtmp://" + testenv.ServeTCP(t, serve) + "/live/{camera}"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.close() })
	return f
}

// received is what gortmplib's server got of a stream of H.265.
type received struct {
	mu       sync.Mutex
	url      string
	sets     [][]byte
	pictures []string // their times and bytes
	err      error
}

func (r *received) serve(conn net.Conn) {
	s := &gortmplib.ServerConn{RW: conn}
	err := s.Initialize()
	if err == nil {
		err = s.AcceptConn()
	}
	if err == nil {
		err = s.AcceptAction()
	}
	for err == nil {
		var m message.Message
		if m, err = s.Read(); err == nil {
			r.take(s, m)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

func (r *received) take(s *gortmplib.ServerConn, m message.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.url = s.URL.Path
	switch m := m.(type) {
	case *message.VideoExSequenceStart:
		for _, a := range m.HEVCConfig.NaluArrays {
			for _, n := range a.Nalus {
				r.sets = append(r.sets, n.NALUnit)
			}
		}
	case *message.VideoExCodedFrames:
		r.pictures = append(r.pictures, fmt.Sprintf("%v%+v %x", m.DTS, m.PTSDelta, sha256.Sum256(m.Payload)))
	}
}

// A secret that the server repeats when it ends the stream stands in no note and no log.
func TestServerRepeatsSecret(t *testing.T) {
	const secret = "c4n4ry"
	t.Setenv("FRAMELOG_SECRET_KEY", secret)
	address := testenv.ServeTCP(t, func(conn net.Conn) {
		s := &gortmplib.ServerConn{RW: conn}
		if s.Initialize() == nil && s.AcceptConn() == nil && s.AcceptAction() == nil {
			refuse(s, secret+" is not published any more")
		}
	})
	var log testenv.Log
	f, err := newForwarder("push", Settings{URL: "rtmp://" + address + "/live/${FRAMELOG_SECRET_KEY}", Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.close() })
	var n Note
	for seq := uint64(1); n.Reason == "" || n.Reason == errLate.Error(); seq++ { // a machine under load is late
		n = push(t, f, fragment(seq, nil))
	}
	if !strings.HasSuffix(n.Reason, "NetStream.Publish.BadName *** is not published any more") || !log.Contains("is not published any more") || log.Contains(secret) {
		t.Errorf("%+v, %s", n, log.String())
	}
}

// refuse says that the stream cannot be, and waits for the end of the client.
func refuse(s *gortmplib.ServerConn, why string) {
	_ = s.Write(&message.CommandAMF0{
		ChunkStreamID: 5, MessageStreamID: rtmpStream, Name: "onStatus", CommandID: 0,
		Arguments: amf0.Data{nil, amf0.Object{
			{Key: "level", Value: "error"}, {Key: "code", Value: "NetStream.Publish.BadName"}, {Key: "description", Value: why},
		}},
	})
	_, _ = io.Copy(io.Discard, s.RW)
}

// A server that takes the connection and says nothing is named as such, over each protocol.
func TestServerIsSilent(t *testing.T) {
	address := testenv.ServeTCP(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	for _, scheme := range []string{"rtsp", "rtsps", "rtmp", "rtmps"} {
		target, err := newTarget(Settings{URL: scheme + "://" + address + "/live/a"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := target.dial(ctx, "door", processorstest.Fragments(t, "h264")[0].Tracks, 0); err == nil || err.Error() != "the server was not ready within 10s" {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}

// Enhanced RTMP carries H.265: the parameter sets, and each picture with its times.
func TestH265OverRTMP(t *testing.T) {
	r := &received{}
	f := rtmpServer(t, r.serve)
	in := processorstest.Fragments(t, "h265")[0]
	want(t, "note", push(t, f, in), Note{Sent: 25})
	var pictures []string
	for c, err := range in.Chunks(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range c.Video() {
			ms := func(n int64) time.Duration { return schemas.FromTicks(n).Truncate(time.Millisecond) }
			pictures = append(pictures, fmt.Sprintf("%v%+v %x", ms(s.DTS-in.Media), ms(int64(s.PTSOffset)), sha256.Sum256(s.Data)))
		}
	}
	sets, err := codec.ParameterSets(schemas.H265, in.Tracks[0].Config)
	if err != nil {
		t.Fatal(err)
	}
	testenv.Poll(t, testenv.Patience, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.pictures) == len(pictures) || r.err != nil
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	want(t, "error", r.err, nil)
	want(t, "path", r.url, "/live/h265")
	want(t, "parameter sets", slices.EqualFunc(r.sets, sets, bytes.Equal), true)
	want(t, "pictures", r.pictures, pictures)
}

// A server that looks whether its client is alive gets an answer while pictures come.
func TestPing(t *testing.T) {
	pong := make(chan uint32, 1)
	f := rtmpServer(t, func(conn net.Conn) {
		s := &gortmplib.ServerConn{RW: conn}
		if s.Initialize() != nil || s.AcceptConn() != nil || s.AcceptAction() != nil {
			return
		}
		if s.Write(&message.UserControlPingRequest{ServerTime: 7}) != nil {
			return
		}
		for {
			m, err := s.Read()
			if err != nil {
				return
			}
			if p, ok := m.(*message.UserControlPingResponse); ok {
				pong <- p.ServerTime
			}
		}
	})
	want(t, "note", push(t, f, processorstest.Fragments(t, "h264-audio")[0]), Note{Sent: 25})
	select {
	case at := <-pong:
		want(t, "time", at, 7)
	case <-time.After(testenv.Patience):
		t.Error("no answer")
	}
}

// What the server says when it refuses the stream stands in the note.
func TestRefused(t *testing.T) {
	f := rtmpServer(t, func(conn net.Conn) {
		s := &gortmplib.ServerConn{RW: conn}
		if s.Initialize() != nil || s.AcceptConn() != nil {
			return
		}
		refuse(s, "the name is taken")
	})
	n := push(t, f, processorstest.Fragments(t, "h264")[0])
	if n.Dropped != 25 || !strings.Contains(n.Reason, "NetStream.Publish.BadName the name is taken") {
		t.Errorf("%+v", n)
	}
}
