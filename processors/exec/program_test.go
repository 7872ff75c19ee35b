package exec

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	osexec "os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The first argument of this test binary when it is a child, or the parent of one.
const (
	childArg  = "exec-test-child"
	parentArg = "exec-test-parent"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 3 {
		switch os.Args[1] {
		case childArg:
			childMain(os.Args[2], os.Args[3])
		case parentArg:
			parentMain(os.Args[2])
		}
	}
	os.Exit(withCache(m))
}

// withCache runs the tests with a cache of their own.
func withCache(m *testing.M) int {
	dir, err := os.MkdirTemp("", "framelog-exec")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	os.Setenv("XDG_CACHE_HOME", dir)
	return m.Run()
}

// parentMain is the main function of a process that is killed while its child works.
func parentMain(dir string) {
	p, err := New("people", Settings{Command: []string{os.Args[0], childArg, "family", dir}})
	if err != nil {
		panic(err)
	}
	_, err = p.Collect(context.Background(), fragment(5, 0))
	panic(err)
}

// childMain is the main function of a child.
func childMain(mode, dir string) {
	p := &program{in: os.NewFile(3, "in"), out: os.NewFile(4, "out"), dir: dir}
	if f, err := os.OpenFile(dir+"/starts", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
		f.WriteString("x")
		f.Close()
	}
	if f := starts[mode]; f != nil {
		f(p)
	}
	hello := p.read()
	p.say(kindReady, map[string]any{"version": version, "hello": string(hello.header)})
	for {
		f := p.read()
		if f.kind != kindFragment {
			panic(fmt.Sprintf("a frame %q between fragments", f.kind))
		}
		f.into(&p.key)
		if b := behaviours[mode]; b != nil {
			b(p, f)
		} else {
			once[mode](p)
			work(p, f)
		}
	}
}

// rest reads up to the end of the fragment, and calls each with all before.
func (p *program) rest(each func(f frame)) (end frame) {
	for {
		f := p.read()
		if f.kind == kindEnd {
			return f
		}
		each(f)
	}
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// seen is what children want to know of a picture.
type seen struct {
	PTS, Duration int64
	Width, Height int
}

// work answers all pictures with a box whose label is their hash, and an event with what
// it knows of the fragment.
func work(p *program, fragment frame) {
	end := p.rest(func(f frame) {
		var h seen
		f.into(&h)
		box := map[string]any{"x": 0.25, "y": 0.5, "w": 0.125, "h": 0.25, "label": sum(f.payload), "score": 0.5}
		p.say(kindData, map[string]any{"pts": h.PTS, "duration": h.Duration, "boxes": []any{box}, "score": 3})
	})
	p.say(kindEvent, map[string]any{"type": "told", "value": os.Getpid(), "data": map[string]any{
		"fragment": string(fragment.header), "end": string(end.header), "env": strings.Join(os.Environ(), "\n"),
	}})
	p.say(kindNote, map[string]any{"note": map[string]any{"pid": os.Getpid()}})
	p.say(kindDone, nil)
}

// starts are what children do before they are ready.
var starts = map[string]func(p *program){
	"ends at once": func(*program) {
		fmt.Fprintln(os.Stderr, "ModuleNotFoundError: No module named 'cv2'")
		os.Exit(3)
	},
	"never ready": func(p *program) {
		p.leave("started")
		select {}
	},
	"slow start": func(p *program) {
		p.leave("started")
		p.await("go")
	},
	"other version": func(p *program) { p.say(kindReady, map[string]any{"version": 2}) },
}

// behaviours are what children do with a fragment.
var behaviours = map[string]func(p *program, fragment frame){
	"work":       work,
	"slow start": work,
	"chunks": func(p *program, _ frame) {
		var all bytes.Buffer
		p.rest(func(f frame) {
			all.Write(f.header)
			all.Write(f.payload)
		})
		p.say(kindEvent, map[string]any{"type": "told", "data": all.String()})
		p.say(kindDone, nil)
	},
	"invert": func(p *program, _ frame) { // it leaves out the second picture
		n := 0
		p.rest(func(f frame) {
			var h seen
			f.into(&h)
			for i := range f.payload {
				f.payload[i] ^= 0xff
			}
			if n++; n != 2 {
				p.say(kindPicture, map[string]any{"pts": h.PTS, "duration": h.Duration, "width": h.Width, "height": h.Height}, f.payload)
			}
		})
		p.say(kindDone, nil)
	},
	"fails once": func(p *program, _ frame) {
		p.rest(func(frame) {})
		if p.first("failed") {
			p.say(kindFailed, map[string]any{"error": "ValueError: no such class"})
			return
		}
		p.say(kindEvent, map[string]any{"type": "told", "value": os.Getpid()})
		p.say(kindDone, nil)
	},
	"done at once": func(p *program, _ frame) {
		p.say(kindDone, nil)
		var end struct{ Complete bool }
		p.rest(func(frame) {}).into(&end)
		if !end.Complete {
			p.leave("cut off")
		}
	},
	"done and deaf": func(p *program, _ frame) {
		if p.first("deaf") {
			p.in.Read(make([]byte, 1)) // of a picture
			p.say(kindDone, nil)
			select {}
		}
		p.say(kindDone, nil)
		p.rest(func(frame) {})
	},
	"waits": func(p *program, _ frame) { // with the first picture, then with the end
		p.read()
		p.leave(fmt.Sprint("began ", p.key.Seq))
		p.await(fmt.Sprint("go ", p.key.Seq))
		var end struct{ Complete bool }
		p.rest(func(frame) {}).into(&end)
		p.say(kindEvent, map[string]any{"type": fmt.Sprint("complete ", end.Complete), "value": os.Getpid()})
		p.say(kindDone, nil)
	},
	"slow": func(p *program, fragment frame) { // with its first fragment
		n := 0
		p.rest(func(frame) { n++ })
		if p.first("began") {
			p.await("go")
		}
		what := fmt.Sprint(n, " pictures")
		if bytes.Contains(fragment.header, []byte(`"keyframe_only":true`)) {
			what = fmt.Sprint(n, " picture")
		}
		p.say(kindEvent, map[string]any{"type": what})
		p.say(kindDone, nil)
	},
	"prints": func(p *program, f frame) {
		fmt.Println("plain words")
		fmt.Fprint(os.Stderr, strings.Repeat("x", 1<<20), "\n\xff binary\r\n\n  \nno end")
		work(p, f)
	},
	"prints much": func(p *program, f frame) {
		for i := range 5000 {
			fmt.Fprintln(os.Stderr, "line", i)
		}
		work(p, f)
	},
	"family": func(p *program, _ frame) {
		c := osexec.Command("sleep", "1000")
		if err := c.Start(); err != nil {
			panic(err)
		}
		if err := os.WriteFile(p.dir+"/pids", fmt.Appendf(nil, "%d %d", os.Getpid(), c.Process.Pid), 0o600); err != nil {
			panic(err)
		}
		p.leave("began")
		select {}
	},
	"deaf to its end": func(p *program, f frame) {
		work(p, f)
		select {}
	},
}

// once are what children do wrong with their first fragment. Later ones they work on.
var once = map[string]func(p *program){
	"exits": firstTime(func(*program) {
		fmt.Fprintln(os.Stderr, "MemoryError")
		os.Exit(7)
	}),
	"killed":         firstTime(func(*program) { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) }),
	"hangs":          firstTime(func(*program) { select {} }),
	"hangs at end":   firstTime(func(p *program) { p.rest(func(frame) {}); select {} }),
	"closes pipes":   firstTime(func(p *program) { p.in.Close(); p.out.Close(); select {} }),
	"prints into it": firstTime(func(p *program) { p.out.WriteString("hello, world\n"); select {} }),
	"half a frame":   firstTime(func(p *program) { p.out.WriteString("FL\x01D\x00\x00\x00\x05"); os.Exit(0) }),
	"huge header":    firstTime(func(p *program) { p.out.WriteString("FL\x01D\xff\xff\xff\xff\x00\x00\x00\x00"); select {} }),
	"huge payload":   firstTime(func(p *program) { p.out.WriteString("FL\x01D\x00\x00\x00\x02\xff\xff\xff\xff{}"); select {} }),
	"no JSON":        firstTime(func(p *program) { p.out.WriteString("FL\x01D\x00\x00\x00\x02\x00\x00\x00\x00{]"); select {} }),
	"version 2":      firstTime(func(p *program) { p.out.WriteString("FL\x02D\x00\x00\x00\x02\x00\x00\x00\x00{}"); select {} }),
	"wrong seq":      firstTime(func(p *program) { p.key.Seq++; p.say(kindDone, nil); select {} }),
	"wrong attempt":  firstTime(func(p *program) { p.key.Attempt++; p.say(kindDone, nil); select {} }),
	"no such kind":   firstTime(func(p *program) { p.say('Z', nil); select {} }),
	"ready again":    firstTime(func(p *program) { p.say(kindReady, nil); select {} }),
	"early data":     firstTime(func(p *program) { p.say(kindData, map[string]any{"pts": 5}); select {} }),
	"box in pixels": firstTime(func(p *program) {
		p.say(kindData, map[string]any{"pts": p.firstPTS(), "boxes": []any{map[string]any{"x": 100, "y": 20, "w": 30, "h": 40}}})
		select {}
	}),
	"event without type": firstTime(func(p *program) { p.say(kindEvent, nil); select {} }),
	"event before": firstTime(func(p *program) {
		p.say(kindEvent, map[string]any{"type": "x", "start": start.Add(-time.Second)})
		select {}
	}),
	"large events": firstTime(func(p *program) {
		for range 5 {
			p.say(kindEvent, map[string]any{"type": "x", "data": strings.Repeat("x", maxHeader-100)})
		}
		select {}
	}),
	"long note": firstTime(func(p *program) { p.say(kindNote, map[string]any{"note": strings.Repeat("x", 2000)}); select {} }),
	"picture": firstTime(func(p *program) {
		p.say(kindPicture, map[string]any{"pts": p.firstPTS(), "width": 8, "height": 4}, make([]byte, 96))
		select {}
	}),
	"large picture": firstTime(func(p *program) {
		p.say(kindPicture, map[string]any{"pts": p.firstPTS(), "width": 16, "height": 4}, make([]byte, 192))
		select {}
	}),
	"short picture": firstTime(func(p *program) {
		p.say(kindPicture, map[string]any{"pts": p.firstPTS(), "width": 8, "height": 4}, make([]byte, 95))
		select {}
	}),
	"picture twice": firstTime(func(p *program) {
		pts := p.firstPTS()
		for range 2 {
			p.say(kindPicture, map[string]any{"pts": pts, "width": 8, "height": 4}, make([]byte, 96))
		}
		select {}
	}),
}

// firstTime calls f with the first fragment of all children.
func firstTime(f func(p *program)) func(p *program) {
	return func(p *program) {
		if p.first("first") {
			f(p)
		}
	}
}

// firstPTS reads the first picture.
func (p *program) firstPTS() int64 {
	var h seen
	p.read().into(&h)
	return h.PTS
}
