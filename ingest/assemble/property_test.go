package assemble

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/codec/codectest"
	"github.com/framelog/framelog/schemas"
)

// chaos makes a camera's units of random bytes: three a unit, what it does and
// by how much.
func chaos(script []byte) []any {
	const frame = 3000
	tracks := stream{aac: true}.tracks()
	var calls []any
	calls = append(calls, tracks)
	now, pts, apts := epoch, int64(1<<33), int64(1<<33)*48/90
	for n := uint64(0); len(script) >= 3; n, script = n+1, script[3:] {
		arg := int64(binary.LittleEndian.Uint16(script[1:]))
		u := ingest.Unit{Track: 1, Captured: now, Data: codectest.Unit264(n%40 == 0, n, 20+int(arg%100))}
		switch script[0] % 32 {
		case 0: // the camera's clock is set
			pts += (arg - 1<<15) * 1000
		case 1: // ingest's is
			now = now.Add(time.Duration(arg-1<<15) * time.Millisecond)
		case 2: // a hole
			pts += arg * 10
			now = now.Add(schemas.FromTicks(arg * 10))
		case 3:
			u.Broken = true
		case 4:
			u.Lost = uint32(arg)
		case 5:
			u.Data = u.Data[:arg%int64(len(u.Data))]
		case 6: // no picture
			u.Data = []byte{0, 0, 0, 2, 6, 1}
		case 7: // reordered
			u.PTS = (arg%16 - 8) * frame
		case 8: // the same time again
			pts -= frame
		case 9:
			calls = append(calls, tracks[:1+arg%2])
			continue
		case 10:
			t := stream{aac: arg&1 != 0, config: codectest.H264{Reorder: int(arg%5) - 1, Width: 16 + int(arg%2)*16, Height: 16}.Config()}.tracks()
			calls = append(calls, t)
			continue
		case 11:
			if arg%8 == 0 {
				calls = append(calls, "flush", tracks)
				continue
			}
		case 12, 13, 14: // keyframes
			u.Data[4] = 0x65
		case 15: // the sound's clock is set
			apts += (arg - 1<<15) * 1000
		case 16, 17, 18, 19, 20, 21: // sound
			u.Track, u.PTS = 2, arg%300-150
			if script[0]%32 == 16 {
				apts += arg // a hole
			}
			u.PTS += apts
			apts += 1024
			calls = append(calls, u)
			continue
		case 22: // a huge one
			u.Data = codectest.Unit264(arg&1 != 0, n, 5000)
		}
		u.PTS += pts
		pts += frame
		now = now.Add(schemas.FromTicks(frame))
		calls = append(calls, u)
	}
	return append(calls, "flush")
}

// holdTrue plays calls and says whether what comes out is what went in: every
// unit is once and unharmed in the chunks, in order, or is counted.
func holdTrue(t testing.TB, calls []any) {
	m := memory{t: t, loose: true, maxChunk: 4000}
	a := New(Config{Live: true, Camera: "c", MaxFragmentDuration: 4 * time.Second, MaxFragmentBytes: 20_000, MaxChunkBytes: 4000, AudioQueue: 50}, &m, nil)
	var in [3][]ingest.Unit
	for _, c := range calls {
		switch c := c.(type) {
		case []schemas.Track:
			if err := a.Tracks(c); err != nil {
				t.Fatal(err)
			}
		case ingest.Unit:
			in[c.Track] = append(in[c.Track], c)
			if err := a.Unit(c); err != nil {
				t.Fatal(err)
			}
		default:
			a.Flush()
		}
		if n := len(a.session.lead); n > leadMax {
			t.Fatalf("lead of %d units", n)
		}
		if a.sound != nil && len(a.sound.queue) > 50 {
			t.Fatalf("queue of %d frames", len(a.sound.queue))
		}
		if n := len(a.session.order.shown); n > 3*maxDepth {
			t.Fatalf("%d times kept", n)
		}
	}
	if m.open != nil {
		t.Error("a fragment is open at the end")
	}
	out := 0
	for track := uint8(1); track <= 2; track++ {
		i := 0
		for _, s := range m.samples(track) {
			for i < len(in[track]) && string(in[track][i].Data) != string(s.Data) {
				i++
			}
			if i == len(in[track]) {
				t.Fatalf("track %d: a sample is no unit, or is out of order, or is there twice", track)
			}
			i++
			out++
		}
	}
	dropped := 0.0
	for _, reason := range []string{dropBeforeKeyframe, dropBroken, dropInvalid, dropGap, dropQueue, dropAudio, dropNoTrack} {
		dropped += testutil.ToFloat64(a.m.dropped.WithLabelValues("c", reason))
	}
	if got, want := out+int(dropped), len(in[1])+len(in[2]); got != want {
		t.Errorf("%d units written and %v counted, of %d", out, dropped, want)
	}
}

func TestEveryUnitIsWrittenOrCounted(t *testing.T) {
	for seed := range uint64(400) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 2))
			script := make([]byte, 3*(50+rnd.IntN(1500)))
			calm := rnd.IntN(20) // most units of most cameras are plain
			for i := range script {
				script[i] = byte(rnd.Uint32())
				if i%3 == 0 && rnd.IntN(20) < calm {
					script[i] = 31
				}
			}
			holdTrue(t, chaos(script))
		})
	}
}

func FuzzAssembler(f *testing.F) {
	for seed := range uint64(8) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		script := make([]byte, 600)
		for i := range script {
			script[i] = byte(rnd.Uint32())
		}
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 30_000 {
			return
		}
		holdTrue(t, chaos(script))
	})
}

// nothing is a recorder that throws everything away.
type nothing struct{}

func (nothing) NewSession(string)                   {}
func (nothing) Write(*schemas.Chunk) error          { return nil }
func (nothing) Truncate(string)                     {}
func (nothing) Gap(time.Time, int64, int64, string) {}
func (nothing) Lost(schemas.Lost)                   {}

func BenchmarkUnit(b *testing.B) {
	for name, s := range map[string]stream{
		"plain":    {frame: 3000, gop: 60, size: 16000},
		"b-frames": {frame: 3000, gop: 61, size: 16000, reorder: []int{2, 0, 1}, config: codectest.H264{Reorder: 1}.Config()},
		"sound":    {frame: 3000, gop: 60, size: 16000, aac: true},
	} {
		b.Run(name, func(b *testing.B) {
			us := s.units(2 * time.Second * 61 / 60)
			a := New(Config{Live: true}, nothing{}, nil)
			if err := a.Tracks(s.tracks()); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			span, ticks := time.Duration(0), int64(0)
			for i := 0; b.Loop(); i++ {
				u := us[i%len(us)]
				if i > 0 && i%len(us) == 0 {
					span += us[len(us)-1].Captured.Sub(us[0].Captured)
					ticks = schemas.Ticks(span)
				}
				u.Captured = u.Captured.Add(span)
				if u.Track == 1 {
					u.PTS += ticks
				} else {
					u.PTS += schemas.Rescale(ticks, 90000, 48000)
				}
				_ = a.Unit(u)
			}
		})
	}
}
