package testenv

import (
	"bufio"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Patience is how long tests wait for a condition that has no time limit. It only
// bounds how long a failed test takes: a machine that others use too stands still
// for seconds now and then.
const Patience = time.Minute

// Pauses records when the machine stood still, as seen by a goroutine that has
// nothing else to do. What a test measures may be late by as much, without a fault
// in what it tests.
type Pauses struct {
	mu  sync.Mutex
	all []pause
	at  time.Time
}

type pause struct{ from, to time.Time }

const pulse = 20 * time.Millisecond

// WatchPauses measures them until the test ends.
func WatchPauses(t testing.TB) *Pauses {
	p := &Pauses{at: time.Now()}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(pulse)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.beat()
			case <-end:
				return
			}
		}
	}()
	t.Cleanup(func() {
		close(end)
		<-ended
		if d := p.Longest(time.Time{}, time.Now()); d > 10*pulse {
			t.Logf("testenv: the machine stood still for up to %v", d.Round(time.Millisecond))
		}
	})
	return p
}

func (p *Pauses) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(p.at) > 3*pulse && len(p.all) < 1<<16 {
		p.all = append(p.all, pause{p.at, now})
	}
	p.at = now
}

// Longest returns the longest pause that overlaps the time between from and to.
func (p *Pauses) Longest(from, to time.Time) (d time.Duration) {
	for _, x := range p.between(from, to) {
		d = max(d, x.to.Sub(x.from))
	}
	return d
}

// Sum returns the sum of all such pauses.
func (p *Pauses) Sum(from, to time.Time) (d time.Duration) {
	for _, x := range p.between(from, to) {
		d += x.to.Sub(x.from)
	}
	return d
}

func (p *Pauses) between(from, to time.Time) (all []pause) {
	p.beat() // counts the pause that may be going on
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, x := range p.all {
		if x.to.After(from) && x.from.Before(to) {
			all = append(all, x)
		}
	}
	return all
}

// Strain measures how overloaded the machine was while a test ran. Tests stretch by
// it the limits that hold on an idle machine.
type Strain struct {
	mu      sync.Mutex
	running float64 // sum over samples
	samples float64
	steal0  float64
	total0  float64
	steal   float64
	total   float64
}

// WatchStrain measures it until the test ends.
func WatchStrain(t testing.TB) *Strain {
	s := &Strain{}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			s.sample()
			select {
			case <-tick.C:
			case <-end:
				return
			}
		}
	}()
	t.Cleanup(func() {
		close(end)
		<-ended
		t.Logf("testenv: the machine had %.1f runnable tasks per processor", s.Factor())
	})
	return s
}

// sample reads /proc/stat: how many tasks are runnable, and how much time a
// hypervisor has taken (steal).
func (s *Strain) sample() {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		switch {
		case len(f) == 2 && f[0] == "procs_running":
			if n, err := strconv.ParseFloat(f[1], 64); err == nil {
				s.running += n - 1 // this one
				s.samples++
			}
		case len(f) > 8 && f[0] == "cpu":
			s.total, s.steal = 0, 0
			for i, x := range f[1:9] {
				v, _ := strconv.ParseFloat(x, 64)
				s.total += v
				if i == 7 {
					s.steal = v
				}
			}
			if s.total0 == 0 {
				s.total0, s.steal0 = s.total, s.steal
			}
		}
	}
}

// Factor is 1 if there was a processor for every runnable task, 3 if there were
// three tasks per processor.
func (s *Strain) Factor() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := 1.0
	if s.samples > 0 {
		f = max(f, s.running/s.samples/float64(runtime.NumCPU()))
	}
	if d := s.total - s.total0; d > 0 {
		f /= max(0.1, 1-(s.steal-s.steal0)/d)
	}
	return f
}

// Stretch returns d times the factor.
func (s *Strain) Stretch(d time.Duration) time.Duration {
	return time.Duration(float64(d) * s.Factor())
}

// UDPDrops returns how many datagrams this machine (or container) has dropped since
// it started because their socket's buffer was full. UDP may lose packets: a test
// may rely on all of them only if this number has not grown.
func UDPDrops(t testing.TB) int {
	t.Helper()
	f, err := os.Open("/proc/self/net/snmp")
	if err != nil {
		return 0
	}
	defer f.Close()
	var names []string
	s := bufio.NewScanner(f)
	for s.Scan() {
		fields := strings.Fields(s.Text())
		if len(fields) == 0 || fields[0] != "Udp:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		if i := slices.Index(names, "RcvbufErrors"); i > 0 && i < len(fields) {
			n, err := strconv.Atoi(fields[i])
			if err != nil {
				t.Fatalf("testenv: read drops: %v", err)
			}
			return n
		}
	}
	return 0
}
