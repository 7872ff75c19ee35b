package gstreamer

/*
#cgo pkg-config: gstreamer-video-1.0
#include <stdlib.h>
#include "pipe.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"runtime/cgo"
	"time"
	"unsafe"

	"github.com/framelog/framelog/schemas"
)

// pipe is a pipeline from one appsrc to one appsink. Both have a bounded queue, and
// nothing is decoded or encoded ahead of them. One goroutine may push while another
// pulls. Its user closes it when both have returned.
type pipe struct {
	c      *C.FlPipe
	handle cgo.Handle
	raw    bool          // what comes out is pictures
	limit  int           // buffers that wait in the appsrc
	room   chan struct{} // the appsrc may have room
	ready  chan struct{} // the appsink may have something
}

// pipeSource is an appsrc of a pipe, and pipeSink its appsink. Both hold at most n
// buffers: a push beyond it waits, and the pipeline waits for who pulls.
func pipeSource(n int) string {
	return fmt.Sprintf("appsrc name=src format=time max-buffers=%d max-bytes=0 max-time=0 min-percent=50", n)
}

func pipeSink(n int) string {
	return fmt.Sprintf("appsink name=sink sync=false async=false qos=false enable-last-sample=false wait-on-eos=false max-buffers=%d", n)
}

// convert is elements that convert and scale pictures to these caps. If they are YUV or grey,
// and what comes is YUV, the colours keep their meaning (the matrix and the range).
func convert(caps string, keep bool) string {
	filter := "capsfilter"
	if keep {
		filter = "capsfilter name=keep"
	}
	return "videoconvertscale name=convert method=bilinear2 add-borders=false ! " + filter + " caps=" + caps
}

// newPipe starts a pipeline in launch syntax between a pipeSource of limit buffers and a
// pipeSink. caps are those of the source, config the decoder configuration in them.
func newPipe(launch, caps string, config []byte, limit int, raw bool) (*pipe, error) {
	p := &pipe{raw: raw, limit: limit, room: make(chan struct{}, 1), ready: make(chan struct{}, 1)}
	p.handle = cgo.NewHandle(p)
	cLaunch, cCaps := C.CString(launch), C.CString(caps)
	defer C.free(unsafe.Pointer(cLaunch))
	defer C.free(unsafe.Pointer(cCaps))
	var failure *C.char
	p.c = C.fl_pipe_new(cLaunch, cCaps, C.gconstpointer(unsafe.Pointer(unsafe.SliceData(config))), C.gsize(len(config)), C.uintptr_t(p.handle), &failure)
	runtime.KeepAlive(config)
	if p.c == nil {
		p.handle.Delete()
		return nil, errors.New(goText(failure))
	}
	return p, nil
}

// goText turns text that C allocated into a string, and frees it.
func goText(s *C.char) string {
	defer C.g_free(C.gpointer(unsafe.Pointer(s)))
	return C.GoString(s)
}

//export framelogPipeWake
func framelogPipeWake(handle C.uintptr_t, what C.int) {
	p := cgo.Handle(handle).Value().(*pipe)
	to := p.ready
	if what == C.FL_PIPE_ROOM {
		to = p.room
	}
	select {
	case to <- struct{}{}:
	default: // a wake-up waits already
	}
}

// pipeBias is added to all times in a pipe: those of a fragment's decoding may begin a
// little below 0.
const pipeBias = 10 * time.Second

// pipeTime is the time of a buffer of ticks of schemas.MediaTimescale.
func pipeTime(ticks int64) C.guint64 {
	return C.guint64(int64(pipeBias) + schemas.Rescale(ticks, schemas.MediaTimescale, uint32(time.Second)))
}

// pipeTicks reverses pipeTime without a loss.
func pipeTicks(ns C.guint64) int64 {
	if ns == math.MaxUint64 {
		return 0
	}
	return schemas.Rescale(int64(ns)-int64(pipeBias), uint32(time.Second), schemas.MediaTimescale)
}

// waitRoom waits until the source takes another buffer.
func (p *pipe) waitRoom(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := p.failure(); err != nil {
			return err
		}
		if !p.full() {
			return nil
		}
		select {
		case <-p.room:
		case <-ctx.Done():
		}
	}
}

// full reports whether the source takes no buffer now.
func (p *pipe) full() bool { return C.fl_pipe_full(p.c, C.guint64(p.limit)) != 0 }

// push copies data into the pipeline. Before this and its like there must be room.
func (p *pipe) push(data []byte, pts, dts int64, sync bool) error {
	ok := C.fl_pipe_push(p.c, C.gconstpointer(unsafe.Pointer(unsafe.SliceData(data))), C.gsize(len(data)), pipeTime(pts), pipeTime(dts), boolean(!sync))
	runtime.KeepAlive(data)
	return p.pushed(ok)
}

// pushSample is push for a picture in GStreamer's memory, without a copy.
func (p *pipe) pushSample(s *C.GstSample, pts int64) error {
	return p.pushed(C.fl_pipe_push_sample(p.c, s, pipeTime(pts)))
}

// pushAgain pushes what was pushed last.
func (p *pipe) pushAgain(pts int64) error { return p.pushed(C.fl_pipe_push_again(p.c, pipeTime(pts))) }

func (p *pipe) pushed(ok C.gboolean) error {
	if ok != 0 {
		return nil
	}
	if err := p.failure(); err != nil {
		return err
	}
	return errors.New("the pipeline takes no more")
}

// end tells the pipeline that nothing more comes.
func (p *pipe) end() { C.fl_pipe_end(p.c) }

// poll returns the next sample if there is one, else nil. It returns io.EOF behind the last
// one. The caller unrefs the sample.
func (p *pipe) poll() (*C.GstSample, C.FlSample, error) {
	var info C.FlSample
	if s := C.fl_pipe_pull(p.c); s != nil {
		if C.fl_sample_read(s, boolean(p.raw), &info) == 0 {
			C.gst_sample_unref(s)
			return nil, info, errors.New("what the pipeline gives cannot be read")
		}
		return s, info, nil
	}
	if err := p.failure(); err != nil {
		return nil, info, err
	}
	if C.fl_pipe_ended(p.c) != 0 {
		return nil, info, io.EOF
	}
	return nil, info, nil
}

// pull waits for the next sample, as poll.
func (p *pipe) pull(ctx context.Context) (*C.GstSample, C.FlSample, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, C.FlSample{}, err
		}
		if s, info, err := p.poll(); s != nil || err != nil {
			return s, info, err
		}
		select {
		case <-p.ready:
		case <-ctx.Done():
		}
	}
}

var errNoConfig = errors.New("the encoder gives no decoder configuration")

// codecData returns the decoder configuration in the caps of a GstSample, nil if there is
// none.
func codecData(sample unsafe.Pointer) []byte {
	var size C.gsize
	config := C.fl_sample_config((*C.GstSample)(sample), &size)
	if config == nil {
		return nil
	}
	defer C.g_free(config)
	return C.GoBytes(unsafe.Pointer(config), C.int(size))
}

func boolean(b bool) C.gboolean {
	if b {
		return 1
	}
	return 0
}

// failure returns the error that has ended the pipeline, nil if none has.
func (p *pipe) failure() error {
	var failed C.gboolean
	text := C.fl_pipe_error(p.c, &failed)
	if text == nil {
		return nil
	}
	if s := goText(text); failed != 0 {
		return errors.New(s)
	}
	return nil
}

// warning returns the last warning of an element, "" if there was none.
func (p *pipe) warning() string {
	var failed C.gboolean
	if text := C.fl_pipe_error(p.c, &failed); text != nil {
		return goText(text)
	}
	return ""
}

// close stops the pipeline, whatever it does at the moment.
func (p *pipe) close() {
	C.fl_pipe_close(p.c)
	p.handle.Delete()
}
