package camsim

import (
	"strconv"
	"strings"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/headers"
	"github.com/bluenviron/gortsplib/v5/pkg/liberrors"
)

// handler answers the protocol's requests. PLAY holds the camera's lock until
// its response is made, so that RTP-Info names exactly the packet that follows.
type handler struct{ s *Server }

// playing is the user data of a connection between its PLAY and the response.
type playing struct {
	camera  *Camera
	session *gortsplib.ServerSession
}

func (h *handler) camera(sc *gortsplib.ServerConn, req *base.Request, path string) (*Camera, *base.Response, error) {
	c := h.s.Camera(path)
	if c == nil {
		return nil, &base.Response{StatusCode: base.StatusNotFound}, nil
	}
	if c.cfg.User != "" && !sc.VerifyCredentials(req, c.cfg.User, c.cfg.Password) {
		return nil, &base.Response{StatusCode: base.StatusUnauthorized}, liberrors.ErrServerAuth{}
	}
	return c, nil, nil
}

// OnDescribe answers DESCRIBE.
func (h *handler) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	c, res, err := h.camera(ctx.Conn, ctx.Request, ctx.Path)
	if c == nil {
		return res, nil, err
	}
	stream, err := c.admit(nil)
	if err != nil {
		return &base.Response{StatusCode: base.StatusServiceUnavailable}, nil, err
	}
	return &base.Response{StatusCode: base.StatusOK}, stream, nil
}

// OnSetup answers SETUP.
func (h *handler) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	c, res, err := h.camera(ctx.Conn, ctx.Request, ctx.Path)
	if c == nil {
		return res, nil, err
	}
	stream, err := c.admit(ctx.Session)
	if err != nil {
		return &base.Response{StatusCode: base.StatusServiceUnavailable}, nil, err
	}
	ctx.Session.SetUserData(c)
	return &base.Response{StatusCode: base.StatusOK}, stream, nil
}

// OnPlay answers PLAY and leaves the camera locked for OnResponse.
func (h *handler) OnPlay(ctx *gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	c, ok := ctx.Session.UserData().(*Camera)
	if !ok {
		return &base.Response{StatusCode: base.StatusBadRequest}, nil
	}
	c.mu.Lock()
	ctx.Conn.SetUserData(&playing{c, ctx.Session})
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// OnResponse completes the answer to PLAY.
func (h *handler) OnResponse(sc *gortsplib.ServerConn, res *base.Response) {
	p, ok := sc.UserData().(*playing)
	if !ok || p == nil {
		return
	}
	sc.SetUserData(nil)
	defer p.camera.mu.Unlock()
	if v, ok := res.Header["RTP-Info"]; ok && res.StatusCode == base.StatusOK {
		var info headers.RTPInfo
		if err := info.Unmarshal(v); err == nil {
			for _, e := range info {
				e.SequenceNumber, e.Timestamp = p.camera.next(e.URL)
			}
			res.Header["RTP-Info"] = info.Marshal()
		}
		if p.camera.cfg.NoRTPInfo {
			delete(res.Header, "RTP-Info")
		}
		if r := p.camera.cfg.Range; r != "" {
			res.Header["Range"] = base.HeaderValue{r}
		}
		p.camera.joined(p.session, sc)
	}
}

// OnConnClose frees the camera if a connection ended within PLAY.
func (h *handler) OnConnClose(ctx *gortsplib.ServerHandlerOnConnCloseCtx) {
	if p, ok := ctx.Conn.UserData().(*playing); ok && p != nil {
		ctx.Conn.SetUserData(nil)
		p.camera.mu.Unlock()
	}
}

// OnSessionClose takes the session off its camera.
func (h *handler) OnSessionClose(ctx *gortsplib.ServerHandlerOnSessionCloseCtx) {
	if c, ok := ctx.Session.UserData().(*Camera); ok {
		c.left(ctx.Session)
	}
}

// OnStreamWriteError is called when a client's queue was full.
func (h *handler) OnStreamWriteError(ctx *gortsplib.ServerHandlerOnStreamWriteErrorCtx) {
	if c, ok := ctx.Session.UserData().(*Camera); ok {
		c.overflow.Add(1)
	}
}

// next returns the sequence number and time of the next packet of the track
// that a control URL names. The camera is locked.
func (c *Camera) next(control string) (*uint16, *uint32) {
	_, id, ok := strings.Cut(control, "trackID=")
	i, err := strconv.Atoi(id)
	if !ok || err != nil || i < 0 || i >= len(c.lanes) {
		return nil, nil
	}
	l := c.lanes[i]
	seq, ts := l.seq, uint32(int64(l.initial)+l.ticks(c.instant)+l.base+l.ticks(c.jump))
	return &seq, &ts
}
