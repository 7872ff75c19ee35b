package faults

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/copier"
	"github.com/framelog/framelog/tests/testenv"
)

func TestMain(m *testing.M) {
	copier.Main() // this process may be a copier that a test has started
	os.Exit(m.Run())
}

// A processor copies a camera. Its processes are killed and frozen, the camera changes
// its owner in the middle of a fragment, the broker is killed, retention overtakes the
// processor: each fragment of the camera is in the copy once, with the same bytes, or as
// a gap with its reason.
func TestCopier(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		listen := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))
		config := fmt.Sprintf("data: %s\nbroker_listen: %s\n", filepath.Join(t.TempDir(), "data"), listen)
		broker := startRole(t, "broker", config)
		testCopier(t, []string{listen}, func() {
			broker.KillTree()
			broker = startRole(t, "broker", config)
		})
	})
	t.Run("kafka", func(t *testing.T) {
		t.Parallel()
		k := testenv.OwnKafka(t)
		testCopier(t, k.Brokers, func() {
			k.Kill(t)
			k.Start(t)
		})
	})
}

func testCopier(t *testing.T, brokers []string, restart func()) {
	const session = 6 * time.Second
	c := newCopied(t, brokers)
	one := c.start(t, "one", session)
	c.grown(t, 3)

	one.KillTree()
	c.start(t, "two", session)
	c.grown(t, 3)
	c.start(t, "three", session)

	owner := c.owner(t)
	t.Logf("process %s has the camera, and is frozen", owner)
	c.procs[owner].Signal(syscall.SIGSTOP)
	testenv.Wait(t, 3*testenv.Patience, "another process has the camera", func() bool { return c.owner(t) != owner })
	c.grown(t, 3)
	c.procs[owner].Signal(syscall.SIGCONT)
	c.grown(t, 3)

	for _, name := range []string{"w1", "w2", "w3"} {
		c.owners <- name
		c.grown(t, 2)
	}

	restart()
	c.grown(t, 3)

	for _, name := range []string{"two", "three"} {
		c.procs[name].Signal(syscall.SIGSTOP)
	}
	from := c.expire(t)
	for _, name := range []string{"two", "three"} {
		c.procs[name].Signal(syscall.SIGCONT)
	}
	c.grown(t, 3)
	c.check(t, from)
}

// copied is a camera that records test data, and the processes that copy it.
type copied struct {
	reader
	brokers []string
	camera  schemas.Topic
	copy    schemas.Topic
	procs   map[string]*testenv.Process

	mu     sync.Mutex
	owners chan string // new writers of the camera; each begins in the middle of a fragment
	source map[uint64]fragment
}

// fragment is what a reader has got of one seq.
type fragment struct {
	kind   schemas.Kind
	reason string
	hash   [32]byte // of its samples
}

func newCopied(t *testing.T, brokers []string) *copied {
	t.Helper()
	c := &copied{
		reader: openLog(t, brokers...), brokers: brokers, camera: schemas.Topic{Camera: "copied"}, copy: schemas.Topic{Camera: "copied", Rendition: copier.Rendition},
		procs: map[string]*testenv.Process{}, owners: make(chan string), source: map[uint64]fragment{},
	}
	r, err := registry.Connect(kafka.Config{Brokers: brokers, ClientID: "test"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	if err := r.Put(t.Context(), schemas.Camera{ID: c.camera.Camera, URL: "rtsp://127.0.0.1/", Source: schemas.SourceAPI}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() { cancel(); wg.Wait() })
	wg.Go(func() { c.record(ctx) })
	wg.Go(func() { c.read(ctx) })
	return c
}

// record records a fragment of five chunks each second, until ctx ends.
func (c *copied) record(ctx context.Context) {
	const frame = schemas.MediaTimescale / 25
	began := time.Now()
	media := schemas.Ticks(time.Duration(began.UnixNano()))
	ticks := time.NewTicker(200 * time.Millisecond)
	defer ticks.Stop()
	w := c.log.Open(ctx, c.camera, medialog.OpenOptions{Writer: "w0"})
	for n, index := 0, uint32(0); ; n++ {
		owners := c.owners
		if index != 3 {
			owners = nil
		}
		select {
		case name := <-owners:
			w, index = c.log.Open(ctx, c.camera, medialog.OpenOptions{Writer: name}), 0
		default:
		}
		ch := &schemas.Chunk{
			Index: index, Last: index == 4, Start: began.Add(time.Duration(n) * 200 * time.Millisecond).Truncate(time.Microsecond), Captured: time.Now(),
			Layout: schemas.Layout{Part: schemas.PartTarget(5, frame), Video: schemas.H264},
		}
		if index == 0 {
			ch.Tracks = []schemas.Track{{ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale, Config: []byte{1, 2, 3}, Width: 640, Height: 360}}
		}
		run := schemas.Run{Track: schemas.VideoTrack}
		for i := range 5 {
			data := fmt.Appendf(nil, "chunk %d sample %d", n, i)
			run.Samples = append(run.Samples, schemas.Sample{DTS: media, Duration: frame, Sync: index == 0 && i == 0, Data: data})
			media += frame
		}
		ch.Runs = []schemas.Run{run}
		_ = w.Write(ch) // what is refused is a gap
		index = (index + 1) % 5
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return
		}
	}
}

// read reads the camera, before retention removes it.
func (c *copied) read(ctx context.Context) {
	next := uint64(1)
	for ctx.Err() == nil {
		for e, err := range c.log.Tail(ctx, c.camera, medialog.Position{Seq: next}) {
			if err != nil {
				break
			}
			if e.Entry == nil {
				continue
			}
			f, err := fragmentOf(ctx, c.log, c.camera, *e.Entry)
			if err != nil {
				break
			}
			next = e.Entry.Seq + 1
			c.mu.Lock()
			c.source[e.Entry.Seq] = f
			c.mu.Unlock()
		}
	}
}

func fragmentOf(ctx context.Context, l *medialog.Log, t schemas.Topic, e schemas.Entry) (fragment, error) {
	h := sha256.New()
	for c, err := range l.Chunks(ctx, t, e) {
		if err != nil {
			return fragment{}, err
		}
		for _, r := range c.Runs {
			for _, s := range r.Samples {
				fmt.Fprintf(h, "%d %d %d %q\n", r.Track, s.DTS, s.Duration, s.Data)
			}
		}
	}
	return fragment{e.Kind, e.Reason, [32]byte(h.Sum(nil))}, nil
}

// start starts a process of the processor.
func (c *copied) start(t *testing.T, name string, session time.Duration) *testenv.Process {
	t.Helper()
	config, err := json.Marshal(copier.Config{Brokers: c.brokers, Name: name, SessionTimeout: session})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), os.Args[0])
	cmd.Env = append(os.Environ(), copier.Variable+"="+string(config))
	c.procs[name] = testenv.Start(t, "copier "+name, cmd)
	return c.procs[name]
}

// grown waits until the copy has n more fragments with footage, which were recorded
// after this call.
func (c *copied) grown(t *testing.T, n int) {
	t.Helper()
	c.grownOf(t, c.copy, time.Now(), n, 4*testenv.Patience)
}

// owner returns which process wrote the newest `open` of the copy.
func (c *copied) owner(t *testing.T) string {
	t.Helper()
	return newestOpen(t, c.copy, c.brokers...).Writer
}

// expire waits until the camera has six fragments more than its copy, and deletes the
// oldest records as retention does: of the index all but those of four fragments, of the
// media all but those of two. It returns the first seq that was not in the copy.
func (c *copied) expire(t *testing.T) (from uint64) {
	t.Helper()
	done := c.entriesOf(t, c.copy)
	from = done[len(done)-1].Seq + 1
	var all []schemas.Entry
	testenv.Wait(t, 2*testenv.Patience, "the camera is ahead of its copy", func() bool {
		all = c.entriesOf(t, c.camera)
		return all[len(all)-1].Seq >= from+6
	})
	names, before := schemas.Names{}, kadm.Offsets{}
	n := len(all)
	before.AddOffset(names.Index(c.camera), 0, all[n-4].Offset, -1)
	for _, e := range all[:n-2] {
		if e.Playable() {
			before.AddOffset(names.Media(c.camera), e.Partition, e.Last+1, -1)
		}
	}
	res, err := openAdmin(t, c.brokers...).DeleteRecords(t.Context(), before)
	if err == nil {
		err = res.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	return from
}

// check compares the copy with the camera. What may have expired begins with the seq
// from.
func (c *copied) check(t *testing.T, from uint64) {
	t.Helper()
	all := c.entriesOf(t, c.copy)
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := map[uint64]bool{}
	count := map[string]int{}
	for i, e := range all {
		if seen[e.Seq] {
			t.Errorf("seq %d is in the copy twice", e.Seq)
		}
		seen[e.Seq] = true
		if i > 0 && e.Seq != all[i-1].Seq+1 {
			count["hole"]++
			if e.Seq < all[i-1].Seq || all[i-1].Seq+1 < from {
				t.Errorf("seq %d follows %d", e.Seq, all[i-1].Seq)
			}
		}
		want := c.source[e.Seq]
		got, err := fragmentOf(t.Context(), c.log, c.copy, e)
		switch {
		case err != nil:
			t.Errorf("seq %d: %v", e.Seq, err)
		case e.Reason == schemas.ReasonExpired && e.Seq >= from:
			count["expired"]++
		case got != want:
			t.Errorf("seq %d is %s (%s) with samples %x, in the camera %s (%s) with %x", e.Seq, got.kind, got.reason, got.hash[:4], want.kind, want.reason, want.hash[:4])
		default:
			count[string(e.Kind)]++
		}
	}
	t.Logf("the copy: %v", count)
	if first := slices.Min(slices.Collect(maps.Keys(c.source))); all[0].Seq != first {
		t.Errorf("the copy begins with %d, the camera with %d", all[0].Seq, first)
	}
	for _, what := range []string{"whole", "truncated", "expired", "hole"} {
		if count[what] == 0 {
			t.Errorf("the copy has no %s: the test misses what it is for:\n%s", what, table(all))
		}
	}
}
