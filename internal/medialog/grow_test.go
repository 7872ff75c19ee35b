package medialog

import (
	"slices"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/framelog/framelog/schemas"
)

// TestGrow: another process adds partitions to the topic, and the writer opens again at
// once. All partitions share the topic's limit in bytes, also if a process has a smaller
// number of partitions in its configuration.
func TestGrow(t *testing.T) {
	eachLog(t, func(t *testing.T, e *env) {
		const bytes = 700 << 20
		l := e.log(func(c *Config) { c.RetentionBytes = bytes })
		other := e.log(func(c *Config) { c.RetentionBytes, c.Partitions = bytes, e.partitions+3 })
		w := l.Open(t.Context(), cam, OpenOptions{Writer: "w1"})
		f := newFeed(w, 1)
		for range 4 {
			if err := f.fragment(2); err != nil {
				t.Fatal(err)
			}
		}
		closeWriter(t, w)
		if err := other.Ensure(t.Context(), cam); err != nil {
			t.Fatal(err)
		}
		w = l.Open(t.Context(), cam, OpenOptions{Writer: "w1"})
		ready(t, w)
		f.w = w
		for range 8 {
			if err := f.fragment(2); err != nil {
				t.Fatal(err)
			}
		}
		closeWriter(t, w)
		if err := e.log(func(c *Config) { c.RetentionBytes = bytes }).Ensure(t.Context(), cam); err != nil { // a process that begins later
			t.Fatal(err)
		}
		// Apache Kafka may show for a moment what was there before the change.
		want := strconv.Itoa(bytes / int(e.partitions+3))
		waitFor(t, "a partition may have "+want+" bytes", func() bool {
			configs, err := l.admin.DescribeTopicConfigs(t.Context(), l.names.Media(cam))
			if err != nil {
				t.Fatal(err)
			}
			return slices.ContainsFunc(configs[0].Configs, func(c kadm.Config) bool {
				return c.Key == "retention.bytes" && c.MaybeValue() == want
			})
		})
		es := entriesOf(t, l, Range{})
		dense(t, es)
		for _, x := range es {
			if x.Kind != schemas.KindWhole {
				t.Errorf("%+v", x)
			}
		}
		if len(es) != 12 {
			t.Errorf("%d entries", len(es))
		}
	})
}
