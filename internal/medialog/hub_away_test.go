package medialog

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// silenceMetadata makes the broker answer requests for metadata once answer is closed.
// Each request is told in asked.
func silenceMetadata(c *kfake.Cluster, asked chan<- struct{}, answer <-chan struct{}) {
	c.ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		select {
		case asked <- struct{}{}:
		default:
		}
		c.SleepControl(func() { <-answer })
		return nil, nil, false
	})
}

// TestTailsWhileBrokersAreSilent: while brokers do not answer, tails end and begin at
// once. When the brokers answer again, the client forgets the topics without a tail.
func TestTailsWhileBrokersAreSilent(t *testing.T) {
	faked(t, func(t *testing.T, c *kfake.Cluster, e *env) {
		l := e.log()
		if _, err := l.admin.CreateTopics(t.Context(), 2, 1, nil, "one", "one.index", "two", "two.index"); err != nil {
			t.Fatal(err)
		}
		at := func(name string) map[topicPartition]int64 {
			return map[topicPartition]int64{{name, 0}: 0, {name + ".index", 0}: 0}
		}
		one, err := l.hub.subscribe("one.index", "one", at("one"))
		if err != nil {
			t.Fatal(err)
		}
		h := l.hub
		waitFor(t, "the client follows the first", func() bool { return len(h.client.GetConsumeTopics()) == 2 })

		// From now on requests for metadata get no answer.
		asked, answer := make(chan struct{}, 64), make(chan struct{})
		silenceMetadata(c, asked, answer)
		one.addPartition("one", 1, 0) // makes the client ask
		<-asked

		soon := func(what string, f func()) {
			t.Helper()
			done := make(chan struct{})
			go func() {
				defer close(done)
				f()
			}()
			select {
			case <-done:
			case <-time.After(10 * time.Second):
				t.Fatalf("after 10 s %s still waits", what)
			}
		}
		var two, again *subscription
		soon("the end of a tail", one.close)
		soon("the beginning of another", func() { two, err = l.hub.subscribe("two.index", "two", at("two")) })
		if err != nil {
			t.Fatal(err)
		}
		soon("a tail of the same topic", func() { again, err = l.hub.subscribe("one.index", "one", at("one")) })
		if err != nil {
			t.Fatal(err)
		}
		soon("the end of the second", two.close)

		close(answer)
		waitFor(t, "the client has made the changes", func() bool {
			topics := h.client.GetConsumeTopics()
			return len(topics) == 2 && topics[0] != "two" && topics[1] != "two"
		})
		if err := l.producer.ProduceSync(t.Context(), &kgo.Record{Topic: "one.index", Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
		defer cancel()
		if r, err := again.take(ctx); err != nil || string(r.Value) != "x" {
			t.Fatalf("the tail of the same topic gets %v, %v", r, err)
		}
		soon("its end", again.close)
		waitFor(t, "the client follows nothing", func() bool { return len(h.client.GetConsumeTopics()) == 0 })
	})
}

// TestCloseOfTheLogWhileBrokersAreSilent: Close does not wait for changes that a client
// has not made yet.
func TestCloseOfTheLogWhileBrokersAreSilent(t *testing.T) {
	faked(t, func(t *testing.T, c *kfake.Cluster, e *env) {
		l := e.log()
		if err := l.Ensure(t.Context(), cam); err != nil {
			t.Fatal(err)
		}
		asked, answer := make(chan struct{}, 64), make(chan struct{})
		defer close(answer)
		silent, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			for ev := range l.Tail(t.Context(), schemas.Topic{Camera: cam.Camera}, Position{}) {
				if !ev.Live {
					continue
				}
				silenceMetadata(c, asked, answer)
				l.hub.mu.Lock()
				l.hub.fanouts[l.names.Index(cam)].read(topicPartition{l.names.Media(cam), 9}, 0) // makes the client ask
				l.hub.mu.Unlock()
				<-asked
				close(silent)
				return // so that there is a change to make
			}
		}()
		select {
		case <-silent:
		case <-time.After(testenv.Patience):
			t.Fatal("the tail does not get to where the brokers are silent")
		}
		select {
		case <-ended:
		case <-time.After(10 * time.Second): // sooner than the client gives up by itself
			t.Fatal("after 10 s the tail has not ended")
		}
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			l.Close()
		}()
		select {
		case <-closed:
		case <-time.After(10 * time.Second):
			t.Fatal("after 10 s Close still waits")
		}
	})
}
