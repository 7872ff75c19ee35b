package bench

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// ticks is the unit of CPU time in /proc: USER_HZ, 100 on every Linux that Go
// supports.
const ticks = 100

// usage is what processes had used at one time.
type usage struct {
	at         time.Time
	cpu        map[string]time.Duration // by role
	pss, rss   map[string]int64         // bytes, by role
	pids       string
	cams, self time.Duration
	machine    time.Duration // of all processes
}

// sample is one measurement of one subject.
type sample struct {
	Subject  string             `json:"subject"`
	Round    int                `json:"round"`
	Cores    map[string]float64 `json:"cores"`    // CPU seconds a second, by role
	PSS      map[string]int64   `json:"pss"`      // bytes at the end, by role
	RSS      map[string]int64   `json:"rss"`      // the same, but memory that processes share counts for each
	Cameras  float64            `json:"cameras"`  // cores of the cameras' process
	Bench    float64            `json:"bench"`    // cores of the benchmark itself, its watchers included
	Others   float64            `json:"others"`   // cores of all other processes
	Lost     int                `json:"lost"`     // packets that the cameras had to drop
	Segments int                `json:"segments"` // made meanwhile
	Delay    *delays            `json:"delay,omitempty"`
}

func takeUsage(b *testing.B, processes map[string][]int, cams int) usage {
	b.Helper()
	u := usage{cpu: map[string]time.Duration{}, pss: map[string]int64{}, rss: map[string]int64{}}
	var err error
	must := func(e error) {
		if e != nil {
			b.Fatalf("bench: read /proc: %v", e)
		}
	}
	for role, pids := range processes {
		for _, pid := range pids {
			t, err := cpuOf(pid)
			must(err)
			u.cpu[role] += t
		}
	}
	u.cams, err = cpuOf(cams)
	must(err)
	u.self, err = cpuOf(os.Getpid())
	must(err)
	u.machine, err = cpuOfMachine()
	must(err)
	u.at = time.Now()
	// Read after the clock, because walking page tables takes a while.
	for role, pids := range processes {
		for _, pid := range pids {
			pss, rss, err := memoryOf(pid)
			must(err)
			u.pss[role] += pss
			u.rss[role] += rss
		}
	}
	u.pids = fmt.Sprint(processes)
	return u
}

func newSample(b *testing.B, before, after usage) *sample {
	b.Helper()
	if before.pids != after.pids {
		b.Errorf("processes were started again meanwhile: %s, then %s", before.pids, after.pids)
	}
	d := after.at.Sub(before.at).Seconds()
	s := &sample{Cores: map[string]float64{}, PSS: after.pss, RSS: after.rss}
	for role := range after.cpu {
		s.Cores[role] = (after.cpu[role] - before.cpu[role]).Seconds() / d
	}
	s.Cameras = (after.cams - before.cams).Seconds() / d
	s.Bench = (after.self - before.self).Seconds() / d
	s.Others = max(0, (after.machine-before.machine).Seconds()/d-s.cores()-s.Cameras-s.Bench)
	return s
}

// cores returns the sum of all roles.
func (s *sample) cores() float64 { return sum(s.Cores) }

func sum[K comparable, V int64 | float64](m map[K]V) (n V) {
	for _, v := range m {
		n += v
	}
	return n
}

// cpuOf returns user and system time of a process, including threads that have
// ended: fields 14 and 15 of /proc/<pid>/stat (proc(5)).
func cpuOf(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name may contain any character; it ends at the last ')'.
	f := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(f) < 13 {
		return 0, fmt.Errorf("stat of %d is cut off", pid)
	}
	return tickSum(f[11:13])
}

// cpuOfMachine returns the CPU time of all processes: /proc/stat without idle time
// and waiting for disks.
func cpuOfMachine() (time.Duration, error) {
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	f := strings.Fields(line) // cpu user nice system idle iowait irq softirq steal …
	if len(f) < 8 {
		return 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	return tickSum(append(f[1:4:4], f[6:8]...))
}

func tickSum(fields []string) (time.Duration, error) {
	var n int64
	for _, s := range fields {
		v, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0, err
		}
		n += v
	}
	return time.Duration(n) * time.Second / ticks, nil
}

// memoryOf returns a process's memory. PSS divides memory that several processes
// share (libraries) among them, RSS counts it for each.
func memoryOf(pid int) (pss, rss int64, err error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kb, _ := strconv.ParseInt(f[1], 10, 64)
		switch f[0] {
		case "Pss:":
			pss = kb << 10
		case "Rss:":
			rss = kb << 10
		}
	}
	return pss, rss, nil
}

// machine describes what the numbers depend on.
func machine() string {
	model, kernel := "", ""
	if raw, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		_, rest, _ := strings.Cut(string(raw), "model name\t: ")
		model, _, _ = strings.Cut(rest, "\n")
	}
	if raw, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = strings.TrimSpace(string(raw))
	}
	return fmt.Sprintf("%d cores (%s), Linux %s", runtime.NumCPU(), model, kernel)
}
