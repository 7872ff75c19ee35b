package exec

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/video"
	"github.com/framelog/framelog/tests/testenv"
)

// said makes a frame of a program.
func said(kind byte, header string, payload int) []byte {
	b := append(make([]byte, headSize), header...)
	putHead(b, kind, len(header), payload)
	return append(b, make([]byte, payload)...)
}

// answersOf takes what a program wrote, as read does, without a program.
func answersOf(t testing.TB, b []byte) (took int, err error) {
	t.Helper()
	in := fragment(5, 3)
	p := processors.Processor{Name: "people", Outputs: []processors.Rendition{processors.Data("people"), processors.Variant("v")}}
	p.Process = func(ctx context.Context, in *processors.Fragment, out *processors.Output) error {
		o := &options{Settings: Settings{Output: "variant"}}
		j := &job{p: &pool{options: o}, c: &child{answers: answers{r: bufio.NewReader(bytes.NewReader(b))}}, in: in, out: out, key: key{5, 1}, pictures: make(chan *video.Picture, 1000), lastPTS: in.Media - 1}
		j.newest.Store(&video.Picture{Width: 8, Height: 4, Format: video.BGR})
		j.end.Store(in.Media + 3*frameTicks)
		for {
			m, err := j.c.next()
			if err != nil {
				return err
			}
			done, err := j.take(ctx, m)
			if done || err != nil {
				return err
			}
			took++
		}
	}
	_, err = p.Collect(t.Context(), in)
	return took, err
}

// Whatever a program writes, the parser ends with an error that tells what is wrong, and
// takes no more memory than the limits allow.
func FuzzAnswers(f *testing.F) {
	for _, b := range [][]byte{
		said('O', `{"seq":5,"attempt":1}`, 0),
		said('X', `{"seq":5,"attempt":1,"error":"no"}`, 0),
		append(said('D', `{"seq":5,"attempt":1,"pts":159512976000000,"duration":3600,"boxes":[{"x":0.5,"y":0.5,"w":0.5,"h":0.5}]}`, 0), said('O', `{"seq":5,"attempt":1}`, 0)...),
		said('V', `{"seq":5,"attempt":1,"type":"x","start":"2026-03-01T12:00:00Z","data":{"a":[1]}}`, 0),
		said('N', `{"seq":5,"attempt":1,"note":"x"}`, 0),
		said('P', `{"seq":5,"attempt":1,"pts":159512976000000,"width":8,"height":4}`, 96),
		said('O', `{"seq":6,"attempt":1}`, 0),
		said('Z', `{}`, 0),
		[]byte("FL\x01D\xff\xff\xff\xff\xff\xff\xff\xff"),
		[]byte("FL\x01P\x00\x00\x00\x02\xff\xff\xff\xff{}"),
		[]byte("hello, world, this is no frame"),
		nil,
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		took, err := answersOf(t, b)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 2*maxHeader+uint64(100*len(b))+1<<20 {
			t.Errorf("%d bytes of input took %d bytes of memory", len(b), n)
		}
		if took > len(b)/headSize {
			t.Errorf("%d answers in %d bytes", took, len(b))
		}
		_, failed := errors.AsType[*failure](err)
		_, broken := errors.AsType[*garbage](err)
		if err != nil && !failed && !broken && !errors.Is(err, io.EOF) {
			t.Errorf("error %v", err)
		}
	})
}

// A header as large as allowed is taken, one byte more is not.
func TestHeaderLimit(t *testing.T) {
	for _, size := range []int{maxHeader, maxHeader + 1} {
		head := `{"seq":5,"attempt":1,"x":"`
		_, err := answersOf(t, said('O', head+strings.Repeat("x", size-len(head)-2)+`"}`, 0))
		if (err == nil) != (size == maxHeader) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// The head of a frame as docs/exec-protocol.md has it.
func TestHead(t *testing.T) {
	b := said('P', "{}", 3)
	if string(b[:4]) != "FL\x01P" || binary.BigEndian.Uint32(b[4:]) != 2 || binary.BigEndian.Uint32(b[8:]) != 3 || string(b[12:14]) != "{}" {
		t.Errorf("%x", b)
	}
}

// A program hangs when Framelog waits for it in both directions, and not before.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := make(chan time.Time, 1)
		w := newWatch(time.Second, func() { hung <- time.Now() })
		defer w.stop()
		wait := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		w.set(fromProgram, true) // it may answer; the camera sends nothing
		wait(time.Hour)
		w.set(toProgram, true) // it should read
		wait(999 * time.Millisecond)
		w.set(toProgram, false) // it does
		wait(time.Hour)
		w.set(toProgram, true)
		wait(500 * time.Millisecond)
		w.set(fromProgram, false) // it answers; the encoder takes long
		wait(time.Hour)
		w.set(fromProgram, true)
		if len(hung) > 0 {
			t.Fatal("it counts as hung")
		}
		began := time.Now()
		wait(2 * time.Second)
		select {
		case at := <-hung:
			if at.Sub(began) != time.Second {
				t.Errorf("hung after %v", at.Sub(began))
			}
		default:
			t.Error("it does not count as hung")
		}
	})
}

// The rate of lines recovers, and the log tells how many were left out.
func TestLineRate(t *testing.T) {
	var log testenv.Log
	dropped := 0
	l := newLines(slog.New(slog.NewTextHandler(&log, nil)), func() { dropped++ })
	now := l.at
	for range lineBurst + 30 {
		l.line("stderr", "early", now)
	}
	now = now.Add(time.Second)
	for range lineRate + 5 {
		l.line("stderr", "late", now)
	}
	if early, late := len(log.Lines("msg=early")), len(log.Lines("msg=late")); early != lineBurst || late != lineRate || dropped != 35 {
		t.Errorf("%d and %d lines, %d dropped", early, late, dropped)
	}
	if !log.Contains("lines were left out\" lines=30") {
		t.Errorf("the log does not tell how many were left out: %s", log.Tail(20))
	}
	if s := l.said(); s != "; it printed last: late | late | late | late | late" {
		t.Errorf("said %q", s)
	}
	l.line("stderr", strings.Repeat("é", 1000), now)
	if s := l.said(); len(s) > keptBytes+50 || !strings.Contains(s, "…é") {
		t.Errorf("said %d bytes: %.80s", len(s), s)
	}
}
