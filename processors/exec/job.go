package exec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/video"
	"github.com/framelog/framelog/schemas"
)

// cancelTimeout is how long a child may take to end its work on a fragment that is no
// longer wanted. Beyond it, the child is killed.
const cancelTimeout = 5 * time.Second

// errPipe is write's error if the program reads no more.
var errPipe = errors.New("exec: write to program")

// job is the work of a child on one fragment. Three goroutines work at it: write, read and
// encode. All end before run returns.
type job struct {
	p     *pool
	c     *child
	in    *processors.Fragment
	out   *processors.Output
	key   key
	watch *watch

	// pictures are those of the program, on their way to the encoder. Nothing waits in it.
	pictures chan *video.Picture

	newest atomic.Pointer[video.Picture] // the newest picture that was sent, without its data
	sent   atomic.Int64                  // number of pictures or chunks
	end    atomic.Int64                  // media time at which what was sent ends

	lastPTS    int64 // of the program's pictures
	buffers    [2][]byte
	events     []schemas.Event
	eventBytes int
	note       json.RawMessage
}

func newJob(p *pool, c *child, in *processors.Fragment, out *processors.Output) *job {
	j := &job{
		p: p, c: c, in: in, out: out, key: key{in.Seq, in.Attempt},
		pictures: make(chan *video.Picture), lastPTS: in.Media - 1,
	}
	j.watch = newWatch(p.Timeout, func() {
		c.kill(fmt.Errorf("the program hangs: for %v it has neither read nor answered, after %s; raise timeout if it needs longer", p.Timeout, j.progress()))
	})
	return j
}

func (j *job) progress() string {
	what := "pictures"
	if j.p.Mode == modeEncoded {
		what = "chunks"
	}
	return fmt.Sprintf("%d %s of the fragment", j.sent.Load(), what)
}

// run has the child process the fragment.
func (j *job) run(ctx context.Context) error {
	defer j.watch.stop()
	defer j.killAfter(ctx)()
	source, stopSource := context.WithCancel(ctx)
	defer stopSource()
	encoding, stopEncoding := context.WithCancel(ctx)
	defer stopEncoding()

	var writeErr, encodeErr error
	var writer, encoder sync.WaitGroup
	writer.Go(func() {
		if writeErr = j.write(source, ctx); writeErr != nil {
			stopEncoding()
		}
	})
	encoder.Go(func() {
		if err := j.encode(encoding); err != nil && encoding.Err() == nil {
			encodeErr = err
			stopSource()
		}
		stopEncoding() // the reader must not wait for it
	})
	readErr := j.read(encoding)
	if readErr != nil {
		stopEncoding()
	}
	close(j.pictures)
	stopSource() // the program wants no more, or it has got everything
	writer.Wait()
	j.watch.stop() // the program owes nothing more
	encoder.Wait()
	switch {
	case readErr == nil && writeErr == nil && encodeErr == nil:
		return j.finish(ctx)
	case ctx.Err() != nil:
		return fmt.Errorf("the program was not done, after %s: %w", j.progress(), context.Cause(ctx))
	case encodeErr != nil:
		return encodeErr
	case writeErr != nil:
		return writeErr
	}
	return readErr
}

// killAfter kills the child if it does not end its work soon after ctx. The function that
// it returns ends that.
func (j *job) killAfter(ctx context.Context) (stop func()) {
	var mu sync.Mutex
	var t *time.Timer
	stopped := false
	unregister := context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		if !stopped {
			t = time.AfterFunc(j.p.cancelTimeout, func() {
				j.c.kill(fmt.Errorf("the program went on for %v with a fragment that was no longer wanted (%w)", j.p.cancelTimeout, context.Cause(ctx)))
			})
		}
	})
	return func() {
		unregister()
		mu.Lock()
		defer mu.Unlock()
		if stopped = true; t != nil {
			t.Stop()
		}
	}
}

// write sends the fragment to the program. It always ends with the frame of its end, so
// that the program is ready for the next one. ctx ends it, and parent is that of run.
// Errors: those of the source; parent's. If only ctx ended, or the program reads no more,
// run knows why.
func (j *job) write(ctx, parent context.Context) error {
	defer j.watch.set(toProgram, true) // all is sent
	if j.send(kindFragment, j.header()) != nil {
		return nil
	}
	send := j.sendPictures
	if j.p.Mode == modeEncoded {
		send = j.sendChunks
	}
	err := send(ctx)
	var e schemas.Entry
	if err == nil {
		e, err = j.in.Entry(ctx)
	}
	end := endHeader{key: j.key}
	switch {
	case errors.Is(err, errPipe):
		return nil
	case ctx.Err() != nil: // looked at before the program is told, whose answer ends ctx
		err = parent.Err()
	case err == nil:
		end = endHeader{j.key, true, e.Kind, e.Duration, e.Lost.Packets, e.Lost.Units}
	}
	_ = j.send(kindEnd, end) // the reader finds out why
	return err
}

// send writes a frame.
func (j *job) send(kind byte, header any, payloads ...[]byte) error {
	j.watch.set(toProgram, true)
	defer j.watch.set(toProgram, false)
	if err := writeFrame(j.c.in, kind, header, payloads...); err != nil {
		return fmt.Errorf("%w: %w", errPipe, err)
	}
	return nil
}

func (j *job) header() fragmentHeader {
	f := j.in
	h := fragmentHeader{
		key: j.key, Camera: f.Camera, Input: f.Input, Life: f.Life, Session: f.Session, Start: micros(f.Start),
		Media: f.Media, OpenGOP: f.OpenGOP, KeyframeOnly: f.KeyframeOnly, Tracks: []trackHeader{},
	}
	for _, t := range f.Tracks {
		h.Tracks = append(h.Tracks, trackHeader(t))
	}
	return h
}

func (j *job) sendPictures(ctx context.Context) error {
	for p, err := range j.p.pictures(ctx, j.in, j.p.video()) {
		if err != nil {
			return err
		}
		newest := *p
		newest.Data = nil
		j.newest.Store(&newest)
		j.end.Store(max(j.end.Load(), p.PTS+max(p.Duration, 1)))
		h := pictureHeader{j.key, p.PTS, p.Duration, micros(j.in.Time(p.PTS)), p.Width, p.Height, string(p.Format)}
		if err := j.send(kindPicture, h, p.Data); err != nil {
			return err
		}
		j.sent.Add(1)
	}
	return ctx.Err()
}

func (j *job) sendChunks(ctx context.Context) error {
	for c, err := range j.in.Chunks(ctx) {
		if err != nil {
			return err
		}
		h := chunkHeader{key: j.key, Index: c.Index, Samples: []sampleHeader{}}
		var data [][]byte
		for _, r := range c.Runs {
			for i := range r.Samples {
				s := &r.Samples[i]
				h.Samples = append(h.Samples, sampleHeader{r.Track, s.DTS, s.DTS + int64(s.PTSOffset), s.Duration, s.Sync, len(s.Data)})
				data = append(data, s.Data)
			}
		}
		j.end.Store(c.MediaEnd())
		if err := j.send(kindChunk, h, data...); err != nil {
			return err
		}
		j.sent.Add(1)
	}
	return ctx.Err()
}

// encode makes chunks of the program's pictures.
func (j *job) encode(ctx context.Context) error {
	if j.p.Output == outputNone {
		return nil
	}
	first, ok := <-j.pictures
	if !ok {
		return nil // it gives none: the fragment is filtered
	}
	pictures := func(yield func(*video.Picture, error) bool) {
		for p := first; p != nil; p = <-j.pictures {
			if !yield(p, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(nil, err)
		}
	}
	e := video.Encoding{Codec: schemas.H264, Bitrate: j.p.bitrate}
	for c, err := range j.p.encode(ctx, j.in, iter.Seq2[*video.Picture, error](pictures), e) {
		if err != nil {
			return err
		}
		if err := j.out.WriteTo(ctx, j.p.rendition.Name, c); err != nil {
			return err
		}
	}
	return nil
}

// finish gives what the program has told: an event may have to wait for the fragment's end.
func (j *job) finish(ctx context.Context) error {
	for _, e := range j.events {
		if err := j.out.Event(ctx, e); err != nil {
			return err
		}
	}
	if j.note == nil {
		return nil
	}
	return j.out.Note(j.p.name, j.note)
}
