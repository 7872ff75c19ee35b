package medialog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// The checksum of a record is wrong. A reader gets what stands before it. Then the read ends with
// an error that names the record, or waits, as the log is set or asked. Fragments before and behind it can be
// read either way.
func TestDamagedRecord(t *testing.T) {
	virtual(t, 1, func(t *testing.T, c *kfake.Cluster, e *env) {
		e.partitions = 1
		l, final := e.log(), e.log(func(c *Config) { c.EndAtDamage = true })
		w := l.Open(t.Context(), cam, OpenOptions{Writer: "w"})
		ready(t, w)
		f := newFeed(w, 1)
		for range 3 {
			for k := range uint32(4) {
				if err := f.chunk(k, 5, k == 3, 1000); err != nil {
					t.Fatal(err)
				}
				waitFor(t, "the chunk has a batch of its own", func() bool { return w.buffered() == 0 })
			}
		}
		closeWriter(t, w)
		es := entriesOf(t, l, Range{})
		bad := es[1]
		media := l.names.Media(cam)
		testenv.DamageKafka(t, c, e.dial, media, 0, bad.First+2)

		read := func(l *Log, x schemas.Entry) (chunks int, failed error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for _, err := range l.Chunks(ctx, cam, x) {
				if err != nil {
					return chunks, err
				}
				chunks++
			}
			return chunks, nil
		}
		for _, l := range []*Log{l, final} {
			for _, x := range []schemas.Entry{es[0], es[2]} {
				if n, err := read(l, x); n != 4 || err != nil {
					t.Errorf("fragment %d, which is whole: %d chunks, then %v", x.Seq, n, err)
				}
			}
		}
		for _, l := range []*Log{final, l.EndingAtDamage()} {
			n, err := read(l, bad)
			if n != 2 || !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), fmt.Sprintf("%s partition 0: the record at offset %d", media, bad.First+2)) {
				t.Errorf("a read that ends at damage: %d chunks, then %v", n, err)
			}
		}
		if n, err := read(l, bad); n != 2 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a read that waits: %d chunks, then %v", n, err)
		}
	})
}

// A record cannot be decoded for a moment, as when a connection damages an answer: the read goes on.
func TestDamagedForAMoment(t *testing.T) {
	virtual(t, 1, func(t *testing.T, c *kfake.Cluster, e *env) {
		l := e.log(func(c *Config) { c.EndAtDamage = true })
		w := l.Open(t.Context(), cam, OpenOptions{Writer: "w"})
		ready(t, w)
		if err := newFeed(w, 1).fragment(4); err != nil {
			t.Fatal(err)
		}
		closeWriter(t, w)
		x := entriesOf(t, l, Range{})[0]
		time.AfterFunc(time.Second, testenv.DamageKafka(t, c, e.dial, l.names.Media(cam), x.Partition, x.First))
		n := 0
		for _, err := range l.Chunks(t.Context(), cam, x) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != int(x.Chunks) {
			t.Errorf("%d of %d chunks", n, x.Chunks)
		}
	})
}
