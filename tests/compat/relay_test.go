package compat

import (
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/pion/rtp"

	"github.com/framelog/framelog/tests/testenv"
)

// relay is a media server made of gortsplib: what is published at a path can be
// read there. Its readers' connections end with the publisher's.
type relay struct {
	server *gortsplib.Server
	addr   string

	mu    sync.Mutex
	paths map[string]*channel
}

// channel is one path of a relay.
type channel struct {
	publisher *gortsplib.ServerSession
	stream    *gortsplib.ServerStream
	runs      []run
}

// run is one publisher's time.
type run struct {
	began time.Time // its first packet of video
	last  time.Time // its latest
}

func startRelay(t *testing.T) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{addr: l.Addr().String(), paths: map[string]*channel{}}
	r.server = &gortsplib.Server{
		Handler: r, RTSPAddress: r.addr, WriteQueueSize: 4096,
		Listen: func(string, string) (net.Listener, error) { return l, nil },
	}
	if err := r.server.Start(); err != nil {
		t.Fatalf("start relay: %v", err)
	}
	t.Cleanup(r.server.Close)
	return r
}

func (r *relay) url(path string) string { return "rtsp://" + r.addr + "/" + path }

// at returns the channel of a path. The caller holds the lock.
func (r *relay) at(path string) *channel {
	path = strings.Trim(path, "/")
	if r.paths[path] == nil {
		r.paths[path] = &channel{}
	}
	return r.paths[path]
}

// runs returns when each publisher was there.
func (r *relay) runs(path string) []run {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]run(nil), r.at(path).runs...)
}

// OnAnnounce lets one publisher in at a time.
func (r *relay) OnAnnounce(ctx *gortsplib.ServerHandlerOnAnnounceCtx) (*base.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.at(ctx.Path)
	if c.publisher != nil {
		return &base.Response{StatusCode: base.StatusBadRequest}, errors.New("there is a publisher")
	}
	stream := &gortsplib.ServerStream{Server: r.server, Desc: ctx.Description}
	if err := stream.Initialize(); err != nil {
		return &base.Response{StatusCode: base.StatusBadRequest}, err
	}
	c.publisher, c.stream = ctx.Session, stream
	ctx.Session.SetUserData(c)
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// OnSetup serves publishers and readers.
func (r *relay) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if ctx.Session.State() == gortsplib.ServerSessionStatePreRecord {
		return &base.Response{StatusCode: base.StatusOK}, nil, nil
	}
	return r.find(ctx.Path)
}

// OnDescribe tells readers what is published.
func (r *relay) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return r.find(ctx.Path)
}

func (r *relay) find(path string) (*base.Response, *gortsplib.ServerStream, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// A publisher that has sent nothing yet cannot be read.
	if c := r.at(path); c.stream != nil && len(c.runs) > 0 && !c.runs[len(c.runs)-1].began.IsZero() {
		return &base.Response{StatusCode: base.StatusOK}, c.stream, nil
	}
	return &base.Response{StatusCode: base.StatusNotFound}, nil, nil
}

// OnPlay lets a reader begin.
func (r *relay) OnPlay(*gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// OnRecord hands packets on as they come.
func (r *relay) OnRecord(ctx *gortsplib.ServerHandlerOnRecordCtx) (*base.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.at(ctx.Path)
	c.runs = append(c.runs, run{})
	n, stream := len(c.runs)-1, c.stream
	ctx.Session.OnPacketRTPAny(func(m *description.Media, _ format.Format, p *rtp.Packet) {
		if m.Type == description.MediaTypeVideo {
			r.mu.Lock()
			at := &c.runs[n]
			at.last = time.Now()
			if at.began.IsZero() {
				at.began = at.last
			}
			r.mu.Unlock()
		}
		_ = stream.WritePacketRTP(m, p) // readers may leave
	})
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// OnSessionClose ends the stream of a publisher that leaves.
func (r *relay) OnSessionClose(ctx *gortsplib.ServerHandlerOnSessionCloseCtx) {
	r.mu.Lock()
	c, ok := ctx.Session.UserData().(*channel)
	var stream *gortsplib.ServerStream
	if ok && c.publisher == ctx.Session {
		stream, c.stream, c.publisher = c.stream, nil, nil
	}
	r.mu.Unlock()
	if stream != nil {
		stream.Close()
	}
}

// publish has ffmpeg send a clip to the relay in real time. sound is a file with
// its sound, "" for none; args tell ffmpeg how to encode it.
func (r *relay) publish(t *testing.T, path string, c clip, sound string, args ...string) *testenv.Process {
	t.Helper()
	all := []string{"-nostdin", "-hide_banner", "-loglevel", "error", "-re", "-stream_loop", fmt.Sprint(c.again), "-i", c.path}
	if sound != "" {
		all = append(all, "-re", "-stream_loop", fmt.Sprint(c.again), "-itsoffset", fmt.Sprint(before.Seconds()), "-i", sound, "-map", "0:v", "-map", "1:a", "-c:a", "copy")
	}
	all = append(append(all, "-c:v", "copy"), args...)
	all = append(all, "-f", "rtsp", "-rtsp_transport", "tcp", r.url(path))
	return testenv.Start(t, "ffmpeg to "+path, exec.CommandContext(t.Context(), testenv.Tool(t, "ffmpeg", "ffmpeg"), all...))
}
