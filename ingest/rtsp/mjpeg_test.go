package rtsp_test

import (
	"bytes"
	"encoding/binary"
	"image/jpeg"
	"testing"

	"github.com/pion/rtp"

	"github.com/framelog/framelog/ingest/rtsp"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// headers of RFC 2435, 3.1: of JPEG, and of the tables behind it in an image's first packet.
const (
	jpegHeader  = 8
	tableHeader = 4
)

// q makes packets with this quantization factor of those with 255.
func q(packets []*rtp.Packet, v byte) {
	for _, p := range packets {
		p.Payload[5] = v
	}
}

// fewTables leaves the quantization tables out of four images of five, in a clip that is repeated
// always the same ones.
func fewTables() func(camsim.Unit, []*rtp.Packet) {
	n := 0
	return func(_ camsim.Unit, packets []*rtp.Packet) {
		q(packets, 200)
		if n++; n%5 > 0 {
			p := packets[0].Payload
			packets[0].Payload = bytes.Join([][]byte{p[:jpegHeader], {0, 0, 0, 0}, p[jpegHeader+tableHeader+tablesOf(p):]}, nil)
		}
	}
}

func tablesOf(payload []byte) int { return int(binary.BigEndian.Uint16(payload[jpegHeader+2:])) }

// reserved makes packets with a quantization factor that RFC 2435 reserves.
func reserved(_ camsim.Unit, packets []*rtp.Packet) {
	q(packets, 100)
	p := packets[0].Payload
	packets[0].Payload = bytes.Join([][]byte{p[:jpegHeader], p[jpegHeader+tableHeader+tablesOf(p):]}, nil)
}

// The kinds of MJPEG in RFC 2435, and what cameras make of it, come as they were sent, and can be
// decoded.
func TestKindsOfMJPEG(t *testing.T) {
	whole := testenv.Clip{Seconds: 2, Codec: "mjpeg", FPS: 10}
	restarts := whole
	restarts.Restarts = true
	engines(t, func(t *testing.T, engine string) {
		for name, c := range map[string]struct {
			clip    testenv.Clip
			rewrite func(camsim.Unit, []*rtp.Packet)
		}{
			"restart markers": {restarts, nil},
			"few tables":      {whole, fewTables()},
			"a reserved Q":    {whole, reserved},
		} {
			if name == "few tables" && engine == rtsp.EngineGStreamer {
				continue // it leaves images without tables out
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				feed := clip(t, c.clip)
				sent := map[string]bool{}
				for _, u := range feed.Units {
					sent[string(essence(t, schemas.MJPEG, u.Data)[0])] = true
					if has := bytes.Contains(u.Data, []byte{0xff, 0xd1}); has != c.clip.Restarts {
						t.Fatalf("the image has restart markers: %v", has)
					}
				}
				srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed.With(true, 1), Rewrite: c.rewrite}}})
				s, _, _ := start(t, rtsp.Config{URL: fixed(t, srv.URL("c")), Engine: engine})
				eventually(t, "each image", func() bool {
					came := map[string]bool{}
					for _, u := range s.of(schemas.VideoTrack) {
						came[string(essence(t, schemas.MJPEG, u.Data)[0])] = true
					}
					return len(came) >= len(sent)
				})
				for i, u := range s.of(schemas.VideoTrack) {
					if u.Broken || !sent[string(essence(t, schemas.MJPEG, u.Data)[0])] {
						t.Errorf("image %d of %d bytes was not sent, broken: %v", i, len(u.Data), u.Broken)
					}
					if _, err := jpeg.Decode(bytes.NewReader(u.Data)); err != nil {
						t.Errorf("image %d: %v", i, err)
					}
				}
			})
		}
	})
}
