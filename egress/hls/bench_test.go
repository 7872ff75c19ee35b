package hls

import (
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// One chunk of a camera of 4 Mbit/s through a model with a full window: made
// into a part, listed, and the playlist rendered.
func BenchmarkChunk(b *testing.B) {
	f := testmedia.Synthetic(testPlace, 61)
	for i := range f {
		for _, c := range f[i].Chunks {
			for r := range c.Runs {
				for j := range c.Runs[r].Samples {
					if s := &c.Runs[r].Samples[j]; c.Runs[r].Track == schemas.VideoTrack {
						s.Data = append(s.Data, make([]byte, 20000)...)
					}
				}
			}
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		m := newModel(time.Minute, 1<<30)
		for _, x := range f[:60] {
			m.entry(x.Entry, nil)
		}
		for _, c := range f[60].Chunks {
			if _, _, err := m.chunk(c); err != nil {
				b.Fatal(err)
			}
			if m.playlist(schemas.Raw, true, nil) == nil {
				b.Fatal("no playlist")
			}
		}
	}
}
