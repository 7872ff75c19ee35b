package processors

import (
	"testing"

	"github.com/framelog/framelog/schemas"
)

// A processor begins with the newest fragment, and goes on from its checkpoint: what was
// recorded while no process ran is processed too.
func TestRunner(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		source := e.cam.fragments(3)[2:]
		p := e.start(upperProcessor())
		e.waitFor("upper", source[0].Seq)
		source = append(source, e.cam.fragments(3)...)
		e.waitFor("upper", source[3].Seq)
		p.stop()
		source = append(source, e.cam.fragments(20)...)
		e.start(upperProcessor())
		e.waitFor("upper", source[len(source)-1].Seq)
		e.sameAs("upper", source)
		first := e.chunks(schemas.Topic{Camera: camID, Rendition: "upper"}, e.entries(schemas.Topic{Camera: camID, Rendition: "upper"})[0])[0]
		if want := (schemas.Lineage{Source: "cam.front-door", Seq: source[0].Seq, Processor: "upper", Version: "1"}); *first.Lineage != want {
			t.Errorf("lineage %+v, want %+v", *first.Lineage, want)
		}
	})
}
