package processors

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/schemas"
)

// Kafka loses the end of the index of the dead letters. The fragment to keep has not expired: it
// gets no gap until its letter is there.
func TestDeadLettersAreCutBack(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		first := e.cam.fragments(1)
		p := upperProcessor()
		p.Process = func(ctx context.Context, in *Fragment, out *Output) error {
			if in.Seq == first[0].Seq {
				return upper(ctx, in, out)
			}
			return errors.New("no")
		}
		// The second letter's entry gets the offset of the first one's.
		var before []byte
		e.cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
			e.cluster.KeepControl()
			part := &req.(*kmsg.ProduceRequest).Topics[0].Partitions[0]
			switch {
			case !bytes.Contains(part.Records, []byte(`"attempts":`)):
			case before == nil:
				before = bytes.Clone(part.Records)
			case !bytes.Equal(before, part.Records):
				e.cluster.DropControl()
				part.Records = before
			}
			return nil, nil, false
		})
		one := e.start(p)
		e.waitFor("upper", first[0].Seq)
		source := append(first, e.cam.fragments(2)...)
		e.waitFor("upper", source[1].Seq)
		upperEntries := func() []schemas.Entry { return e.entries(schemas.Topic{Camera: camID, Rendition: "upper"}) }
		e.wait("the work begins again, or the fragment has its gap", func() bool {
			return strings.Contains(e.lines.String(), "the index is shorter than it was") || len(upperEntries()) > 2
		})
		if got := upperEntries(); len(got) != 2 {
			t.Errorf("the fragment without a letter has %s (%s)", got[2].Kind, got[2].Reason)
		}
		one.stop() // its client has an order of records of its own
		e.start(p)
		got := e.waitFor("upper", source[2].Seq)
		if got[2].Reason != schemas.ReasonDeadLetter {
			t.Errorf("the output has %s (%s)", got[2].Kind, got[2].Reason)
		}
		if letters := e.entries(dlq); len(letters) != 2 || letters[1].Seq != source[2].Seq {
			t.Errorf("the dead letters are %+v", letters)
		}
	})
}
