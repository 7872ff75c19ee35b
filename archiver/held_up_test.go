package archiver

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

var gate = schemas.Topic{Camera: "gate"}

// together records n seconds of each of some cameras, in as much time.
func together(n int, cams ...*recorder) {
	for end := cams[0].start.Add(time.Duration(n) * time.Second); cams[0].start.Before(end); {
		for _, cam := range cams {
			cam.seconds(2)
		}
	}
}

// Kafka has a record of one camera whose checksum is wrong, and one file is written at a time. The
// other camera is archived as ever. Of this one all is archived but the fragment of the record, which
// is told and counted.
func TestDamagedInKafka(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		e.concurrency = 1
		e.add(gate.Camera)
		together(100, e.record(raw), e.record(gate))
		all := e.entries(raw)
		bad, media := all[20], schemas.Names{}.Media(raw)
		testenv.DamageKafka(t, e.cluster, e.dial, media, bad.Partition, bad.First)
		p := e.start(nil)
		time.Sleep(5 * time.Minute)
		healthy := e.entries(gate)
		if got, want := seqs(e.archived(healthy[0].Life, gate)), seqs(healthy); got != want {
			t.Errorf("of the other camera are archived %s\nof %s", got, want)
		}
		if got, want := seqs(e.archived(all[0].Life, raw)), seqs(slices.Delete(slices.Clone(all), 20, 21)); got != want {
			t.Errorf("archived %s\nwant %s", got, want)
		}
		if lost, tries := p.metric(t, "expired_seconds_total", camID, schemas.Raw), p.metric(t, "errors_total", failedFootage); lost != 2 || tries != maxTries {
			t.Errorf("%v seconds are counted after %v attempts", lost, tries)
		}
		for _, want := range []string{
			fmt.Sprintf("%s partition %d: the record at offset %d", media, bad.Partition, bad.First),
			fmt.Sprintf("fragment %d is left out of the archive", bad.Seq),
		} {
			if n := strings.Count(e.lines.String(), want); n != 1 {
				t.Errorf("%q is told %d times, want 1", want, n)
			}
		}
	})
}

// The partitions of some cameras have no leader for ten minutes, and one file is written at a time.
// The other camera is archived as ever. Meanwhile it shows how much of the others is not safe. When
// the leaders are back, all is archived: what comes late is not damaged.
func TestLogHeldUp(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		e.concurrency = 1
		cams := []*recorder{e.record(gate)}
		e.add(gate.Camera)
		var away []schemas.Topic
		var faults []kfake.Fault
		for _, camera := range []string{camID, "hall", "roof", "shed"} {
			topic := schemas.Topic{Camera: camera}
			e.add(camera)
			away, cams = append(away, topic), append(cams, e.record(topic))
			faults = append(faults, kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: schemas.Names{}.Media(topic), Err: kerr.LeaderNotAvailable, Count: -1})
		}
		p := e.start(nil)
		back := e.cluster.Fault(faults...)
		together(600, cams...)
		if unsafe := p.metric(t, "unsafe_seconds", gate.Camera, schemas.Raw); unsafe > 120 {
			t.Errorf("of the other camera %v seconds are not safe", unsafe)
		}
		for _, topic := range away {
			if unsafe := p.metric(t, "unsafe_seconds", topic.Camera, schemas.Raw); unsafe < 590 || unsafe > 600 {
				t.Errorf("of %s, of which nothing can be read, %v of 600 seconds are not safe", topic, unsafe)
			}
		}
		back.Remove()
		time.Sleep(4 * time.Minute)
		for _, topic := range append(away, gate) {
			all := e.entries(topic)
			if got, want := seqs(e.archived(all[0].Life, topic)), seqs(all); got != want {
				t.Errorf("of %s are archived %s\nof %s", topic, got, want)
			}
			if lost := p.metric(t, "expired_seconds_total", topic.Camera, schemas.Raw); lost != 0 {
				t.Errorf("of %s %v seconds count as lost", topic, lost)
			}
		}
		if n := p.metric(t, "errors_total", failedFootage); n != 0 {
			t.Errorf("%v fragments count as damaged", n)
		}
	})
}
