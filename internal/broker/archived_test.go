package broker

import (
	"errors"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// archiveEnv is a broker in memory with what a keeper knows of its archive.
type archiveEnv struct {
	t       *testing.T
	cluster *kfake.Cluster
	connect func() *kgo.Client
	archived
}

// inMemory runs f in virtual time.
func inMemory(t *testing.T, f func(t *testing.T, e *archiveEnv)) {
	synctest.Test(t, func(t *testing.T) {
		c, dial := testenv.VirtualKafka(t, 1)
		connect := func() *kgo.Client { return client(t, c.ListenAddrs()[0], kgo.Dialer(dial), kgo.RequestRetries(0)) }
		cl := connect()
		f(t, &archiveEnv{t, c, connect, archived{
			group: "archive", client: cl, adm: kadm.NewClient(cl),
			wants: func(t schemas.Topic, begun bool) bool { return t.IsRaw() || begun },
		}})
	})
}

// create creates the topics of a rendition.
func (e *archiveEnv) create(t schemas.Topic) {
	e.t.Helper()
	for _, topic := range []string{e.names.Media(t), e.names.Index(t)} {
		if err := e.cluster.CreateTopic(topic, 1, nil); err != nil {
			e.t.Fatal(err)
		}
	}
}

// remove deletes the topics of a rendition.
func (e *archiveEnv) remove(t schemas.Topic) {
	e.t.Helper()
	for _, topic := range []string{e.names.Media(t), e.names.Index(t)} {
		if err := e.cluster.DeleteTopic(topic); err != nil {
			e.t.Fatal(err)
		}
	}
}

// commit commits what an archiver would after fragment seq, whose last chunk has the offset last. It
// writes the entry first.
func (e *archiveEnv) commit(t schemas.Topic, life string, seq uint64, last int64) {
	e.t.Helper()
	index := e.names.Index(t)
	cl := e.connect() // it knows no earlier topic of the name
	_, at := offsets(e.t, cl, index, 0)
	if at == 0 {
		e.append(cl, index, &schemas.Entry{Kind: schemas.KindOpen, Prev: -1, Life: life})
		at++
	}
	e.append(cl, index, &schemas.Entry{Kind: schemas.KindWhole, Prev: at - 1, Life: life, Seq: seq, First: last, Last: last, Chunks: 1})
	all := kadm.Offsets{}
	all.Add(kadm.Offset{Topic: index, At: at + 1, LeaderEpoch: -1, Metadata: life + " 9"})
	if res, err := kadm.NewClient(cl).CommitOffsets(e.t.Context(), e.group, all); err != nil || res.Error() != nil {
		e.t.Fatal(err, res.Error())
	}
}

func (e *archiveEnv) append(cl *kgo.Client, index string, entry *schemas.Entry) {
	e.t.Helper()
	b, err := schemas.EncodeEntry(entry)
	if err == nil {
		err = cl.ProduceSync(e.t.Context(), &kgo.Record{Topic: index, Value: b}).FirstErr()
	}
	if err != nil {
		e.t.Fatal(err)
	}
}

// ask updates what is known. It waits before, so that no client has old metadata.
func (e *archiveEnv) ask(what string, fails bool) {
	e.t.Helper()
	time.Sleep(time.Minute)
	if err := e.update(e.t.Context()); (err != nil) != fails {
		e.t.Errorf("%s: %v", what, err)
	}
}

// want compares the ends of topics. Those that are not named are not protected.
func (e *archiveEnv) want(what string, want map[schemas.Topic]int64) {
	e.t.Helper()
	got := map[schemas.Topic]int64{}
	for media := range e.topics {
		t, _, _ := e.names.Parse(media)
		if got[t] = e.end(media, 0); !e.protects(media) {
			e.t.Errorf("%s: %s is not protected", what, media)
		}
	}
	if !maps.Equal(got, want) {
		e.t.Errorf("%s: archived up to %v, want %v", what, got, want)
	}
}

// The broker does not answer for a moment while archivers go on. What was known counts until it can be
// read again, and what can be read is read.
func TestArchivedStaysKnown(t *testing.T) {
	inMemory(t, func(_ *testing.T, e *archiveEnv) {
		raw, boxes, faces := schemas.Topic{Camera: "yard"}, schemas.Topic{Camera: "yard", Rendition: "boxes"}, schemas.Topic{Camera: "yard", Rendition: "faces"}
		for _, topic := range []schemas.Topic{raw, boxes, faces} {
			e.create(topic)
		}
		e.commit(raw, "one", 1, 10)
		e.commit(boxes, "one", 1, 100)
		first := map[schemas.Topic]int64{raw: 11, boxes: 101}
		e.ask("at first", false)
		e.want("at first", first)

		e.commit(raw, "one", 2, 20)
		e.commit(boxes, "one", 2, 200)
		e.commit(faces, "one", 2, 2000)
		e.cluster.ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) {
			return nil, errors.New("the connection is cut"), true
		})
		e.ask("without a list of topics", true)
		e.want("without a list of topics", first)

		fetch := e.cluster.Fault(
			kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: e.names.Index(boxes), Err: kerr.KafkaStorageError, Count: -1},
			kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: e.names.Index(faces), Err: kerr.KafkaStorageError, Count: -1},
		)
		for range 3 { // in any order
			e.ask("without some entries", true)
			e.want("without some entries", map[schemas.Topic]int64{raw: 21, boxes: 101, faces: 0})
		}
		fetch.Remove()
		e.ask("at last", false)
		e.want("at last", map[schemas.Topic]int64{raw: 21, boxes: 201, faces: 2001})
	})
}

// A topic is deleted and made again. What was archived of the old one says nothing about the new one,
// also while nothing can be read of that.
func TestArchivedOfAnotherTopic(t *testing.T) {
	inMemory(t, func(_ *testing.T, e *archiveEnv) {
		raw := schemas.Topic{Camera: "yard"}
		e.create(raw)
		e.commit(raw, "one", 1, 1000)
		e.ask("at first", false)
		e.want("at first", map[schemas.Topic]int64{raw: 1001})
		e.remove(raw)
		e.create(raw)
		e.commit(raw, "two", 1, 10)
		fetch := e.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: e.names.Index(raw), Err: kerr.KafkaStorageError, Count: -1})
		e.ask("while it cannot be read", true)
		e.want("while it cannot be read", map[schemas.Topic]int64{raw: 0})
		fetch.Remove()
		e.ask("when it can be read", false)
		e.want("when it can be read", map[schemas.Topic]int64{raw: 11})
		e.remove(raw)
		e.ask("after a purge", false)
		e.want("after a purge", map[schemas.Topic]int64{})
	})
}
