package registry

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// What the fake broker lets pass, Apache Kafka must too.
func TestOnKafka(t *testing.T) {
	c, err := Connect(kafka.Config{
		Brokers: testenv.Kafka(t).Brokers,
		Prefix:  fmt.Sprintf("registry-%d.", rand.N(1<<30)),
	}, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(c.Close)
	ctx := limit(t, 2*testenv.Patience)
	f := follow(t, c)
	f.until(t, "nothing", func(s Snapshot) bool { return len(s.Cameras) == 0 })
	must(t, c.Ensure(ctx))
	must(t, c.Ensure(ctx))
	r, err := c.Reconcile(ctx, File{Name: "f"}, []schemas.Camera{fileCamera("one", "f:2"), fileCamera("two", "f:4")}, true)
	if err != nil || len(r.Added) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	c.PutStatus(schemas.Status{Camera: "one", State: schemas.StateLive})
	f.until(t, "two cameras and a status", func(s Snapshot) bool {
		return ids(s) == "one two" && s.Status["one"].State == schemas.StateLive
	})
	must(t, c.Delete(ctx, "one"))
	c.DeleteStatus("one")
	f.until(t, "one camera, no status", func(s Snapshot) bool { return ids(s) == "two" && len(s.Status) == 0 })
	if s, err := c.Load(ctx); err != nil || ids(s) != "two" || len(s.Status) != 0 {
		t.Errorf("loaded %v, %v", s, err)
	}
	endOf := func() (sum int64) {
		ends, err := c.End(ctx)
		must(t, err)
		for _, end := range ends {
			sum += end
		}
		return sum
	}
	before := endOf()
	endTransaction(t, c, c.cfg.Names().Cameras(), "two")
	testenv.Wait(t, testenv.Patience, "a record and the end of its transaction", func() bool { return endOf() == before+2 })
	s, err := c.Load(ctx)
	if err != nil || ids(s) != "two" {
		t.Errorf("with a partition that ends with what is no record: %v, %v", s, err)
	}
	if ends, err := c.End(ctx); err != nil || !s.Holds(ends) {
		t.Errorf("read %v, ends %v, %v", s.Read, ends, err)
	}
}
