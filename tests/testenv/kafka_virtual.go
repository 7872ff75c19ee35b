package testenv

import (
	"context"
	"net"
	"runtime"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// VirtualKafka runs brokers in memory, and returns how clients connect to them. In a bubble of
// testing/synctest pauses and time-outs take no time, and what a test measures is exact.
func VirtualKafka(t testing.TB, brokers int, opts ...kfake.Opt) (c *kfake.Cluster, dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	t.Helper()
	if raceEnabled {
		oneProcessor(t)
	}
	var network kfake.VirtualNetwork
	var ports []int
	for i := range brokers {
		ports = append(ports, 19092+i)
	}
	c, err := kfake.NewCluster(append(opts, kfake.NumBrokers(brokers), kfake.Ports(ports...), kfake.ListenFn(network.Listen))...)
	if err != nil {
		t.Fatalf("testenv: start brokers in memory: %v", err)
	}
	t.Cleanup(c.Close)
	return c, network.DialContext
}

var (
	oneMu    sync.Mutex
	oneUsers int
	oneWas   int
)

// oneProcessor runs Go code on one thread at a time until t ends. Go 1.26 gives all timers of
// a bubble one context of the race detector. If two threads run timers of a bubble at the same
// time, one that moves its clock and one that polls an expired channel, the race detector
// reads wild memory, and the process dies. Races are found on one thread as well.
func oneProcessor(t testing.TB) {
	oneMu.Lock()
	defer oneMu.Unlock()
	if oneUsers++; oneUsers == 1 {
		oneWas = runtime.GOMAXPROCS(1)
	}
	t.Cleanup(func() {
		oneMu.Lock()
		defer oneMu.Unlock()
		if oneUsers--; oneUsers == 0 {
			runtime.GOMAXPROCS(oneWas)
		}
	})
}
