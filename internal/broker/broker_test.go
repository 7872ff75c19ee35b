package broker

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/tests/testenv"
)

func TestStopAndStart(t *testing.T) {
	cfg := Config{Data: t.TempDir()}
	addr, stop := start(t, cfg)
	c := client(t, addr)
	create(t, c, "cam.a", 2, map[string]string{"max.message.bytes": strconv.Itoa(8 << 20)})
	produce(t, c, "cam.a", 0, 0, 20, 100_000)
	produce(t, c, "cam.a", 1, 100, 1, 7<<20) // the largest chunk
	c.Close()
	stop()

	addr, _ = start(t, cfg)
	if first, last := consume(t, addr, "cam.a", 0, 20); first != 0 || last != 19 {
		t.Errorf("partition 0 holds %d to %d, want 0 to 19", first, last)
	}
	consume(t, addr, "cam.a", 1, 1)
}

func TestNoTopicsByThemselves(t *testing.T) {
	addr, _ := start(t, Config{Data: t.TempDir()})
	c := client(t, addr, kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(1))
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "typo", Value: []byte("x")}).FirstErr(); err == nil {
		t.Error("a topic was made by producing to it")
	}
}

// TestKilled: a broker that is killed while it works has everything at its next
// start, and the load takes at most twice the window's memory.
func TestKilled(t *testing.T) {
	const window = 64 << 20
	data := t.TempDir()
	child := func() (cmd *exec.Cmd, addr string) {
		cmd = exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childData+"="+data)
		cmd.Stderr = t.Output()
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatalf("the broker does not get ready: %v", err)
		}
		return cmd, strings.TrimSpace(line)
	}
	cmd, addr := child()
	c := client(t, addr)
	create(t, c, "cam.a", 4, map[string]string{"max.message.bytes": strconv.Itoa(8 << 20)})
	const each, size = 140, 100_000 // 56 MB in all
	for p := range int32(4) {
		produce(t, c, "cam.a", p, 0, each, size)
	}
	c.Close()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()

	cmd, addr = child()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		t.Skip("no /proc here")
	}
	for p := range int32(4) {
		if first, last := consume(t, addr, "cam.a", p, each); first != 0 || last != each-1 {
			t.Errorf("partition %d holds %d to %d, want 0 to %d", p, first, last, each-1)
		}
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("most memory at a start after kill -9, with %d MiB of log: %d MiB", each*size*4>>20, kb>>10)
	if kb<<10 > 2*window && !raceEnabled {
		t.Errorf("it took %d MiB, want at most %d", kb>>10, 2*window>>20)
	}
}

// TestBound writes several times the limit. The log on disk does not exceed it, and
// every camera keeps its newest footage. On a busy machine the keeper may not get to
// run; the test waits for it then, which must be rare.
func TestBound(t *testing.T) {
	cfg := Config{Data: t.TempDir(), Limit: MinLimit, Interval: 50 * time.Millisecond}
	addr, _ := start(t, cfg)
	c := client(t, addr)
	const cams = 4
	for i := range cams {
		create(t, c, fmt.Sprintf("cam.c%d", i), 1, map[string]string{"segment.bytes": "1048576"})
		create(t, c, fmt.Sprintf("cam.c%d.index", i), 1, nil)
	}
	const n = 300
	var most int64
	late := 0
	for i := range n {
		for j := range cams {
			produce(t, c, fmt.Sprintf("cam.c%d", j), 0, i, 1, 100_000)
			produce(t, c, fmt.Sprintf("cam.c%d.index", j), 0, i, 1, 100)
		}
		is := logBytes(t, cfg.Data)
		most = max(most, is)
		if is > cfg.Limit {
			late++
			until(t, "the log within its limit again", func() bool { return logBytes(t, cfg.Data) <= cfg.Limit })
		}
	}
	t.Logf("the log took up to %d bytes, limit %d; %d times the keeper was late", most, cfg.Limit, late)
	if late > n/20 {
		t.Errorf("the log was over its limit %d times, up to %d bytes, limit %d", late, most, cfg.Limit)
	}
	for j := range cams {
		topic := fmt.Sprintf("cam.c%d", j)
		first, end := offsets(t, c, topic, 0)
		if end != n || first == 0 || end-first < n/10 {
			t.Errorf("%s holds %d to %d", topic, first, end)
		}
		if first, end := offsets(t, c, topic+".index", 0); first != 0 || end != n {
			t.Errorf("%s.index holds %d to %d, want 0 to %d", topic, first, end, n)
		}
	}
}

// TestEndOfEmptyPartition: offsets do not begin again when all records of a
// partition have expired and the broker restarts, cleanly or not.
func TestEndOfEmptyPartition(t *testing.T) {
	for _, clean := range []bool{true, false} {
		t.Run(fmt.Sprintf("clean=%v", clean), func(t *testing.T) {
			cfg := Config{Data: t.TempDir(), Interval: 20 * time.Millisecond}
			addr, stop := start(t, cfg)
			c := client(t, addr)
			create(t, c, "cam.a", 1, nil)
			retention := func(ms string) {
				t.Helper()
				set := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &ms}}
				if res, err := kadm.NewClient(c).AlterTopicConfigs(t.Context(), set, "cam.a"); err != nil || res[0].Err != nil {
					t.Fatal(res, err)
				}
			}
			for _, n := range []int64{3, 5} { // empty, and once more
				retention("-1") // none expires before all are there
				_, from := offsets(t, c, "cam.a", 0)
				produce(t, c, "cam.a", 0, int(from), int(n-from), 1000)
				retention("100")
				until(t, "retention", func() bool {
					first, end := offsets(t, c, "cam.a", 0)
					return first == n && end == n
				})
				if clean {
					continue
				}
				// A crash after the end was saved: the test removes what a clean
				// stop writes.
				until(t, "the end to be noted", func() bool {
					e := ends{}
					if err := readJSON(endsFile(cfg.Data), &e); err != nil {
						t.Fatal(err)
					}
					return e["cam.a-0"] == n
				})
			}
			c.Close()
			stop()
			if !clean {
				_ = os.Remove(filepath.Join(partitionsDir(cfg.Data), "cam.a-0", "snapshot.json"))
			}
			for range 2 { // it survives a second restart too
				addr, stop = start(t, cfg)
				c = client(t, addr)
				if first, end := offsets(t, c, "cam.a", 0); first != 5 || end != 5 {
					t.Fatalf("offsets are %d to %d, want 5 to 5", first, end)
				}
				c.Close()
				stop()
			}
			addr, _ = start(t, cfg)
			c = client(t, addr)
			r := &kgo.Record{Topic: "cam.a", Value: []byte("next")}
			if err := c.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if r.Offset != 5 {
				t.Errorf("the next record has offset %d, want 5", r.Offset)
			}
		})
	}
}

// TestCompaction: compaction keeps the newest record of each key; a crash in
// its middle loses nothing.
func TestCompaction(t *testing.T) {
	cfg := Config{Data: t.TempDir(), Interval: 20 * time.Millisecond}
	addr, stop := start(t, cfg)
	c := client(t, addr)
	create(t, c, "cameras", 2, map[string]string{"cleanup.policy": "compact", "retention.ms": "-1"})
	produce(t, c, "cameras", 0, 0, 1, 1000)
	produce(t, c, "cameras", 1, 0, 60, 100_000)
	until(t, "a compaction", func() bool { return logBytes(t, cfg.Data) < 5<<20 })
	c.Close()
	stop()

	// A crash leaves this: links, and half of a partition's files.
	parts, err := scan(partitionsDir(cfg.Data))
	if err != nil {
		t.Fatal(err)
	}
	crashed := errors.New("crashed")
	func() {
		defer func() {
			if r := recover(); r != crashed { //nolint:errorlint // the very value
				panic(r)
			}
		}()
		_ = compactSafely(cfg.Data, parts, func() {
			for _, p := range parts {
				if err := eachFile(filepath.Join(partitionsDir(cfg.Data), p.dir), func(path, _ string) error { return os.Remove(path) }); err != nil {
					t.Error(err)
				}
			}
			panic(crashed)
		})
	}()
	addr, _ = start(t, cfg)
	c = client(t, addr, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"cameras": {1: kgo.NewOffset().AtStart()}}))
	got := map[string]uint64{}
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	for last := int64(-1); last < 59; {
		fs := c.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatal(err)
		}
		for r := range fs.RecordsAll() {
			got[string(r.Key)] = binary.BigEndian.Uint64(r.Value)
			last = r.Offset
		}
	}
	for i := range 7 {
		key := "k" + strconv.Itoa(i)
		want := uint64(59 - (59-i)%7)
		if got[key] != want {
			t.Errorf("%s is %d, want %d", key, got[key], want)
		}
	}
	if _, end := offsets(t, c, "cameras", 0); end != 1 {
		t.Errorf("cameras-0 ends at %d, want 1", end)
	}
}

func TestConfigurationErrors(t *testing.T) {
	testenv.SkipShort(t, "seconds of real time")
	cfg := Config{Data: t.TempDir()}
	addr, _ := start(t, cfg)
	run := func(c Config) error {
		ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
		defer cancel()
		return Run(ctx, c, slog.New(slog.DiscardHandler), nil, func(string) { t.Error("it got ready") })
	}
	if err := run(Config{Data: cfg.Data, Listen: "127.0.0.1:0"}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), cfg.Data) {
		t.Errorf("same directory: %v, want ErrLocked with the directory", err)
	}
	if err := run(Config{Data: t.TempDir(), Listen: addr}); !errors.Is(err, ErrListen) || !strings.Contains(err.Error(), addr) {
		t.Errorf("same port: %v, want ErrListen with the address", err)
	}
	for _, c := range []Config{{}, {Data: "x", Limit: 1}, {Data: "x", Listen: "9092"}, {Data: "x", Prefix: "a b"}} {
		if err := c.Validate(); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
}

// TestNotKafka: a client that does not speak Kafka cannot make the broker allocate
// gigabytes; its connection is closed.
func TestNotKafka(t *testing.T) {
	addr, _ := start(t, Config{Data: t.TempDir()})
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(testenv.Patience))
	if n, err := c.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d, %v; want the connection closed", n, err)
	}
}

func TestPlan(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	rank := func(p *partition, j int) int {
		switch {
		case p.topic == "index":
			return rankNever
		case p.topic == "late" && j >= 1:
			return rankLast
		}
		return rankFirst
	}
	parts := []partition{
		{topic: "a", segments: []segment{{0, 10, at(1)}, {5, 10, at(4)}, {9, 10, at(9)}}},
		{topic: "b", segments: []segment{{0, 10, at(3)}, {4, 10, at(2)}, {8, 10, at(8)}}},
		{topic: "index", segments: []segment{{0, 10, at(0)}, {4, 10, at(1)}}},
		{topic: "c", segments: []segment{{0, 10, at(0)}}},
		{topic: "late", segments: []segment{{0, 1, at(5)}, {1, 10, at(-2)}, {2, 10, at(0)}, {3, 10, at(1)}}},
	}
	for _, tt := range []struct {
		excess int64
		want   map[int]int
	}{
		{0, nil},
		{-5, nil},
		{1, map[int]int{0: 1}},
		{10, map[int]int{0: 1}},
		{11, map[int]int{0: 1, 1: 2}}, // b's second is older than its first, and takes that along
		{31, map[int]int{0: 2, 1: 2}},
		{41, map[int]int{0: 2, 1: 2, 4: 1}},
		{42, map[int]int{0: 2, 1: 2, 4: 2}}, // the oldest of all goes when nothing else is left
		{1000, map[int]int{0: 2, 1: 2, 4: 3}},
	} {
		if got := plan(parts, rank, tt.excess); fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("plan for %d: %v, want %v", tt.excess, got, tt.want)
		}
	}
}

func TestMetricNames(t *testing.T) {
	reg := prometheus.NewRegistry()
	newMetrics(reg, func() int64 { return 0 })
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}
