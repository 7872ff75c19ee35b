package faults

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

func TestMain(m *testing.M) {
	processorMain() // this process may be a processor that a test has started
	ingestMain()    // or an ingest process
	os.Exit(m.Run())
}

// Three processes of a processor share a camera. They are killed and frozen, the camera
// changes its owner in the middle of a fragment, the broker is killed, retention overtakes
// the processor: each fragment of the camera is in each output once, with what the
// processor makes of it, or as a gap with its reason.
func TestProcessor(t *testing.T) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		brokers, restart := ownBroker(t)
		testProcessor(t, brokers, restart)
	})
	t.Run("kafka", func(t *testing.T) {
		t.Parallel()
		testenv.Long(t)
		k := testenv.OwnKafka(t)
		testProcessor(t, k.Brokers, func() {
			k.Kill(t)
			k.Start(t)
		})
	})
}

// ownBroker starts the embedded broker. restart kills it and starts it again.
func ownBroker(t *testing.T) (brokers []string, restart func()) {
	t.Helper()
	listen := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))
	config := fmt.Sprintf("data: %s\nbroker_listen: %s\n", filepath.Join(t.TempDir(), "data"), listen)
	broker := startRole(t, "broker", config)
	return []string{listen}, func() {
		broker.KillTree()
		broker = startRole(t, "broker", config)
	}
}

func testProcessor(t *testing.T, brokers []string, restart func()) {
	c := newProcessed(t, brokers)
	names := []string{"one", "two", "three"}
	for _, name := range names {
		c.start(t, name)
	}
	c.grown(t, 2)
	c.without("calm")

	killed := c.owner(t)
	c.procs[killed].KillTree()
	c.grown(t, 2)
	c.without("kill -9 of " + killed)
	c.start(t, killed)

	owner := c.owner(t)
	c.procs[owner].Signal(syscall.SIGSTOP)
	testenv.Wait(t, 3*testenv.Patience, "another process has the camera", func() bool { return c.owner(t) != owner })
	c.grown(t, 2)
	c.without("SIGSTOP of " + owner)
	c.procs[owner].Signal(syscall.SIGCONT)
	c.grown(t, 2)
	c.without("SIGCONT of " + owner)

	for _, name := range []string{"w1", "w2", "w3"} {
		c.owners <- name
		c.grown(t, 1)
	}
	c.without("new owners of the camera")

	restart()
	c.grown(t, 2)
	c.without("restart of the broker")

	for _, name := range names {
		c.procs[name].Signal(syscall.SIGSTOP)
	}
	from := c.expire(t)
	for _, name := range names {
		c.procs[name].Signal(syscall.SIGCONT)
	}
	c.grown(t, 2)
	c.check(t, from)
}

// processed is a camera that records test data, and the processes that process it.
type processed struct {
	reader
	brokers []string
	camera  schemas.Topic
	made    schemas.Topic // the outputs
	found   schemas.Topic
	procs   map[string]*testenv.Process
	owners  chan string // new writers of the camera; each begins in the middle of a fragment
	poison  chan string // a word that stands in the frames of the next fragment

	mu     sync.Mutex
	source map[uint64]fragment // what the processor makes of the camera
	came   time.Time           // when the newest entry of the output came
	absent time.Duration       // the longest time without one, since without was called
}

// fragment is what a reader has got of one seq.
type fragment struct {
	kind   schemas.Kind
	reason string
	hash   [32]byte // of its samples
}

func newProcessed(t *testing.T, brokers []string) *processed {
	t.Helper()
	topic := func(rendition string) schemas.Topic { return schemas.Topic{Camera: "processed", Rendition: rendition} }
	c := &processed{
		reader: openLog(t, brokers...), brokers: brokers, camera: topic(""), made: topic("made"), found: topic("found"),
		procs: map[string]*testenv.Process{}, owners: make(chan string), poison: make(chan string), source: map[uint64]fragment{},
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
	wg.Go(func() {
		c.follow(ctx, c.camera, func(e schemas.Entry) error { return c.read(ctx, e) })
	})
	wg.Go(func() { c.follow(ctx, c.made, c.watch) })
	return c
}

// record records a fragment of five chunks each second, until ctx ends.
func (c *processed) record(ctx context.Context) {
	const frame = schemas.MediaTimescale / 25
	began := time.Now()
	media := schemas.Ticks(time.Duration(began.UnixNano()))
	ticks := time.NewTicker(200 * time.Millisecond)
	defer ticks.Stop()
	w := c.log.Open(ctx, c.camera, medialog.OpenOptions{Writer: "w0"})
	word := ""
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
		if index == 0 {
			select {
			case word = <-c.poison:
			default:
				word = ""
			}
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
			data := fmt.Appendf(nil, "chunk %d sample %d %s", n, i, word)
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

// follow calls take with each entry of a topic, until ctx ends. If take fails, it is called
// again.
func (c *processed) follow(ctx context.Context, topic schemas.Topic, take func(schemas.Entry) error) {
	next := uint64(1)
	for ctx.Err() == nil {
		for e, err := range c.log.Tail(ctx, topic, medialog.Position{Seq: next}) {
			if err == nil && e.Entry == nil {
				continue
			}
			if err == nil {
				err = take(*e.Entry)
			}
			if err != nil {
				break
			}
			next = e.Entry.Seq + 1
		}
	}
}

// read reads a fragment of the camera, before retention removes it.
func (c *processed) read(ctx context.Context, e schemas.Entry) error {
	f, err := fragmentOf(ctx, c.log, c.camera, e, madeOf)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.source[e.Seq] = f
	}
	return err
}

// watch measures the time without a new entry of the output.
func (c *processed) watch(schemas.Entry) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.came.IsZero() {
		c.absent = max(c.absent, time.Since(c.came))
	}
	c.came = time.Now()
	return nil
}

// without prints the longest time without output since it was called before.
func (c *processed) without(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Printf("%s: at most %v between two entries of the output\n", what, c.absent.Round(time.Millisecond))
	c.absent = 0
}

// fragmentOf reads an entry and its samples; change tells what is made of their bytes.
func fragmentOf(ctx context.Context, l *medialog.Log, t schemas.Topic, e schemas.Entry, change func([]byte) []byte) (fragment, error) {
	var chunks []*schemas.Chunk
	for c, err := range l.Chunks(ctx, t, e) {
		if err != nil {
			return fragment{}, err
		}
		chunks = append(chunks, c)
	}
	return fragment{e.Kind, e.Reason, hashOf(chunks, change)}, nil
}

func hashOf(chunks []*schemas.Chunk, change func([]byte) []byte) [32]byte {
	h := sha256.New()
	for _, c := range chunks {
		for _, r := range c.Runs {
			for _, s := range r.Samples {
				fmt.Fprintf(h, "%d %d %d %q\n", r.Track, s.DTS, s.Duration, change(s.Data))
			}
		}
	}
	return [32]byte(h.Sum(nil))
}

func same(b []byte) []byte { return b }

// start starts a process of the processor.
func (c *processed) start(t *testing.T, name string, change ...func(*processorConfig)) *testenv.Process {
	t.Helper()
	cfg := processorConfig{Brokers: c.brokers, Instance: name}
	for _, f := range change {
		f(&cfg)
	}
	b, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), os.Args[0])
	cmd.Env = append(os.Environ(), processorVariable+"="+string(b))
	p := testenv.Start(t, "processor "+name, cmd)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.procs[name] = p
	return p
}

// grown waits until the output has n more fragments with footage, which were recorded
// after this call.
func (c *processed) grown(t *testing.T, n int) {
	t.Helper()
	c.grownOf(t, c.made, time.Now(), n, 4*testenv.Patience)
}

// owner returns which process wrote the newest `open` of the output.
func (c *processed) owner(t *testing.T) string {
	t.Helper()
	return newestOpen(t, c.made, c.brokers...).Writer
}

// expire waits until the camera has six fragments more than its output, and deletes the
// oldest records as retention does: of the index all but those of four fragments, of the
// media all but those of two. It returns the first seq that was not in the output.
func (c *processed) expire(t *testing.T) (from uint64) {
	t.Helper()
	done := c.entriesOf(t, c.made)
	from = done[len(done)-1].Seq + 1
	var all []schemas.Entry
	testenv.Wait(t, 2*testenv.Patience, "the camera is ahead of its output", func() bool {
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

// check compares the outputs with what the processor makes of the camera. What may have
// expired begins with the seq from.
func (c *processed) check(t *testing.T, from uint64) {
	t.Helper()
	all := c.entriesOf(t, c.made)
	c.mu.Lock()
	defer c.mu.Unlock()
	count := map[string]int{}
	for i, e := range all {
		if i > 0 && e.Seq != all[i-1].Seq+1 {
			count["hole"]++
			if e.Seq <= all[i-1].Seq || all[i-1].Seq+1 < from {
				t.Errorf("seq %d follows %d", e.Seq, all[i-1].Seq)
			}
		}
		want := c.source[e.Seq]
		got, err := fragmentOf(t.Context(), c.log, c.made, e, same)
		switch {
		case err != nil:
			t.Errorf("seq %d: %v", e.Seq, err)
		case e.Reason == schemas.ReasonExpired && e.Seq >= from:
			count["expired"]++
		case got != want:
			t.Errorf("seq %d is %s (%s) with samples %x, the processor makes %s (%s) with %x of it", e.Seq, got.kind, got.reason, got.hash[:4], want.kind, want.reason, want.hash[:4])
		default:
			count[string(e.Kind)]++
		}
	}
	fmt.Printf("the output: %v\n", count)
	for _, what := range []string{"whole", "truncated", "expired", "hole"} {
		if count[what] == 0 {
			t.Errorf("the output has no %s: the test misses what it is for:\n%s", what, table(all))
		}
	}
	c.checkFound(t, all)
}

// checkFound compares the output of data with the other one: for each fragment it has
// exactly one event, which tells the hash of what was made of the fragment.
func (c *processed) checkFound(t *testing.T, made []schemas.Entry) {
	t.Helper()
	found := c.entriesOf(t, c.found)
	// Each output has its own checkpoint: one may be some fragments further.
	n := min(len(made), len(found))
	for i, e := range found[:n] {
		if e.Seq != made[i].Seq || e.Kind != made[i].Kind {
			t.Errorf("entry %d of the data is %s %d, the other output has %s %d", i, e.Kind, e.Seq, made[i].Kind, made[i].Seq)
			continue
		}
		if !e.Playable() {
			continue
		}
		var events []schemas.Event
		for chunk, err := range c.log.Chunks(t.Context(), c.found, e) {
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range chunk.Runs {
				for _, s := range r.Samples {
					var d schemas.Data
					if err := json.Unmarshal(s.Data, &d); err == nil && d.Event != nil {
						events = append(events, *d.Event)
					}
				}
			}
		}
		hash := c.source[e.Seq].hash
		if want := fmt.Sprintf("%q", hex.EncodeToString(hash[:])); len(events) != 1 || string(events[0].Data) != want {
			t.Errorf("seq %d has the events %+v, want one with %s", e.Seq, events, want)
		}
	}
}
