package archive

import (
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/clip"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

// day writes a day of a camera with fragments of 2 s, which are all alike.
func day(b *testing.B, dir string) (count int) {
	b.Helper()
	p := place()
	one := log(testmedia.Synthetic(p, 1))
	one.entries(-1)
	e := one[0].Entry
	e.Duration *= 2
	var all []schemas.Entry
	for i := range 24 * 3600 / 2 {
		x := e
		x.Seq, x.Start, x.Media = e.Seq+uint64(i), e.Start.Add(time.Duration(i)*2*time.Second), e.Media+int64(i)*2*schemas.MediaTimescale
		x.First, x.Last, x.Offset = int64(5*i), int64(5*i+4), int64(i)
		all = append(all, x)
	}
	for file, err := range Cut(topic, each(all)) {
		if err != nil {
			b.Fatal(err)
		}
		box := trailer{Version: version, Muxer: "m1", Camera: topic.Camera, Header: make([]byte, 32)}
		at := int64(1000)
		for _, x := range file {
			enc, err := schemas.EncodeEntry(&x)
			if err != nil {
				b.Fatal(err)
			}
			first := *one[0].Chunks[0]
			first.Runs = nil
			head, err := schemas.EncodeChunk(&first)
			if err != nil {
				b.Fatal(err)
			}
			box.Entries = append(box.Entries, segment{Entry: enc, Offset: x.Offset, At: at, Size: 10, Sum: make([]byte, 32), First: head})
			at += 10
		}
		last, err := box.encode()
		if err != nil {
			b.Fatal(err)
		}
		path := fmt.Sprintf("%s/%s", dir, Path(topic, file))
		if err := os.MkdirAll(fmt.Sprintf("%s/life1/yard/raw", dir), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, append(make([]byte, at), last...), 0o600); err != nil {
			b.Fatal(err)
		}
		count += len(file)
	}
	return count
}

// BenchmarkEntries reads the entries of a day of 2 s fragments, by a process that has just started
// (cold) and by one that has read them before (warm).
func BenchmarkEntries(b *testing.B) {
	dir := b.TempDir()
	count := day(b, dir)
	of := Series{"life1", topic}
	read := func(s *Set) {
		n := 0
		for _, err := range s.Entries(b.Context(), of, medialog.Range{From: place().Start, To: place().Start.Add(24 * time.Hour)}) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != count {
			b.Fatalf("%d entries of %d", n, count)
		}
	}
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			read(NewSet(Local(dir), nil, nil))
		}
	})
	b.Run("warm", func(b *testing.B) {
		s := NewSet(Local(dir), nil, nil)
		read(s)
		for b.Loop() {
			read(s)
		}
	})
}

// BenchmarkClip makes a clip of a minute of 8 Mbit/s that the log does not hold any more.
func BenchmarkClip(b *testing.B) {
	p := place()
	k := &kafka{log: testmedia.Synthetic(p, 60)}
	k.entries(-1)
	for i := range k.log {
		f := &k.log[i]
		f.Entry.Bytes = 0
		for _, c := range f.Chunks {
			for n := range c.Runs[0].Samples {
				s := &c.Runs[0].Samples[n]
				s.Data = append(s.Data[:len(s.Data):len(s.Data)], make([]byte, 40_000)...)
			}
			f.Entry.Bytes += int64(c.Size())
		}
		k.all = append(k.all, f.Entry)
	}
	dir := b.TempDir()
	if err := Write(b.Context(), Local(dir), k.log, topic, k.all); err != nil {
		b.Fatal(err)
	}
	k.expired = 1 << 60
	j := NewJoined(k, NewSet(Local(dir), nil, nil))
	for b.Loop() {
		all, err := clip.Plan(b.Context(), j, topic, p.Start, p.Start.Add(time.Hour))
		if err != nil {
			b.Fatal(err)
		}
		f, err := all[0].Prepare(b.Context(), j, func(int64) {})
		if err != nil {
			b.Fatal(err)
		}
		r := f.Reader(b.Context())
		if n, err := io.Copy(io.Discard, r); err != nil || n != f.Size() {
			b.Fatal(n, err)
		}
		_ = r.Close()
		b.SetBytes(f.Size())
	}
}

// A day's entries in S3, each file of which is one request.
func BenchmarkDayInS3(b *testing.B) {
	d := s3Of(b, testenv.StartS3(b), nil)
	count := day(b, root(d))
	for b.Loop() {
		set := NewSet(d, nil, nil)
		n := 0
		for _, err := range set.Entries(b.Context(), Series{"life1", topic}, medialog.Range{From: testmedia.Start, To: testmedia.Start.Add(24 * time.Hour)}) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n < count-1000 {
			b.Fatalf("%d entries of %d", n, count)
		}
	}
}
