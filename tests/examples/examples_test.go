// Package examples tests the programs in docs/examples: what they read and write is what
// Framelog itself reads and writes.
package examples

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/internal/broker"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

var raw = schemas.Topic{Camera: "front-door"}

// env is a broker, and clients of it.
type env struct {
	t       *testing.T
	brokers string
	names   schemas.Names
	log     *medialog.Log
	client  *kgo.Client
}

// newEnv makes an env with the embedded broker.
func newEnv(t *testing.T) *env {
	t.Helper()
	testenv.SkipShort(t, "Python")
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan string, 1), make(chan error, 1)
	cfg := broker.Config{Listen: "127.0.0.1:0", Data: t.TempDir()}
	go func() {
		done <- broker.Run(ctx, cfg, slog.New(slog.DiscardHandler), nil, func(addr string) { ready <- addr })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	select {
	case addr := <-ready:
		return envOf(t, addr, "")
	case err := <-done:
		done <- nil
		t.Fatal(err)
		return nil
	}
}

// envOf makes an env with a broker that runs.
func envOf(t *testing.T, brokers, prefix string) *env {
	t.Helper()
	e := &env{t: t, brokers: brokers, names: schemas.Names{Prefix: prefix}}
	var err error
	kc := kafka.Config{Brokers: strings.Split(brokers, ","), Prefix: prefix}
	if e.log, err = medialog.Connect(medialog.Config{Kafka: kc}, slog.New(slog.DiscardHandler), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.log.Close)
	e.client, err = kgo.NewClient(kgo.SeedBrokers(strings.Split(brokers, ",")...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.client.Close)
	return e
}

// examples is the folder of the programs.
func examples(t *testing.T) string { return filepath.Join(testenv.Root(t), "docs/examples") }

// python returns the command that runs Debian's Python.
func python(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path := testenv.Python(t, "import confluent_kafka, msgpack", "python3-confluent-kafka and python3-msgpack")
	return exec.CommandContext(t.Context(), path, append([]string{"-B"}, args...)...)
}

// reader returns the command that runs reader.py.
func (e *env) reader(args ...string) *exec.Cmd {
	e.t.Helper()
	return python(e.t, append([]string{filepath.Join(examples(e.t), "reader.py"), e.brokers}, args...)...)
}

// line is what reader.py prints.
type line struct {
	Seq      uint64
	Kind     string
	Session  uint64
	Reason   string
	SHA256   string
	Samples  int
	From, To uint64
	Declared bool
}

// read runs reader.py over a topic.
func (e *env) read(topic string) []line {
	e.t.Helper()
	out, err := e.reader(topic).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			e.t.Fatalf("reader.py: %v\n%s", err, exit.Stderr)
		}
		e.t.Fatal(err)
	}
	return linesOf(e.t, out)
}

func linesOf(t *testing.T, out []byte) (lines []line) {
	t.Helper()
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		var l line
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			t.Fatalf("%v: %s", err, s.Bytes())
		}
		lines = append(lines, l)
	}
	return lines
}

// stored returns what Framelog reads, as reader.py would print it.
func (e *env) stored(t schemas.Topic) (lines []line) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), testenv.Patience)
	defer cancel()
	for _, en := range e.entries(t) {
		l := line{Seq: en.Seq, Kind: string(en.Kind), Session: en.Session, Reason: en.Reason}
		if en.Playable() {
			digest := sha256.New()
			for c, err := range e.log.Chunks(ctx, t, en) {
				if err != nil {
					e.t.Fatal(err)
				}
				for _, r := range c.Runs {
					for _, s := range r.Samples {
						sync := 0
						if s.Sync {
							sync = 1
						}
						fmt.Fprintf(digest, "%d %d %d %d %d %d\n%s", r.Track, s.DTS, s.PTSOffset, s.Duration, sync, len(s.Data), s.Data)
						l.Samples++
					}
				}
			}
			l.SHA256 = hex.EncodeToString(digest.Sum(nil))
		}
		lines = append(lines, l)
	}
	return lines
}

// same fails the test unless two lists of lines are equal.
func same(t *testing.T, got, want []line) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("missing: %+v", want[i])
		case i >= len(want):
			t.Errorf("too much: %+v", got[i])
		case got[i] != want[i]:
			t.Errorf("line %d is\n%+v, want\n%+v", i, got[i], want[i])
		}
	}
}

// camera is a camera that sends a picture every 40 ms.
type camera struct {
	at   time.Time
	sent int
}

// open begins to record a camera, whose first picture is of now.
func (e *env) open() (*camera, *medialog.Writer) {
	e.t.Helper()
	return &camera{at: time.Now().Truncate(time.Millisecond)}, e.log.Open(e.t.Context(), raw, medialog.OpenOptions{Writer: "ingest-1"})
}

// write writes n fragments of a second, and of the next one the first chunks.
func (c *camera) write(t *testing.T, w *medialog.Writer, n, chunks int) {
	t.Helper()
	all := testmedia.Synthetic(testmedia.Place{Start: c.at, Layout: testmedia.Layout, Epoch: int64(c.sent)}, n+1)
	for i, f := range all {
		for j, ch := range f.Chunks {
			if i == n && j == chunks {
				return
			}
			c.at = ch.Start.Add(schemas.FromTicks(ch.MediaEnd() - ch.MediaStart()))
			if err := w.Write(ch); err != nil && !errors.Is(err, medialog.ErrFenced) {
				t.Fatal(err)
			}
		}
		c.sent++
	}
}

func ready(t *testing.T, w *medialog.Writer) {
	t.Helper()
	select {
	case <-w.Ready():
	case <-w.Fenced():
		t.Fatalf("the writer ended: %v", w.Err())
	case <-time.After(testenv.Patience):
		t.Fatal("the writer does not become ready")
	}
}

func closeWriter(t *testing.T, w *medialog.Writer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// expire removes the media of an entry and what is older in their partition.
func (e *env) expire(t schemas.Topic, en schemas.Entry) {
	e.t.Helper()
	e.expireBefore(e.names.Media(t), en.Partition, en.Last+1)
}

// expireBefore removes the records before an offset, as retention does.
func (e *env) expireBefore(topic string, partition int32, offset int64) {
	e.t.Helper()
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: topic, Partition: partition, At: offset})
	if res, err := kadm.NewClient(e.client).DeleteRecords(e.t.Context(), offsets); err != nil || res.Error() != nil {
		e.t.Fatal(err, res.Error())
	}
}

func (e *env) entries(t schemas.Topic) (all []schemas.Entry) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), testenv.Patience)
	defer cancel()
	for en, err := range e.log.Entries(ctx, t, medialog.Range{}) {
		if err != nil {
			e.t.Fatal(err)
		}
		all = append(all, en)
	}
	return all
}

// wait waits until a topic has n records.
func (e *env) wait(topic string, n int64) {
	e.t.Helper()
	testenv.Wait(e.t, testenv.Patience, fmt.Sprintf("%d records in %s", n, topic), func() bool {
		var have int64
		ends, err := kadm.NewClient(e.client).ListEndOffsets(e.t.Context(), topic)
		ends.Each(func(o kadm.ListedOffset) { have += o.Offset })
		return err == nil && have >= n
	})
}
