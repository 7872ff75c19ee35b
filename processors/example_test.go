package processors_test

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/schemas"
)

// A variant has the same content as its source: here without the sound.
func ExampleVariant() {
	mute := processors.Processor{
		Name:    "mute",
		Outputs: []processors.Rendition{processors.Variant("silent")},
		Process: func(ctx context.Context, in *processors.Fragment, out *processors.Output) error {
			for c, err := range in.Chunks(ctx) {
				if err != nil {
					return err
				}
				c := *c // chunks are shared: change a copy
				c.Runs = []schemas.Run{{Track: schemas.VideoTrack, Samples: c.Video()}}
				if c.Index == 0 {
					c.Tracks = []schemas.Track{*in.Video()}
				}
				if err := out.Write(ctx, &c); err != nil {
					return err
				}
			}
			return nil
		},
	}
	result, err := mute.Collect(context.Background(), clip("one", "two"))
	if err != nil {
		panic(err)
	}
	for _, c := range result.Chunks["silent"] {
		fmt.Printf("chunk %d: %d tracks, %s\n", c.Index, len(c.Tracks), c.Video()[0].Data)
	}
	// Output:
	// chunk 0: 1 tracks, one
	// chunk 1: 0 tracks, two
}

// An alternative has other content than its source. A fragment for which nothing is written
// gets a gap there.
func ExampleAlternative() {
	redact := processors.Processor{
		Name:    "redact",
		Outputs: []processors.Rendition{processors.Alternative("redacted")},
		Process: func(ctx context.Context, in *processors.Fragment, out *processors.Output) error {
			for c, err := range in.Chunks(ctx) {
				if err != nil {
					return err
				}
				secret := bytes.Contains(c.Video()[0].Data, []byte("secret"))
				if secret {
					return nil
				}
				if err := out.Write(ctx, c); err != nil {
					return err
				}
			}
			return nil
		},
	}
	for _, frame := range []string{"street", "secret"} {
		result, err := redact.Collect(context.Background(), clip(frame))
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s: %d chunks, filtered %v\n", frame, len(result.Chunks["redacted"]), result.Filtered)
	}
	// Output:
	// street: 1 chunks, filtered []
	// secret: 0 chunks, filtered [redacted]
}

// A processor without Outputs writes timed metadata: what stands in the pictures, and
// events.
func ExampleData() {
	count := processors.Processor{
		Name: "people",
		Process: func(ctx context.Context, in *processors.Fragment, out *processors.Output) error {
			for c, err := range in.Chunks(ctx) {
				if err != nil {
					return err
				}
				for _, s := range c.Video() {
					if !bytes.Contains(s.Data, []byte("person")) {
						continue
					}
					box := schemas.Box{X: 0.25, Y: 0.5, W: 0.125, H: 0.5, Label: "person"}
					if err := out.Data(s.DTS, int64(s.Duration), schemas.Data{Boxes: []schemas.Box{box}}); err != nil {
						return err
					}
					at := in.Time(s.DTS)
					if err := out.Event(ctx, schemas.Event{Type: "person", Start: at, End: at.Add(40 * time.Millisecond), Value: 1}); err != nil {
						return err
					}
				}
			}
			return nil
		},
	}
	result, err := count.Collect(context.Background(), clip("nobody", "a person"))
	if err != nil {
		panic(err)
	}
	for _, s := range result.Chunks["people"][0].Runs[0].Samples {
		fmt.Printf("at %d: %s\n", s.DTS, s.Data)
	}
	fmt.Println("note:", result.Notes["people"])
	// Output:
	// at 3600: {"event":{"type":"person","start":"2026-01-02T15:04:05.04Z","end":"2026-01-02T15:04:05.08Z","value":1}}
	// at 3601: {"boxes":[{"x":0.25,"y":0.5,"w":0.125,"h":0.5,"label":"person"}]}
	// note: {"events":[{"t":"person","s":0.04,"e":0.08,"v":1}]}
}

// clip is a fragment of one frame a chunk, with sound.
func clip(frames ...string) *processors.Fragment {
	const frame = schemas.MediaTimescale / 25
	start := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	e := schemas.Entry{
		Kind: schemas.KindWhole, Life: "life", Session: 1, Seq: 7, Start: start, Duration: int64(len(frames)) * frame, Chunks: uint32(len(frames)),
	}
	var chunks []*schemas.Chunk
	for i, data := range frames {
		c := &schemas.Chunk{
			Session: 1, Seq: 7, Index: uint32(i), Last: i == len(frames)-1, Start: start.Add(time.Duration(i) * 40 * time.Millisecond),
			Runs: []schemas.Run{
				{Track: schemas.VideoTrack, Samples: []schemas.Sample{{DTS: int64(i) * frame, Duration: frame, Sync: i == 0, Data: []byte(data)}}},
				{Track: schemas.AudioTrack, Samples: []schemas.Sample{{DTS: int64(i) * 1920, Duration: 1920, Sync: true, Data: []byte("sound")}}},
			},
		}
		if i == 0 {
			c.Tracks = []schemas.Track{
				{ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale},
				{ID: schemas.AudioTrack, Codec: schemas.AAC, Timescale: 48000},
			}
		}
		chunks = append(chunks, c)
	}
	return processors.NewFragment("front-door", e, chunks...)
}
