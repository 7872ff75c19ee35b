package testenv

import (
	"context"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// VirtualKafka runs brokers in memory, and returns how clients connect to them. In a bubble of
// testing/synctest pauses and time-outs take no time, and what a test measures is exact.
func VirtualKafka(t testing.TB, brokers int, opts ...kfake.Opt) (c *kfake.Cluster, dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	t.Helper()
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
