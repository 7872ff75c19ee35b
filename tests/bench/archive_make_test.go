package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

var yard = schemas.Topic{Camera: "yard"}

// loop is the footage of a camera: a few fragments, again and again.
type loop []testmedia.Fragment

// tiny are fragments of 2 s, each with ten pictures of a few bytes in one chunk. No decoder takes
// them.
func tiny() loop {
	const frame = schemas.MediaTimescale / 5
	c := testmedia.Clip{Tracks: []schemas.Track{
		{ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale, Config: testmedia.AVCC, Width: 320, Height: 180},
	}, Samples: map[uint8][]schemas.Sample{}}
	for i := range 50 {
		kind := byte(0x41)
		if i%10 == 0 {
			kind = 0x65
		}
		c.Samples[schemas.VideoTrack] = append(c.Samples[schemas.VideoTrack], schemas.Sample{
			DTS: int64(i) * frame, Duration: frame, Sync: i%10 == 0, Data: []byte{0, 0, 0, 2, kind, byte(i)},
		})
	}
	layout := schemas.Layout{Target: 2, Part: schemas.PartTarget(10, frame), Video: schemas.H264}
	return c.Fragments(testmedia.Place{Layout: layout, Start: testmedia.Start}, 10)
}

// chunks yields the chunks of fragment i, as if it began at a media time.
func (l loop) chunks(i int, media int64) iter.Seq2[*schemas.Chunk, error] {
	f := l[i%len(l)]
	shift := media - f.Entry.Media
	return func(yield func(*schemas.Chunk, error) bool) {
		for _, c := range f.Chunks {
			c := *c
			c.Start = c.Start.Add(schemas.FromTicks(shift))
			c.Captured, c.Runs = c.Start, slices.Clone(c.Runs)
			for r := range c.Runs {
				by := shift
				if c.Runs[r].Track == schemas.AudioTrack {
					by = schemas.Rescale(shift, schemas.MediaTimescale, 48000)
				}
				c.Runs[r].Samples = slices.Clone(c.Runs[r].Samples)
				for s := range c.Runs[r].Samples {
					c.Runs[r].Samples[s].DTS += by
				}
			}
			if !yield(&c, nil) {
				return
			}
		}
	}
}

// Entries and Chunks make a loop the log of archive.Write.
func (l loop) Entries(context.Context, schemas.Topic, medialog.Range) iter.Seq2[schemas.Entry, error] {
	return func(func(schemas.Entry, error) bool) {}
}

func (l loop) Chunks(_ context.Context, _ schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	return func(yield func(*schemas.Chunk, error) bool) {
		for c := range l.chunks(int(e.Seq)%len(l), e.Media) {
			c.Seq, c.Epoch, c.Session = e.Seq, e.Epoch, e.Session
			if !yield(c, nil) {
				return
			}
		}
	}
}

// record writes fragments into the log, of which the first one begins at a time.
func (l loop) record(b *testing.B, to *medialog.Log, t schemas.Topic, from time.Time, d time.Duration) {
	b.Helper()
	w := to.Open(b.Context(), t, medialog.OpenOptions{Writer: "bench"})
	select {
	case <-w.Ready():
	case <-time.After(testenv.Patience):
		b.Fatal("the log does not open")
	}
	for i, at := 0, from; at.Before(from.Add(d)); i++ {
		media := schemas.Ticks(time.Duration(at.UnixNano()))
		for c := range l.chunks(i, media) {
			if err := errors.Join(w.Room(b.Context(), c.Size(), c.Index == 0), w.Write(c)); err != nil {
				b.Fatal(err, w.Err())
			}
		}
		at = at.Add(schemas.FromTicks(l[i%len(l)].Entry.Duration))
	}
	if err := errors.Join(w.Written(b.Context()), w.Close(b.Context())); err != nil {
		b.Fatal(err)
	}
}

// recordInTime records as a camera does that takes its time: each record of the log has the time at
// which it would have come. A writer gives it the present time, so its records are copied.
func (l loop) recordInTime(b *testing.B, broker string, t schemas.Topic, from time.Time, d time.Duration) {
	b.Helper()
	draft, names := schemas.Topic{Camera: t.Camera + "-draft"}, schemas.Names{}
	to := connect(b, broker)
	l.record(b, to, draft, from, d)
	if err := to.Ensure(b.Context(), t); err != nil {
		b.Fatal(err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics(names.Index(draft), names.Media(draft)),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(1<<20),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerLinger(0)) // as a writer
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	for left := 2 * int(d/schemas.FromTicks(l[0].Entry.Duration)); left > 0; { // an entry and a chunk of each fragment
		fetched := cl.PollFetches(b.Context())
		if err := fetched.Err(); err != nil {
			b.Fatal(err)
		}
		fetched.EachRecord(func(r *kgo.Record) {
			c := kgo.Record{Topic: names.Media(t), Partition: r.Partition, Key: bytes.Replace(r.Key, []byte(draft.Camera), []byte(t.Camera), 1), Value: r.Value, Headers: r.Headers, Timestamp: from}
			if r.Topic == names.Index(draft) {
				c.Topic = names.Index(t)
				if e, err := schemas.DecodeEntry(r.Value); err == nil && e.Footage() {
					c.Timestamp, left = e.End(), left-1
				}
				// Entries of a camera that takes its time are batches of their own.
				if err := cl.ProduceSync(b.Context(), &c).FirstErr(); err != nil {
					b.Error(err)
				}
				return
			} else if chunk, err := schemas.DecodeChunk(r.Value); err == nil {
				c.Timestamp, left = chunk.Start, left-1
			}
			cl.Produce(b.Context(), &c, func(_ *kgo.Record, err error) {
				if err != nil {
					b.Error(err)
				}
			})
		})
	}
	if err := cl.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// connect opens the log of a broker.
func connect(b *testing.B, broker string) *medialog.Log {
	b.Helper()
	l, err := medialog.Connect(medialog.Config{Kafka: kafka.Config{Brokers: []string{broker}}, Retention: 48 * time.Hour}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(l.Close)
	return l
}

// startBroker runs the embedded broker in a process of its own.
func startBroker(b *testing.B) string {
	b.Helper()
	address, dir := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(b)), b.TempDir()
	file := filepath.Join(dir, "framelog.yaml")
	config := fmt.Sprintf("data: %s\nbroker_listen: %s\nbroker:\n  limit: 8GiB\n", dir, address)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	p := testenv.Start(b, "broker", exec.CommandContext(context.Background(), testenv.Binary(b), "broker", "--config", file))
	l := connect(b, address)
	p.Wait(b, time.Minute, "the broker answers", func() bool {
		ctx, cancel := context.WithTimeout(b.Context(), time.Second)
		defer cancel()
		_, err := l.IndexEnd(ctx, yard)
		return err == nil
	})
	return address
}

// fastDir makes a directory in memory where the system has one: what is measured is not its disk.
func fastDir(b *testing.B) string {
	b.Helper()
	for _, root := range []string{"/dev/shm", ""} {
		if dir, err := os.MkdirTemp(root, "framelog-bench-"); err == nil { //nolint:usetesting // another file system
			b.Cleanup(func() { _ = os.RemoveAll(dir) })
			return dir
		}
	}
	b.Fatal("there is no place for temporary files")
	return ""
}

// before returns the entries of footage of a length that ends right before newest.
func (l loop) before(newest schemas.Entry, d time.Duration) []schemas.Entry {
	one := l[0].Entry // all are alike long
	n := int(schemas.Ticks(d) / one.Duration)
	all := make([]schemas.Entry, n)
	for i := range all {
		back := int64(n - i)
		e := newest
		e.Seq = newest.Seq - uint64(back)
		f := l[int(e.Seq)%len(l)].Entry
		e.Bytes, e.Chunks, e.First, e.Last, e.Offset = f.Bytes, f.Chunks, 0, int64(f.Chunks)-1, int64(i)
		e.Media, e.Start = newest.Media-back*one.Duration, newest.Start.Add(-schemas.FromTicks(back*one.Duration))
		e.Absent, e.AbsentReason = 0, ""
		all[i] = e
	}
	return all
}

// archived writes the files of entries.
func (l loop) archived(b *testing.B, to archive.Dir, t schemas.Topic, entries []schemas.Entry) (files int) {
	b.Helper()
	each := func(yield func(schemas.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
	for file, err := range archive.Cut(t, each) {
		if err == nil {
			err = archive.Write(b.Context(), to, l, t, file)
		}
		if err != nil {
			b.Fatal(err)
		}
		files++
	}
	return files
}

// gone is a log whose footage has all expired. The archive has it.
type gone struct{}

func (gone) Entries(context.Context, schemas.Topic, medialog.Range) iter.Seq2[schemas.Entry, error] {
	return func(func(schemas.Entry, error) bool) {}
}

func (gone) Entry(context.Context, schemas.Topic, uint64) (schemas.Entry, error) {
	return schemas.Entry{}, medialog.ErrExpired
}

func (gone) Available(context.Context, schemas.Topic, schemas.Entry) error {
	return medialog.ErrExpired
}

func (gone) Chunks(context.Context, schemas.Topic, schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	return func(yield func(*schemas.Chunk, error) bool) { yield(nil, medialog.ErrExpired) }
}

func (gone) Bounds(context.Context, schemas.Topic) (oldest, newest schemas.Entry, err error) {
	return oldest, newest, medialog.ErrNotFound
}

func (gone) Life(context.Context, schemas.Topic) (string, error) { return "life1", nil }

func (gone) Tail(ctx context.Context, _ schemas.Topic, _ medialog.Position) iter.Seq2[medialog.Event, error] {
	return func(func(medialog.Event, error) bool) { <-ctx.Done() }
}

func (gone) Topics(context.Context) ([]schemas.Topic, error) { return []schemas.Topic{yard}, nil }

// plainNginx serves a directory as it is, with one worker, and returns its URL and process.
func plainNginx(b *testing.B, dir string) (string, *testenv.Process) {
	b.Helper()
	bin, port, root := testenv.Tool(b, "nginx", "nginx-light"), testenv.FreePort(b), b.TempDir()
	config := fmt.Sprintf(`worker_processes 1;
pid %[1]s/pid;
events {}
http {
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000;
  client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
  server { listen 127.0.0.1:%[2]d; root %[3]s; }
}
`, root, port, dir)
	file := filepath.Join(root, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	directives := "daemon off;"
	if os.Getuid() == 0 {
		directives += " user root;" // else its worker could not read the benchmark's folders
	}
	p := testenv.Start(b, "nginx", exec.CommandContext(context.Background(), bin, "-p", root, "-e", "stderr", "-c", file, "-g", directives))
	address := fmt.Sprintf("127.0.0.1:%d", port)
	p.Wait(b, time.Minute, "Nginx listens", func() bool {
		c, err := new(net.Dialer).DialContext(b.Context(), "tcp", address)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
	return "http://" + address, p
}
