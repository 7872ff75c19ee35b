package broker

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/tests/testenv"
)

const childData = "FRAMELOG_TEST_BROKER_DATA"

// TestMain makes the test binary a broker if the environment says so. Tests can kill
// such a broker.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childData); dir != "" {
		err := Run(context.Background(), Config{Listen: "127.0.0.1:0", Data: dir, Limit: 64 << 20}, slog.New(slog.NewTextHandler(os.Stderr, nil)), nil,
			func(addr string) { fmt.Println(addr) })
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func start(t *testing.T, cfg Config) (addr string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan string, 1), make(chan error, 1)
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	go func() {
		done <- Run(ctx, cfg, slog.New(slog.NewTextHandler(t.Output(), nil)), nil, func(a string) { ready <- a })
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("broker: %v", err)
		}
	}
	t.Cleanup(stop)
	select {
	case addr = <-ready:
	case err := <-done:
		stopped = true
		t.Fatalf("broker: %v", err)
	}
	return addr, stop
}

func client(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(addr), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(8 << 20),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func create(t *testing.T, c *kgo.Client, topic string, parts int32, configs map[string]string) {
	t.Helper()
	m := make(map[string]*string)
	for k, v := range configs {
		m[k] = kadm.StringPtr(v)
	}
	if _, err := kadm.NewClient(c).CreateTopic(t.Context(), parts, 1, m, topic); err != nil {
		t.Fatal(err)
	}
}

// produce writes n records of size bytes; record i begins with its number.
func produce(t *testing.T, c *kgo.Client, topic string, part int32, from, n, size int) {
	t.Helper()
	for i := from; i < from+n; i++ {
		v := bytes.Repeat([]byte{byte(i)}, size)
		binary.BigEndian.PutUint64(v, uint64(i))
		if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: part, Key: []byte("k" + strconv.Itoa(i%7)), Value: v}).FirstErr(); err != nil {
			t.Fatalf("produce %d to %s: %v", i, topic, err)
		}
	}
}

func offsets(t *testing.T, c *kgo.Client, topic string, part int32) (first, end int64) {
	t.Helper()
	adm := kadm.NewClient(c)
	s, err := adm.ListStartOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	e, err := adm.ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	so, _ := s.Lookup(topic, part)
	eo, _ := e.Lookup(topic, part)
	return so.Offset, eo.Offset
}

// consume reads a partition from its start to end and checks that records are
// whole and in order; it returns the number of the first and the last.
func consume(t *testing.T, addr, topic string, part int32, end int64) (first, last uint64) {
	t.Helper()
	c := client(t, addr, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {part: kgo.NewOffset().AtStart()}}))
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	n := 0
	for {
		fs := c.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatal(err)
		}
		for r := range fs.RecordsAll() {
			num := binary.BigEndian.Uint64(r.Value)
			if n > 0 && num != last+1 {
				t.Fatalf("record %d follows %d", num, last)
			}
			for _, b := range r.Value[8:] {
				if b != byte(num) {
					t.Fatalf("record %d is damaged", num)
				}
			}
			if n == 0 {
				first = num
			}
			last = num
			n++
			if r.Offset == end-1 {
				return first, last
			}
		}
	}
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	testenv.Wait(t, testenv.Patience, what, ok)
}

func logBytes(t *testing.T, data string) (n int64) {
	t.Helper()
	parts, err := scan(partitionsDir(data))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		n += p.size()
	}
	return n
}
