package bench

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/sizing"
	"github.com/framelog/framelog/tests/testenv"
)

var rates = flag.String("rates", "2,4,8", "bit rates of BenchmarkSizing, in Mbit/s")

// sizingRuns are the runs of BenchmarkSizing at each bit rate. What takes much has few
// cameras, so that the machine is not full.
func sizingRuns(b *testing.B, c *cameras) []sizingRun {
	b.Helper()
	with := func(n int, processors string, of map[string]int) sizingRun {
		some := c.first(min(n, c.n))
		return sizingRun{some, of, func() running {
			return &processing{startLog(b, some, configOf(some, "on_demand")+"processors:\n"+processors, false), of}
		}}
	}
	return []sizingRun{
		{c, map[string]int{"ingest": c.n, "broker": c.n, "egress": c.n}, func() running { return startAlways(b, c) }},
		{c, map[string]int{sizing.Watched: c.n}, func() running { return startWatched(b, c) }},
		with(4, "  - name: thumbnail\n  - {name: motion, cameras: [cam-0, cam-1]}\n", map[string]int{"thumbnail": 4, "motion": 2}),
		with(1, "  - {name: redact, settings: {regions: [{x: 0.1, y: 0.1, w: 0.3, h: 0.3}]}}\n", map[string]int{"redact": 1}),
		with(1, "  - name: transcode\n", map[string]int{"transcode": 1}),
	}
}

// sizingRun is one run: of has how many cameras each role that is measured has.
type sizingRun struct {
	cams  *cameras
	of    map[string]int
	start func() running
}

// processing is a log with processors, each a role of its own.
type processing struct {
	*log
	of map[string]int
}

func (p *processing) processes() map[string][]int {
	m := p.log.processes()
	delete(m, "process")
	for _, pid := range testenv.Descendants(p.PID()) {
		args := testenv.CommandLine(pid)
		for i, a := range args {
			if a == "process" && i+1 < len(args) && p.of[args[i+1]] > 0 {
				m[args[i+1]] = append(m[args[i+1]], pid)
			}
		}
	}
	return m
}

// end checks that each processor has kept up: what is behind has not done all its work.
func (p *processing) end(b *testing.B, s *sample) {
	if len(s.Cores) < len(p.of) {
		b.Errorf("processors are missing: %v", s.Cores)
	}
	for _, m := range p.metrics(b)["framelog_monitor_hop_behind_seconds"].GetMetric() {
		if behind := m.GetGauge().GetValue(); behind > 15 {
			b.Errorf("%v is %.0f s behind: its costs mean nothing", m.GetLabel(), behind)
		}
	}
}

// costNames are the names of costs, by role, where they differ.
var costNames = map[string]string{"ingest": sizing.Ingest, "broker": sizing.Broker, "egress": sizing.Always}

// BenchmarkSizing measures what one camera costs at several bit rates, for docs/sizing.md.
func BenchmarkSizing(b *testing.B) {
	out := sizing.Measured{Cores: runtime.NumCPU(), Seconds: flags.seconds.Seconds(), Input: fmt.Sprintf("%s, %d frames/s, H.264, GOP of %v", size, fps, gop)}
	for text := range strings.SplitSeq(*rates, ",") {
		mbit, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil {
			b.Fatalf("-rates: %v", err)
		}
		out.Rates = append(out.Rates, sizeRate(b, mbit))
	}
	raw, err := json.MarshalIndent(out, "", "  ")
	path := filepath.Join(testenv.Cache(b), "sizing.json")
	if err == nil {
		err = os.WriteFile(path, append(raw, '\n'), 0o644)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(0, "ns/op")
}

// sizeRate measures one bit rate.
func sizeRate(b *testing.B, mbit float64) sizing.Rate {
	c := startCameras(b, *flags.cameras, int(mbit*1e6))
	r := sizing.Rate{Mbit: mbit, Costs: map[string]sizing.Cost{}}
	for i, run := range sizingRuns(b, c) {
		s := measure(b, subject{name: fmt.Sprintf("%g Mbit/s, run %d", mbit, i), start: func(b *testing.B, _ *cameras) running {
			started := run.start()
			if l, ok := started.(*log); ok && i == 0 {
				r.Overhead = overhead(b, l.Broker)
			}
			return started
		}}, run.cams, 0)
		fmt.Fprintf(os.Stderr, "sizing: %s: %.3v cores, others %.2f, lost %d\n", s.Subject, s.Cores, s.Others, s.Lost)
		for role, n := range run.of {
			name, from := role, role
			if role == sizing.Watched {
				from = "egress"
			} else if costNames[role] != "" {
				name = costNames[role]
			}
			r.Costs[name] = sizing.Cost{Cores: rounded(s.Cores[from] / float64(n)), MB: rounded(float64(s.PSS[from]) / 1e6 / float64(n))}
		}
	}
	return r
}

// rounded keeps three digits: the rest differs from run to run.
func rounded(x float64) float64 {
	if x <= 0 {
		return 0
	}
	unit := math.Pow(10, math.Floor(math.Log10(x))-2)
	return math.Round(x/unit) * unit
}

// overhead returns the bytes of the records of a camera's first fragments and their entries,
// for each byte of footage.
func overhead(b *testing.B, broker string) float64 {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	k := kafka.Config{Brokers: []string{broker}}
	quiet := slog.New(slog.DiscardHandler)
	l, err := medialog.Connect(medialog.Config{Kafka: k}, quiet, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	topic := schemas.Topic{Camera: cameraID(0)}
	client, err := kgo.NewClient(append(k.Options(quiet), kgo.ConsumeTopics(k.Names().Media(topic), k.Names().Index(topic)), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	// Bytes of records by seq; those of a fragment are complete when its entry is there and
	// all its chunks have come.
	chunks, entries, count := map[uint64]int{}, map[uint64]schemas.Entry{}, map[uint64]int{}
	size := map[uint64]int{}
	for ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			if r.Topic == k.Names().Index(topic) {
				if e, err := schemas.DecodeEntry(r.Value); err == nil && e.Playable() {
					entries[e.Seq] = e
					size[e.Seq] += recordBytes(r)
				}
				return
			}
			if ch, err := schemas.DecodeChunk(r.Value); err == nil {
				chunks[ch.Seq] += recordBytes(r)
				count[ch.Seq]++
			}
		})
		var stored, footage float64
		whole := 0
		for seq, e := range entries {
			if count[seq] == int(e.Chunks) {
				whole++
				stored, footage = stored+float64(chunks[seq]+size[seq]), footage+float64(e.Bytes)
			}
		}
		if whole >= 3 {
			return math.Round(1000*stored/footage) / 1000
		}
	}
	b.Fatal("three whole fragments do not come")
	return 0
}

// recordBytes returns what a record takes in the log, in a batch of its own (Kafka protocol,
// "Record Batch": 61 bytes before the record, and some 10 of lengths in it).
func recordBytes(r *kgo.Record) int {
	n := 61 + 10 + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += 2 + len(h.Key) + len(h.Value)
	}
	return n
}
