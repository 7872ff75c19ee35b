package users

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// start runs a client until the test ends, or until stop.
func start(t *testing.T, cfg kafka.Config) (c *Client, stop func()) {
	t.Helper()
	c, err := Connect(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c.recheck = 100 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	stop = func() { cancel(); <-done; c.Close() }
	t.Cleanup(stop)
	return c, stop
}

func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	testenv.Wait(t, testenv.Patience, what, f)
}

// together is what two processes of egress share.
func together(t *testing.T, cfg kafka.Config) {
	ctx := t.Context()
	a, _ := start(t, cfg)
	b, _ := start(t, cfg) // at the same time, so both may write a key
	until(t, "a key", func() bool {
		return a.Ready() == nil && b.Ready() == nil && bytes.Equal(a.SigningKey(), b.SigningKey())
	})
	key := a.SigningKey()
	if len(key) != keyBytes || a.HasAdmin() {
		t.Fatalf("key %x, admin %v", key, a.HasAdmin())
	}

	text, token := NewToken("", time.Now(), time.Time{})
	anna := schemas.User{Name: "anna", Role: schemas.Admin, Stamp: "1", Tokens: []schemas.Token{token}}
	if err := a.Put(ctx, anna); err != nil {
		t.Fatal(err)
	}
	if u, ok := a.User("anna"); !ok || u.Updated.IsZero() {
		t.Errorf("the writer has not read what it wrote: %+v", u)
	}
	until(t, "the user and the token", func() bool { u, ok := b.Token(text); return ok && u.Name == "anna" && b.HasAdmin() })

	if a.SignedOut("one") || b.SignedOut("one") {
		t.Error("a session that nobody has ended")
	}
	if err := a.SignOut(ctx, "one", schemas.SignOut{User: "anna", Until: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if !a.SignedOut("one") {
		t.Error("not ended where it was ended")
	}
	until(t, "sign-out", func() bool { return b.SignedOut("one") })

	c, _ := start(t, cfg)
	until(t, "a later process", func() bool { return c.Ready() == nil })
	if _, ok := c.User("anna"); !ok || !c.SignedOut("one") || !bytes.Equal(c.SigningKey(), key) {
		t.Error("a later process reads something else")
	}
	if err := b.Remove(ctx, "anna"); err != nil {
		t.Fatal(err)
	}
	until(t, "removal", func() bool { _, ok := a.Token(text); return !ok })
	s, err := a.Load(ctx)
	if err != nil || len(s.Users()) != 0 {
		t.Errorf("loaded %v, %v", s, err)
	}
}

func newBroker(t *testing.T) kafka.Config {
	t.Helper()
	k, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return kafka.Config{Brokers: k.ListenAddrs(), Prefix: "t."}
}

func TestTogether(t *testing.T) { together(t, newBroker(t)) }

func TestOnKafka(t *testing.T) {
	together(t, kafka.Config{Brokers: testenv.Kafka(t).Brokers, Prefix: fmt.Sprintf("users-%d.", rand.N(1<<30))})
}

// TestPastSignOuts: a sign-out removes records of sessions that have expired.
func TestPastSignOuts(t *testing.T) {
	c, _ := start(t, newBroker(t))
	until(t, "the users", func() bool { return c.Ready() == nil })
	for _, session := range []string{"one", "two"} {
		if err := c.SignOut(t.Context(), session, schemas.SignOut{User: "anna", Until: time.Now().Add(-time.Second)}); err != nil {
			t.Fatal(err)
		}
		until(t, "the record", func() bool { return c.SignedOut(session) && len(c.current().out) > 0 })
	}
	until(t, "the first session is forgotten", func() bool { return !c.SignedOut("one") })
}

// TestTopicMadeAgain: a topic that was deleted and made again is read from its start; what was
// known before is not known any more.
func TestTopicMadeAgain(t *testing.T) {
	cfg := newBroker(t)
	c, _ := start(t, cfg)
	until(t, "the users", func() bool { return c.Ready() == nil })
	if err := c.Put(t.Context(), schemas.User{Name: "anna", Role: schemas.Admin, Stamp: "1"}); err != nil {
		t.Fatal(err)
	}
	key := c.SigningKey()
	if _, err := kadm.NewClient(c.client).DeleteTopics(t.Context(), cfg.Names().Users()); err != nil {
		t.Fatal(err)
	}
	until(t, "a new key", func() bool { _, ok := c.User("anna"); return !ok && !bytes.Equal(c.SigningKey(), key) })
}
