package faults

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// reader reads the log as any client does.
type reader struct{ log *medialog.Log }

func openLog(t *testing.T, brokers ...string) reader {
	t.Helper()
	l, err := medialog.Connect(medialog.Config{Kafka: kafka.Config{Brokers: brokers, ClientID: "test"}}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return reader{l}
}

// entries returns the index of a camera as it is now; none while the camera has
// no topic. It waits for a broker that is away.
func (r reader) entries(t *testing.T, id string) []schemas.Entry {
	t.Helper()
	return r.entriesOf(t, schemas.Topic{Camera: id})
}

// entriesOf is entries of a camera or one of its renditions.
func (r reader) entriesOf(t *testing.T, topic schemas.Topic) []schemas.Entry {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*testenv.Patience)
	defer cancel()
	var out []schemas.Entry
	var failed error
	if !testenv.Poll(t, 2*testenv.Patience, func() bool {
		out, failed = nil, nil
		for e, err := range r.log.Entries(ctx, topic, medialog.Range{}) {
			if failed = err; err != nil {
				return errors.Is(err, medialog.ErrNoTopic)
			}
			out = append(out, e)
		}
		return true
	}) {
		t.Fatalf("%s: read index: %v", topic, failed)
	}
	return out
}

// grown waits until a camera has n fragments with footage that start after from.
// It returns all entries.
func (r reader) grown(t *testing.T, id string, from time.Time, n int) (all []schemas.Entry) {
	t.Helper()
	return r.grownOf(t, schemas.Topic{Camera: id}, from, n, 2*testenv.Patience)
}

// grownOf is grown for a camera or one of its renditions. It waits at most for limit.
func (r reader) grownOf(t *testing.T, topic schemas.Topic, from time.Time, n int, limit time.Duration) (all []schemas.Entry) {
	t.Helper()
	if !testenv.Poll(t, limit, func() bool {
		all = r.entriesOf(t, topic)
		found := 0
		for _, e := range all {
			if e.Playable() && e.Start.After(from) {
				found++
			}
		}
		return found >= n
	}) {
		t.Fatalf("%s: no %d fragments after %s within %v; the index is:\n%s", topic, n, from.Format("15:04:05.000"), limit, table(all))
	}
	return all
}

// allGrown is grown for each of several cameras. It returns how long that took.
func (r reader) allGrown(t *testing.T, ids []string, from time.Time, n int) time.Duration {
	t.Helper()
	began := time.Now()
	for _, id := range ids {
		r.grown(t, id, from, n)
	}
	return time.Since(began)
}

// newestOpen returns the newest `open` of the index of a camera or a rendition.
func newestOpen(t *testing.T, topic schemas.Topic, brokers ...string) schemas.Entry {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*testenv.Patience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(schemas.Names{}.Index(topic)),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.FetchMinBytes(1))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for newest := (schemas.Entry{}); ; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%s: read index: %v", topic, err)
		}
		end := false
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			for _, r := range p.Records {
				e, err := schemas.DecodeEntry(r.Value)
				if err != nil {
					t.Fatalf("%s: entry %d: %v", topic, r.Offset, err)
				}
				if e.Kind == schemas.KindOpen {
					newest = e
				}
				end = r.Offset+1 >= p.HighWatermark
			}
		})
		if end {
			return newest
		}
	}
}

// openAdmin returns a client that changes topics as an operator or retention does.
func openAdmin(t *testing.T, brokers ...string) *kadm.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return kadm.NewClient(client)
}

// indexes are the entries of cameras, by camera.
type indexes map[string][]schemas.Entry

func (r reader) indexes(t *testing.T, ids []string) indexes {
	t.Helper()
	all := indexes{}
	for _, id := range ids {
		all[id] = r.entries(t, id)
	}
	return all
}

// checkKept checks that all entries of before are there as they were, and that
// all entries there are now have all of their chunks and are in order. It returns
// the indexes as they are now.
func (r reader) checkKept(t *testing.T, before indexes) indexes {
	t.Helper()
	after := indexes{}
	for id, was := range before {
		is := r.entries(t, id)
		after[id] = is
		if len(is) < len(was) {
			t.Errorf("%s: the index has %d entries, and had %d", id, len(is), len(was))
			continue
		}
		for i, e := range was {
			if !reflect.DeepEqual(e, is[i]) {
				t.Errorf("%s: an entry was %+v, is %+v", id, e, is[i])
				break
			}
		}
		for i := range is {
			r.chunks(t, schemas.Topic{Camera: id}, &is[i], func(*schemas.Chunk) {})
		}
		checkOrder(t, id, is)
	}
	return after
}

// chunks calls f with each chunk of a fragment. It checks that none is missing.
func (r reader) chunks(t *testing.T, topic schemas.Topic, e *schemas.Entry, f func(*schemas.Chunk)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*testenv.Patience)
	defer cancel()
	n := uint32(0)
	for c, err := range r.log.Chunks(ctx, topic, *e) {
		if err != nil {
			t.Fatalf("%s: read fragment %d (%s): %v, after %d chunks of %d", topic, e.Seq, e.Kind, err, n, e.Chunks)
		}
		n++
		f(c)
	}
	if n != e.Chunks {
		t.Fatalf("%s: fragment %d (%s) has %d chunks, its entry says %d", topic, e.Seq, e.Kind, n, e.Chunks)
	}
}

// checkOrder checks what holds for every camera, whatever happens to it: numbers
// have no hole, sessions grow by one, layouts and media time never go back.
func checkOrder(t *testing.T, id string, entries []schemas.Entry) {
	t.Helper()
	bad := false
	for i := 1; i < len(entries); i++ {
		p, e := entries[i-1], entries[i]
		switch {
		case e.Seq != p.Seq+1:
			t.Errorf("%s: fragment %d comes after %d", id, e.Seq, p.Seq)
		case e.Session != p.Session && e.Session != p.Session+1:
			t.Errorf("%s: session %d comes after %d", id, e.Session, p.Session)
		case e.Media < p.MediaEnd():
			t.Errorf("%s: fragment %d starts %d ticks before the end of the one before", id, e.Seq, p.MediaEnd()-e.Media)
		case e.Layout.ID < p.Layout.ID || e.Layout.Target < p.Layout.Target:
			t.Errorf("%s: layout %+v comes after %+v", id, e.Layout, p.Layout)
		default:
			continue
		}
		bad = true
	}
	if bad {
		t.Logf("%s: index:\n%s", id, table(entries))
	}
}

// checkWhole checks, beside the order, that all fragments are whole, but for the
// times in which nothing was recorded: after each a session begins.
func checkWhole(t *testing.T, id string, entries []schemas.Entry) {
	t.Helper()
	checkOrder(t, id, entries)
	for i, e := range entries {
		switch {
		case absent(e):
			if i+1 < len(entries) && !absent(entries[i+1]) && entries[i+1].Session != e.Session+1 {
				t.Errorf("%s: no session begins after the absence %d:\n%s", id, e.Seq, table(entries))
			}
		case e.Kind != schemas.KindWhole:
			t.Errorf("%s: fragment %d is %s (%s):\n%s", id, e.Seq, e.Kind, e.Reason, table(entries))
		}
	}
}

// absent reports whether e stands for time in which nothing was recorded.
func absent(e schemas.Entry) bool {
	return e.Kind == schemas.KindGap && e.Reason == schemas.ReasonAbsent
}

// sessions counts the sessions of entries.
func sessions(entries []schemas.Entry) int {
	n := 0
	for i := range entries {
		if i == 0 || entries[i].Session != entries[i-1].Session {
			n++
		}
	}
	return n
}

// corrected reports whether e, which follows p, begins a session because that of
// p began late. If the machine stands still while a session's first picture
// comes, the session's public time is ahead of the clock for good, and ingest
// soon begins another session (assemble.Config.MaxDrift).
// Nothing else has public time go back that far under one writer.
func corrected(p, e *schemas.Entry) bool {
	return e.Session != p.Session && e.Epoch == p.Epoch && p.End().Sub(e.Start) > 300*time.Millisecond
}

// corrections counts the sessions that began so.
func corrections(entries []schemas.Entry) (n int) {
	for i := 1; i < len(entries); i++ {
		if corrected(&entries[i-1], &entries[i]) {
			n++
		}
	}
	return n
}

// newSessions counts the sessions that began after the entry last, except
// corrections.
func newSessions(entries []schemas.Entry, last schemas.Entry) (n int) {
	for i := 1; i < len(entries); i++ {
		if p, e := &entries[i-1], &entries[i]; e.Seq > last.Seq && e.Session != p.Session && !corrected(p, e) {
			n++
		}
	}
	return n
}

// checkSessions checks how many sessions entries have, except corrections.
func checkSessions(t *testing.T, id string, entries []schemas.Entry, want int) {
	t.Helper()
	if n := sessions(entries); n < want || n > want+corrections(entries) {
		t.Errorf("%s: %d sessions, want %d:\n%s", id, n, want, table(entries))
	}
}

// longestPause is the longest public time without footage that ends after from.
// Gaps have no footage, those of an absence too.
func longestPause(entries []schemas.Entry, from time.Time) (longest time.Duration) {
	var end time.Time // of the last footage
	for i := range entries {
		e := &entries[i]
		if !e.Playable() {
			continue
		}
		if !end.IsZero() && e.Start.After(from) {
			longest = max(longest, e.Start.Sub(end))
		}
		end = e.End()
	}
	return longest
}

// table is entries as text, one a line.
func table(entries []schemas.Entry) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "\t%d %s session %d layout %d/%d %s +%v lost %+v %s\n", e.Seq, e.Kind, e.Session, e.Layout.ID, e.Layout.Target,
			e.Start.Format("15:04:05.000"), schemas.FromTicks(e.Duration).Round(time.Millisecond), e.Lost, e.Reason)
	}
	return b.String()
}
