package examples

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

var copied = schemas.Topic{Camera: raw.Camera, Rendition: "copy"}

// follow starts follower.py.
func (e *env) follow() *testenv.Process {
	e.t.Helper()
	return testenv.Start(e.t, "follower.py", python(e.t, filepath.Join(examples(e.t), "follower.py"), e.brokers, e.names.Media(raw)))
}

// copiedUpTo waits until the rendition has an entry of a seq.
func (e *env) copiedUpTo(p *testenv.Process, seq uint64) {
	e.t.Helper()
	p.Wait(e.t, testenv.Patience, "the copy", func() bool {
		_, err := e.log.Entry(e.t.Context(), copied, seq)
		return err == nil
	})
}

// records reads all records of a topic, partition by partition.
func (e *env) records(topic string) (all []*kgo.Record) {
	e.t.Helper()
	ends, err := kadm.NewClient(e.client).ListEndOffsets(e.t.Context(), topic)
	if err != nil {
		e.t.Fatal(err)
	}
	left, from := map[int32]int64{}, map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition], from[o.Partition] = o.Offset, kgo.NewOffset().AtStart()
		}
	})
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(e.brokers, ",")...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	if err != nil {
		e.t.Fatal(err)
	}
	defer cl.Close()
	by := map[int32][]*kgo.Record{}
	for len(left) > 0 {
		fetches := cl.PollFetches(e.t.Context())
		if err := fetches.Err(); err != nil {
			e.t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			by[r.Partition] = append(by[r.Partition], r)
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	for p := range int32(len(ends[topic])) {
		all = append(all, by[p]...)
	}
	return all
}

// The bytes of follower.py are those that Framelog's encoder makes of the same records.
func (e *env) checkBytes() {
	e.t.Helper()
	for _, r := range e.records(e.names.Media(copied)) {
		c, err := schemas.DecodeChunk(r.Value)
		if err != nil {
			e.t.Fatal(err)
		}
		again, err := schemas.EncodeChunk(c)
		if err != nil || !bytes.Equal(r.Value, again) {
			e.t.Errorf("chunk %d.%d is %x, want %x (%v)", c.Seq, c.Index, r.Value, again, err)
		}
		if r.Partition != int32(c.Seq%2) || string(r.Key) != string(schemas.Key(raw.Camera, c.Seq)) {
			e.t.Errorf("chunk %d.%d has key %s and is in partition %d", c.Seq, c.Index, r.Key, r.Partition)
		}
		for i, h := range schemas.ChunkHeaders(c) {
			if got := r.Headers[i]; got.Key != h.Key || !bytes.Equal(got.Value, h.Value) {
				e.t.Errorf("chunk %d.%d has header %s=%s, want %s=%s", c.Seq, c.Index, got.Key, got.Value, h.Key, h.Value)
			}
		}
	}
	for _, r := range e.records(e.names.Index(copied)) {
		en, err := schemas.DecodeEntry(r.Value)
		if err != nil {
			e.t.Fatal(err)
		}
		again, err := schemas.EncodeEntry(&en)
		if err != nil || !bytes.Equal(r.Value, again) {
			e.t.Errorf("the entry at %d is %x, want %x (%v)", r.Offset, r.Value, again, err)
		}
	}
}

// A copy has each fragment and gap of the source once, with the same samples.
func TestFollower(t *testing.T) {
	t.Run("embedded", func(t *testing.T) { checkCopy(t, newEnv(t)) })
	t.Run("kafka", func(t *testing.T) {
		checkCopy(t, envOf(t, strings.Join(testenv.SharedKafka(t).Brokers, ","), fmt.Sprintf("t%d.", rand.Uint32())))
	})
}

func checkCopy(t *testing.T, e *env) {
	e.record()
	want := e.stored(raw)
	p := e.follow()
	e.copiedUpTo(p, want[len(want)-1].Seq)
	same(t, e.stored(copied), want)
	same(t, e.read(e.names.Media(copied)), want)
	e.checkBytes()
}

// Killed in mid-fragment and started again, follower.py goes on behind its newest entry.
func TestFollowerIsKilled(t *testing.T) {
	e := newEnv(t)
	cam, w := e.open()
	cam.write(t, w, 5, 0)
	closeWriter(t, w)
	want := e.stored(raw)

	const hang = `
import signal, sys, follower
commit, seq = follower.Follower.commit, int(sys.argv.pop())
def hang(self, e, stamp):
    if e["q"] == seq:
        signal.pause()
    commit(self, e, stamp)
follower.Follower.commit = hang
follower.main()`
	cmd := python(t, "-c", hang, e.brokers, e.names.Media(raw), fmt.Sprint(want[2].Seq))
	cmd.Dir = examples(t)
	p := testenv.Start(t, "follower.py", cmd)
	e.wait(e.names.Media(copied), 3*5) // the third fragment is there, and its entry is not
	p.KillTree()
	p = e.follow()
	e.copiedUpTo(p, want[len(want)-1].Seq)
	same(t, e.stored(copied), want)
	opens := 0
	for _, r := range e.records(e.names.Index(copied)) {
		if en, err := schemas.DecodeEntry(r.Value); err == nil && en.Kind == schemas.KindOpen {
			opens++
		}
	}
	if opens != 3 {
		t.Errorf("%d opens, want 3: two of the first process, since the rendition begins with a hole, one of the second", opens)
	}
}

// A second process fences the first one, which ends and says why.
func TestFollowerIsFenced(t *testing.T) {
	e := newEnv(t)
	cam, w := e.open()
	ready(t, w)
	cam.write(t, w, 2, 0)
	e.wait(e.names.Index(raw), 1+2)
	first := e.follow()
	e.copiedUpTo(first, e.entries(raw)[1].Seq)
	second := e.follow()
	testenv.Wait(t, testenv.Patience, "the end of the first process", func() bool {
		cam.write(t, w, 1, 0)
		select {
		case <-first.Done():
			return true
		default:
			return false
		}
	})
	closeWriter(t, w)
	want := e.stored(raw)
	e.copiedUpTo(second, want[len(want)-1].Seq)
	if !strings.Contains(first.Log.String(), "fenced: ") {
		t.Errorf("the first process says %q", first.Log.String())
	}
	same(t, e.stored(copied), want)
}

// Footage that expires before it is copied becomes a gap, and what its index has lost
// too a hole.
func TestFollowerIsOvertaken(t *testing.T) {
	e := newEnv(t)
	cam, w := e.open()
	cam.write(t, w, 3, 0)
	ready(t, w)
	e.wait(e.names.Index(raw), 1+3)
	p := e.follow()
	e.copiedUpTo(p, e.entries(raw)[2].Seq)
	p.KillTree()
	cam.write(t, w, 6, 0)
	closeWriter(t, w)
	all := e.entries(raw)
	want := e.stored(raw)
	e.expire(raw, all[6])
	e.expireBefore(e.names.Index(raw), 0, all[6].Offset)
	p = e.follow()
	e.copiedUpTo(p, all[8].Seq)
	hole := line{Kind: "hole", From: all[3].Seq, To: all[5].Seq, Declared: true}
	expired := line{Seq: all[6].Seq, Kind: "gap", Session: 1, Reason: schemas.ReasonExpired}
	same(t, e.read(e.names.Media(copied)), append(append(want[:3:3], hole, expired), want[7:]...))
}

// What follower.py does not go on with, and what it says.
func TestFollowerRefuses(t *testing.T) {
	e := newEnv(t)
	cam, w := e.open()
	cam.write(t, w, 1, 0)
	closeWriter(t, w)
	src := e.entries(raw)[0]
	refuses := func(says string) {
		t.Helper()
		p := e.follow()
		if code := p.ExitCode(testenv.Patience); code != 1 || !strings.Contains(p.Log.String(), says) {
			t.Errorf("exit code %d, and it says %q; want 1 and %q", code, p.Log.String(), says)
		}
	}
	other := src
	other.Prev, other.Role, other.Source = 0, schemas.RoleAlternative, schemas.Copy{Epoch: src.Epoch, First: src.First + 1, Chunks: src.Chunks}
	e.index(copied, entry(t, schemas.Entry{Kind: schemas.KindOpen, Prev: -1, Life: src.Life, Processor: "copy", From: src.Seq}), entry(t, other))
	refuses("is not what it was")
	e.index(copied, entry(t, schemas.Entry{Kind: schemas.KindOpen, Prev: -1, Life: src.Life, Processor: "blur"}))
	refuses("the processor blur writes")
}
