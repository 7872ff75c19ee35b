package sizing

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/testenv"
)

var update = flag.Bool("update", false, "write the tables of docs/sizing.md anew")

// The arithmetic, by numbers that one can check by hand.
func TestLoad(t *testing.T) {
	r := Rate{Mbit: 8, Overhead: 1.5, Costs: map[string]Cost{Ingest: {Cores: 0.02, MB: 5}}}
	s := Setting{Cameras: 1000, Mbit: 8, Partitions: 2, Replicas: 3, Retention: 10 * time.Hour, Renditions: 1, Readers: 2, Watched: 0.5}
	want := Load{
		Topics:     4000, // media and index, of raw and one rendition
		Partitions: 6000, Replicas: 18_000,
		In:      1500,             // 1000 × 1 MB/s × 1.5
		Written: 4500,             // in three copies
		Out:     1500 * (2 + 2.5), // to two other brokers, two readers and half a viewer
		Kept:    162,              // 4500 MB/s × 36,000 s
		// In three copies: 2,000 partitions of footage with 27 GB each in segments of 64 MiB, 2,000
		// of the rendition with a segment each 10 min, 2,000 indexes with one each hour, and one
		// more of each, which is being written.
		Segments: 2_851_988,
	}
	if got := s.Load(r); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got := r.Total(Ingest, 1000); got != (Cost{Cores: 20, MB: 5000}) {
		t.Errorf("%+v", got)
	}
}

// Which limit binds first.
func TestBinding(t *testing.T) {
	small := Host{Cores: 4, MemoryGB: 8, DiskTB: 1, NetGbit: 10}
	for _, tt := range []struct {
		name            string
		load            Load
		host            Host
		kafka, redpanda Limit
	}{
		{"nothing", Load{}, DefaultHost, Limit{"disk", 3}, Limit{"disk", 3}},
		{"disk", Load{Kept: 160, Replicas: 100}, DefaultHost, Limit{"disk", 10}, Limit{"disk", 10}},
		{"network, to disks", Load{Written: 5000, Out: 1}, DefaultHost, Limit{"network", 8}, Limit{"network", 8}},
		{"network, out", Load{Written: 1, Out: 5001}, DefaultHost, Limit{"network", 9}, Limit{"network", 9}},
		{"partitions of Kafka", Load{Replicas: 40_001}, DefaultHost, Limit{"partitions", 11}, Limit{"disk", 3}},
		{"partitions on small hosts", Load{Replicas: 10_000}, small, Limit{"partitions", 10}, Limit{"disk", 3}},
		{"memory of Redpanda", Load{Replicas: 40_000}, small, Limit{"partitions", 40}, Limit{"memory", 10}},
		{"partitions of Redpanda", Load{Replicas: 40_000}, Host{Cores: 1, MemoryGB: 640, DiskTB: 1, NetGbit: 1}, Limit{"partitions", 40}, Limit{"partitions", 8}},
	} {
		if k, r := Binding(Kafka(tt.load, tt.host)), Binding(Redpanda(tt.load, tt.host)); k != tt.kafka || r != tt.redpanda {
			t.Errorf("%s: %v and %v, want %v and %v", tt.name, k, r, tt.kafka, tt.redpanda)
		}
	}
}

func TestNumber(t *testing.T) {
	for x, want := range map[float64]string{0: "–", 0.00934: "0.0093", 0.0512: "0.051", 0.123: "0.12", 4.06: "4.1", 9.96: "10", 999.6: "1,000", 1234567: "1,234,567"} {
		if got := number(x); got != want {
			t.Errorf("%v: %s, want %s", x, got, want)
		}
	}
}

// docs/sizing.md has the tables of what was measured; -update writes them.
func TestPage(t *testing.T) {
	var m Measured
	read(t, "costs.json", &m)
	var f []Failover
	read(t, "failover.json", &f)
	path := filepath.Join(testenv.Root(t), "docs", "sizing.md")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	is := string(b)
	want := is
	for name, text := range Tables(&m, f, Counts) {
		want = place(t, want, name, text)
	}
	if is == want {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the numbers give: go test ./tests/sizing -run TestPage -update", path)
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// place puts text between the marks of a name.
func place(t *testing.T, page, name, text string) string {
	t.Helper()
	before, rest, ok := strings.Cut(page, "<!-- "+name+" -->\n")
	_, after, end := strings.Cut(rest, "<!-- end -->")
	if !ok || !end {
		t.Fatalf("the page has no place for %s", name)
	}
	return before + "<!-- " + name + " -->\n" + text + "<!-- end -->" + after
}

func read(t *testing.T, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}
