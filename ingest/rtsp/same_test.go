package rtsp_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/ingest/rtsp"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// Two connections to one camera give the same bytes for the same picture, from the first
// keyframe of the later one on. A new owner of a camera finds by them where the former
// one's footage ends.
func TestConnectionsGiveTheSameUnits(t *testing.T) {
	testenv.SkipShort(t, "seconds of real time")
	engines(t, func(t *testing.T, engine string) {
		for name, c := range map[string]camsim.CameraConfig{
			"h264":                            {Feed: clip(t, testenv.Clip{Seconds: 5})},
			"h264, parameter sets in the SDP": {Feed: clip(t, testenv.Clip{Seconds: 5}), NoParameterSets: true},
			"h264, B-frames":                  {Feed: clip(t, testenv.Clip{Seconds: 5, BFrames: 2})},
			"h264, open GOPs":                 {Feed: clip(t, testenv.Clip{Seconds: 5, BFrames: 2, OpenGOP: true})},
			"h265":                            {Feed: clip(t, testenv.Clip{Seconds: 5, Codec: "h265"})},
			"h265, parameter sets in the SDP": {Feed: clip(t, testenv.Clip{Seconds: 5, Codec: "h265"}), NoParameterSets: true},
			"mjpeg":                           {Feed: clip(t, testenv.Clip{Seconds: 5, Codec: "mjpeg", FPS: 5})},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c.Path = "c"
				c.Feed = c.Feed.(*camsim.Clip).With(true, 1)
				srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{c}})
				kind := c.Feed.Tracks()[0].Codec
				starts := func(u ingest.Unit) bool {
					x, err := codec.Classify(kind, u.Data)
					return err == nil && (x.Picture == codec.Start || x.Picture == codec.CRA || x.Picture == codec.Recovery)
				}
				one, _, _ := start(t, rtsp.Config{Engine: engine, URL: fixed(t, srv.URL("c"))})
				eventually(t, "the first connection delivers in the middle of a GOP", func() bool { return len(one.of(schemas.VideoTrack)) > 7 })
				two, _, _ := start(t, rtsp.Config{Engine: engine, URL: fixed(t, srv.URL("c"))})
				later := func() []ingest.Unit {
					us := two.of(schemas.VideoTrack)
					return us[max(0, slices.IndexFunc(us, starts)):]
				}
				eventually(t, "the second connection delivers", func() bool { return len(later()) > 50 })
				got := later()
				var all []ingest.Unit
				eventually(t, "the first connection has as much", func() bool {
					all = one.of(schemas.VideoTrack)
					return slices.ContainsFunc(all, func(u ingest.Unit) bool { return bytes.Equal(u.Data, got[len(got)-1].Data) })
				})
				at := slices.IndexFunc(all, func(u ingest.Unit) bool { return bytes.Equal(u.Data, got[0].Data) })
				if at < 0 {
					t.Fatalf("the first connection does not have the first keyframe of the second: %x…", got[0].Data[:40])
				}
				for i, u := range got {
					if at+i < len(all) && !bytes.Equal(all[at+i].Data, u.Data) {
						t.Fatalf("unit %d of %d differs", i, len(got))
					}
				}
			})
		}
	})
}
