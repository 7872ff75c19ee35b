package replay

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

var yard, copied = schemas.Topic{Camera: "yard"}, schemas.Topic{Camera: "copy"}

// env is brokers in memory in a bubble of testing/synctest: pauses take no time, and what
// a test measures is exact.
type env struct {
	t       *testing.T
	connect func() *medialog.Log
	log     *medialog.Log  // for the source, and to read
	store   medialog.Store // that the replay reads
	options []kgo.Opt      // of further clients
	expire  func(before kadm.Offsets) error
	damage  func(t schemas.Topic, partition int32, offset int64)
	events  []ingest.Event // of the replays
	lines   testenv.Log
}

func virtual(t *testing.T, f func(t *testing.T, e *env)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c, dial := testenv.VirtualKafka(t, 1)
		e := &env{t: t, options: []kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...), kgo.Dialer(dial)}}
		e.connect = func() *medialog.Log {
			cfg := medialog.Config{Kafka: kafka.Config{Brokers: c.ListenAddrs(), Dial: dial}, Budget: 1 << 20}
			l, err := medialog.Connect(cfg, slog.New(slog.NewTextHandler(&e.lines, nil)), prometheus.NewRegistry())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(l.Close)
			return l
		}
		e.log = e.connect()
		e.store = e.log
		e.expire = func(before kadm.Offsets) error {
			cl, err := kgo.NewClient(e.options...)
			if err != nil {
				return err
			}
			defer cl.Close()
			res, err := kadm.NewClient(cl).DeleteRecords(t.Context(), before)
			return errors.Join(err, res.Error())
		}
		e.damage = func(topic schemas.Topic, partition int32, offset int64) {
			testenv.DamageKafka(t, c, dial, schemas.Names{}.Media(topic), partition, offset)
		}
		t.Cleanup(func() {
			if t.Failed() {
				t.Log(e.lines.String())
			}
		})
		f(t, e)
	})
}

// process is an ingest process, as far as a replay needs one.
type process struct {
	ingest.Sink // nil: a replay calls none of its methods
	log         *medialog.Log
	target      schemas.Topic          // the zero value: copied
	chunks      func(c *schemas.Chunk) // called before each chunk; may be nil
	events      []ingest.Event

	w *medialog.Writer // nil: not open
}

func (p *process) Begin(ctx context.Context) error {
	if p.w == nil {
		p.w = p.log.Open(context.WithoutCancel(ctx), cmp.Or(p.target, copied), medialog.OpenOptions{Writer: "test", Redo: true})
	}
	p.w.Truncate(schemas.ReasonSource)
	return p.w.Written(ctx)
}

func (p *process) Chunk(ctx context.Context, c *schemas.Chunk) error {
	if p.chunks != nil {
		p.chunks(c)
	}
	if err := p.w.Room(ctx, c.Size(), c.Index == 0); err != nil {
		return err
	}
	return p.w.Write(c)
}

func (p *process) Observe(ev ingest.Event)  { p.events = append(p.events, ev) }
func (p *process) NewSession(absent string) { p.w.NewSession(absent) }
func (p *process) Truncate(reason string)   { p.w.Truncate(reason) }
func (p *process) Lost(l schemas.Lost)      { p.w.Lost(l) }
func (p *process) Gap(start time.Time, media, duration int64, reason string) {
	p.w.Gap(start, media, duration, reason)
}

// run runs the replay in a process of its own until it ends. When ctx ends, the process
// stops in order.
func (e *env) run(ctx context.Context, r schemas.Replay, chunks func(c *schemas.Chunk)) error {
	p := &process{log: e.connect(), chunks: chunks}
	err := e.into(ctx, copied, r, p)
	e.events = append(e.events, p.events...)
	return err
}

// into is run with a process and a target.
func (e *env) into(ctx context.Context, target schemas.Topic, r schemas.Replay, p *process) error {
	p.target = target
	err := e.sourceOf(target, r).Run(ctx, p)
	if p.w != nil {
		if err := p.w.Close(context.WithoutCancel(ctx)); err != nil {
			e.t.Error(err)
		}
	}
	return err
}

func (e *env) source(r schemas.Replay) *Source { return e.sourceOf(copied, r) }

func (e *env) sourceOf(target schemas.Topic, r schemas.Replay) *Source {
	cam := schemas.Camera{ID: target.Camera, URL: r.URL()}
	if err := Check(cam); err != nil {
		e.t.Fatal(err)
	}
	return New(Config{Camera: cam, Store: e.store})
}

// must is run to the replay's end.
func (e *env) must(r schemas.Replay, chunks func(c *schemas.Chunk)) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), 2*time.Hour)
	defer cancel()
	if err := e.run(ctx, r, chunks); !errors.Is(err, ingest.ErrEnded) {
		e.t.Fatalf("the replay ended with %v", err)
	}
}

// camera writes the footage that is repeated, as ingest does.
type camera struct {
	w      *medialog.Writer
	tracks []schemas.Track
	public time.Time // of the session's start
	base   int64     // its media time
	at     int64     // ticks since
	sound  int64     // ticks of the sound since
	frames uint32
}

const (
	frameTicks = schemas.MediaTimescale / 25
	soundScale = 48000
	soundTicks = 1024
)

var (
	withSound = []schemas.Track{
		{ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale, Config: testmedia.AVCC, Width: 640, Height: 360},
		{ID: schemas.AudioTrack, Codec: schemas.AAC, Timescale: soundScale, Config: []byte{0x11, 0x90}, SampleRate: soundScale, Channels: 2},
	}
	larger = []schemas.Track{{ID: schemas.VideoTrack, Codec: schemas.H265, Timescale: schemas.MediaTimescale, Config: hvcc, Width: 1920, Height: 1080}}
	// hvcc is the body of hvcC, with parameter sets of two bytes each.
	hvcc = []byte{
		1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 0x3f, 0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 3,
		0xa0, 0, 1, 0, 2, 0x40, 1, 0xa1, 0, 1, 0, 2, 0x42, 1, 0xa2, 0, 1, 0, 2, 0x44, 1,
	}
)

// session begins a session now.
func (c *camera) session(absent string, tracks []schemas.Track) {
	c.w.NewSession(absent)
	c.public = time.Now()
	c.base, c.at, c.sound, c.tracks = schemas.Ticks(time.Duration(c.public.UnixNano())), 0, 0, tracks
}

// fragment writes n chunks of five pictures of 200 ms in all, each when it is complete. end
// is the last of the whole fragment.
func (c *camera) fragment(n int, whole bool, change func(*schemas.Chunk)) {
	for i := range n {
		time.Sleep(200 * time.Millisecond)
		x := &schemas.Chunk{
			Index: uint32(i), Last: whole && i == n-1, Start: c.public.Add(schemas.FromTicks(c.at)), Captured: time.Now(),
			CameraTime: time.Unix(1000, 0).Add(schemas.FromTicks(c.at)).UTC(), Layout: schemas.Layout{Part: 19800, Video: c.tracks[0].Codec},
		}
		if i == 0 {
			x.Tracks = c.tracks
		}
		video := schemas.Run{Track: schemas.VideoTrack}
		for j := range 5 {
			offset := [...]int32{2, 4, 2, 0, 2}[j] * frameTicks // B-frames
			video.Samples = append(video.Samples, schemas.Sample{DTS: c.base + c.at, PTSOffset: offset, Duration: frameTicks, Sync: i == 0 && j == 0, Data: c.bytes()})
			c.at += frameTicks
		}
		x.Runs = []schemas.Run{video}
		if len(c.tracks) > 1 {
			x.Layout.Audio = schemas.AAC
			sound := schemas.Run{Track: schemas.AudioTrack}
			base := schemas.Rescale(c.base, schemas.MediaTimescale, soundScale) + 17
			for schemas.Rescale(c.sound, soundScale, schemas.MediaTimescale) < c.at {
				sound.Samples = append(sound.Samples, schemas.Sample{DTS: base + c.sound, Duration: soundTicks, Sync: true, Data: c.bytes()})
				c.sound += soundTicks
			}
			x.Runs = append(x.Runs, sound)
		}
		if change != nil {
			change(x)
		}
		_ = c.w.Write(x)
	}
}

func (c *camera) bytes() []byte {
	c.frames++
	return binary.BigEndian.AppendUint32(make([]byte, 1000), c.frames)
}

// film writes footage of all kinds, and returns its range.
func (e *env) film() schemas.Replay {
	e.t.Helper()
	c := &camera{w: e.log.Open(e.t.Context(), yard, medialog.OpenOptions{Writer: "camera"})}
	c.session("", withSound)
	for range 3 {
		c.fragment(5, true, nil)
	}
	c.w.Lost(schemas.Lost{Packets: 9}) // of no fragment
	c.fragment(3, false, nil)
	c.w.Lost(schemas.Lost{Packets: 3, Units: 1})
	c.w.Truncate(schemas.ReasonCap)
	for range 5 { // up to the next keyframe
		time.Sleep(time.Second)
		c.w.Gap(c.public.Add(schemas.FromTicks(c.at)), c.base+c.at, schemas.MediaTimescale, schemas.ReasonKeyframe)
		c.at += schemas.MediaTimescale
		c.sound = schemas.Rescale(c.at, schemas.MediaTimescale, soundScale)
	}
	c.fragment(6, true, func(x *schemas.Chunk) { x.OpenGOP = x.Index == 0; x.Ended = x.Last })
	time.Sleep(7 * time.Second)
	c.session(schemas.AbsentCamera, larger)
	c.fragment(4, true, nil)
	c.session("", withSound) // sound comes, and no time is missing
	c.fragment(5, true, nil)
	time.Sleep(310 * time.Second) // so long that no gaps stand for it
	c.session(schemas.AbsentRestart, withSound)
	c.fragment(5, true, func(x *schemas.Chunk) { x.Ended = x.Last })
	if err := c.w.Close(e.t.Context()); err != nil {
		e.t.Fatal(err)
	}
	oldest, newest, err := e.log.Bounds(e.t.Context(), yard)
	if err != nil {
		e.t.Fatal(err)
	}
	time.Sleep(time.Minute)
	return schemas.Replay{Of: yard, From: oldest.Start, To: newest.End(), Speed: 1}
}

// told is the footage of a topic in words: all that a copy must have in common with its
// source. Times of samples are those since the first sample of the track in the session,
// or, if apart, in the fragment.
func (e *env) told(t schemas.Topic, from time.Time, apart bool) (entries []schemas.Entry, out []string) {
	e.t.Helper()
	time.Sleep(10 * time.Second) // a topic that was created a moment ago may not be known yet
	var before schemas.Entry
	first := map[uint8]int64{} // DTS, by track
	for x, err := range e.log.Entries(e.t.Context(), t, medialog.Range{From: from}) {
		if err != nil {
			e.t.Fatal(err)
		}
		entries = append(entries, x)
		if apart || x.Session != before.Session {
			clear(first)
		}
		if before.Seq != 0 && (x.Seq != before.Seq+1 || x.Media < before.MediaEnd() || x.Session-before.Session > 1) {
			e.t.Errorf("%s: %+v\nfollows %+v", t, x, before)
		}
		before = x
		var b strings.Builder
		fmt.Fprintf(&b, "%s %s %d ticks, %d bytes, lost %v, open GOP %v, ended %v, config %s, part %d", x.Kind, x.Reason, x.Duration, x.Bytes, x.Lost, x.OpenGOP, x.Ended, x.Config, x.Layout.Part)
		for c, err := range e.log.Chunks(e.t.Context(), t, x) {
			if err != nil {
				e.t.Fatal(err)
			}
			fmt.Fprintf(&b, "\n  chunk %d last %v camera %v", c.Index, c.Last, c.CameraTime.UTC())
			for _, run := range c.Runs {
				for _, s := range run.Samples {
					if _, ok := first[run.Track]; !ok {
						first[run.Track] = s.DTS
					}
					fmt.Fprintf(&b, "\n    %d at %d: %d %d %v %x", run.Track, s.DTS-first[run.Track], s.PTSOffset, s.Duration, s.Sync, sha256.Sum256(s.Data))
				}
			}
		}
		out = append(out, b.String())
	}
	return entries, out
}

// merged is told with gaps in one piece, and without those of the time in which nothing was
// recorded.
func (e *env) merged(t schemas.Topic, from time.Time) (out []string) {
	e.t.Helper()
	gap := int64(0)
	entries, told := e.told(t, from, true)
	for i, x := range entries {
		switch {
		case x.Kind != schemas.KindGap:
			if gap > 0 {
				out = append(out, fmt.Sprintf("gap of %d ticks", gap))
			}
			out, gap = append(out, told[i]), 0
		case x.Reason != schemas.ReasonAbsent:
			gap += x.Duration
		}
	}
	return out
}

// checkCopy checks that a topic has the footage of a source, sample by sample, with its sessions,
// absences and distances in time, and that each fragment names its source.
func (e *env) checkCopy(of schemas.Topic, r schemas.Replay, source []schemas.Entry, want []string) (copies []schemas.Entry) {
	e.t.Helper()
	copies, got := e.told(of, time.Time{}, false)
	if same(e.t, got, want); e.t.Failed() {
		return copies
	}
	for i, x := range copies {
		if x.Session-copies[0].Session != source[i].Session-source[0].Session {
			e.t.Errorf("entry %d is of session %d, its source of %d", i, x.Session, source[i].Session)
		}
		if d := x.Start.Sub(copies[0].Start) - source[i].Start.Sub(source[0].Start); d.Abs() > time.Millisecond {
			e.t.Errorf("entry %d is %v away from where it was", i, d)
		}
		if i > 0 && (x.AbsentReason != source[i].AbsentReason || x.Absent-source[i].Absent > 9 || source[i].Absent-x.Absent > 9) {
			e.t.Errorf("entry %d tells an absence of %d ticks (%s), its source %d (%s)", i, x.Absent, x.AbsentReason, source[i].Absent, source[i].AbsentReason)
		}
		for c, err := range e.log.Chunks(e.t.Context(), of, x) {
			if n, ok := r.Round(c.Lineage); err != nil || c.Index == 0 && (!ok || n != 0 || c.Lineage.Seq != source[i].Seq || c.Lineage.Source != "cam.yard") {
				e.t.Errorf("fragment %d: lineage %+v, %v; its source is %d", i, c.Lineage, err, source[i].Seq)
			}
		}
	}
	return copies
}

// same compares footage in words, and shows the first difference.
func same(t *testing.T, got, want []string) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		g, w := strings.Split(got[i], "\n"), strings.Split(want[i], "\n")
		for j := range max(len(g), len(w)) {
			if j >= len(g) || j >= len(w) || g[j] != w[j] {
				t.Errorf("entry %d differs in line %d:\n%s\nwant\n%s", i, j, strings.Join(g[min(j, len(g)):min(j+1, len(g))], ""), strings.Join(w[min(j, len(w)):min(j+1, len(w))], ""))
				return
			}
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d entries, want %d", len(got), len(want))
	}
}
