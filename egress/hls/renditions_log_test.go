package hls

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// byHand writes a rendition record by record.
type byHand struct {
	t            *testing.T
	client       *kgo.Client
	topic        schemas.Topic
	media, index string
	prev         int64 // offset of its newest entry or `open`
	epoch        int64
}

func newByHand(t *testing.T, brokers []string, topic schemas.Topic) *byHand {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	var names schemas.Names
	w := &byHand{t: t, client: cl, topic: topic, media: names.Media(topic), index: names.Index(topic)}
	admin := kadm.NewClient(cl)
	for name, partitions := range map[string]int32{w.media: 2, w.index: 1} {
		if _, err := admin.CreateTopic(t.Context(), partitions, 1, nil, name); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *byHand) produce(r *kgo.Record) int64 {
	w.t.Helper()
	if err := w.client.ProduceSync(w.t.Context(), r).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
	return r.Offset
}

func (w *byHand) entry(e schemas.Entry) {
	w.t.Helper()
	e.Prev = w.prev
	b, err := schemas.EncodeEntry(&e)
	if err != nil {
		w.t.Fatal(err)
	}
	w.prev = w.produce(&kgo.Record{Topic: w.index, Key: schemas.Key(w.topic.Camera, e.Seq), Value: b})
}

func (w *byHand) open(from uint64) {
	w.t.Helper()
	w.prev = -1
	w.entry(schemas.Entry{Kind: schemas.KindOpen, Writer: "hand", Role: schemas.RoleVariant, Processor: "hand", Seq: from, From: from})
	w.epoch = w.prev
}

// write writes a fragment, and returns it as it stands in the log.
func (w *byHand) write(f testmedia.Fragment) testmedia.Fragment {
	w.t.Helper()
	f.Entry.Epoch, f.Entry.Partition = w.epoch, int32(f.Entry.Seq%2)
	for i, c := range f.Chunks {
		c.Epoch = w.epoch
		b, err := schemas.EncodeChunk(c)
		if err != nil {
			w.t.Fatal(err)
		}
		r := &kgo.Record{Topic: w.media, Partition: f.Entry.Partition, Key: schemas.Key(w.topic.Camera, c.Seq), Value: b}
		for name, v := range map[string]int64{
			schemas.HeaderVersion: schemas.Version, schemas.HeaderEpoch: w.epoch, schemas.HeaderSeq: int64(c.Seq), schemas.HeaderIndex: int64(c.Index),
		} {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: strconv.AppendInt(nil, v, 10)})
		}
		f.Entry.Last = w.produce(r)
		if i == 0 {
			f.Entry.First = f.Entry.Last
		}
	}
	w.entry(f.Entry)
	return f
}

// With a real log: a variant of a camera that stands in topics of its own, with a retry, is
// listed and served.
func TestRenditionOverKafka(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	log, err := medialog.Connect(medialog.Config{Kafka: kafka.Config{Brokers: c.ListenAddrs()}}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	camera := log.Open(t.Context(), schemas.Topic{Camera: "cam"}, medialog.OpenOptions{Writer: "a", Host: "h", Reason: "start"})
	for _, f := range testmedia.Synthetic(testmedia.Place{Layout: testmedia.Layout, Start: testmedia.Start}, 6) {
		for _, c := range f.Chunks {
			if err := camera.Write(c); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := camera.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var raw []schemas.Entry
	for e, err := range log.Entries(t.Context(), schemas.Topic{Camera: "cam"}, medialog.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		raw = append(raw, e)
	}
	if len(raw) != 6 {
		t.Fatalf("%d entries of raw", len(raw))
	}

	// The fragments of the rendition have seq, session and times of raw's.
	source := testmedia.Synthetic(testmedia.Place{
		Seq: raw[0].Seq, Session: raw[0].Session, Layout: raw[0].Layout, Start: time.Unix(0, 0).Add(schemas.FromTicks(raw[0].Media)),
	}, 6)
	small := derived(source, schemas.RoleVariant, 160)
	w := newByHand(t, c.ListenAddrs(), schemas.Topic{Camera: "cam", Rendition: "small"})
	w.open(raw[0].Seq)
	var written []testmedia.Fragment
	for _, f := range small[:3] {
		written = append(written, w.write(f))
	}
	w.open(0) // another attempt
	gap := testmedia.GapAt(written[2].Entry, time.Second)
	gap.Role, gap.Reason = schemas.RoleVariant, schemas.ReasonDeadLetter
	w.entry(gap)
	for _, f := range small[4:] {
		written = append(written, w.write(f))
	}

	_, base := serve(t, Config{}, log)
	if res, text := fetch(t, base+"/hls/cam/index.m3u8"); res.StatusCode != 200 || fmt.Sprint(streams(text)) != "[raw.m3u8 small.m3u8]" {
		t.Fatalf("the multivariant playlist: %s\n%s", res.Status, text)
	}
	res, text := fetch(t, base+"/hls/cam/small.m3u8")
	if res.StatusCode != 200 || !bytes.Contains([]byte(text), fmt.Appendf(nil, "#EXT-X-GAP\n#EXTINF:1.000000,\nsmall/m1/%d.m4s\n", gap.Seq)) {
		t.Errorf("the playlist of the rendition: %s\n%s", res.Status, text)
	}
	for _, f := range written {
		made, err := cmaf.Segment(f.Entry, f.All())
		if err != nil {
			t.Fatal(err)
		}
		url := fmt.Sprintf("%s/hls/cam/small/m1/%d", base, f.Entry.Seq)
		if _, got := fetch(t, url+".m4s"); got != string(bytes.Join(made, nil)) {
			t.Errorf("segment %d has other bytes than the chunks of the log", f.Entry.Seq)
		}
		if _, got := fetch(t, fmt.Sprintf("%s.%d.1.m4s", url, f.Entry.Epoch)); got != string(made[1]) {
			t.Errorf("part 1 of segment %d has other bytes than the chunk of the log", f.Entry.Seq)
		}
	}
	if res, text := fetch(t, base+"/hls/cam/large.m3u8"); res.StatusCode != 404 {
		t.Errorf("a rendition that does not exist: %s %s", res.Status, text)
	}
	admin := kadm.NewClient(w.client)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if topics, err := admin.ListTopics(ctx); err != nil || topics.Has("cam.cam.large") {
		t.Errorf("a request has made a topic: %v (%v)", topics.Names(), err)
	}
}
