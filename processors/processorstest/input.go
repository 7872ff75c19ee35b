package processorstest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/schemas"
)

// live is the same fragment with other chunks.
func (in *input) live(chunk func(context.Context, int) (*schemas.Chunk, error), entry func(context.Context) (schemas.Entry, error)) *processors.Fragment {
	f := processors.NewLiveFragment(in.Camera, in.Life, in.chunks[0], chunk, entry)
	f.Input = in.Input
	return f
}

// fingerprint names all that a processor can see of a fragment.
func (in *input) fingerprint() string {
	h := sha256.New()
	f := in.Fragment
	fmt.Fprintf(h, "%q %q %q %d %d %v %v %d %+v %v %v %d\n", f.Camera, f.Input, f.Life, f.Session, f.Seq, f.Layout, f.Start,
		f.Media, f.Tracks, f.OpenGOP, f.KeyframeOnly, f.Attempt)
	for _, c := range in.chunks {
		b, err := schemas.EncodeChunk(c)
		fmt.Fprintf(h, "%v %s\n", err, b)
	}
	return string(h.Sum(nil))
}

func (in *input) changed() bool { return in.fingerprint() != in.print }

// lines describes an output, a line for each part of it.
func lines(r *processors.Result) []string {
	var all []string
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	for _, name := range slices.Sorted(maps.Keys(r.Chunks)) {
		for _, c := range r.Chunks[name] {
			head := *c
			head.Runs, head.Lineage = nil, nil
			add("rendition %s, chunk %d: %+v", name, c.Index, head)
			for _, run := range c.Runs {
				for i, s := range run.Samples {
					add("rendition %s, chunk %d, track %d, sample %d: %s", name, c.Index, run.Track, i, describe(s, run.Track))
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Notes)) {
		add("note of %s: %s", name, r.Notes[name])
	}
	for _, e := range r.Events {
		b, err := json.Marshal(e)
		add("event: %s %v", b, err)
	}
	for _, name := range slices.Sorted(slices.Values(r.Filtered)) {
		add("rendition %s: no output", name)
	}
	return all
}

func describe(s schemas.Sample, track uint8) string {
	data := fmt.Sprintf("%d bytes with SHA-256 %x", len(s.Data), sha256.Sum256(s.Data))
	if track == schemas.DataTrack {
		data = string(s.Data)
	}
	return fmt.Sprintf("at %d%+d for %d, sync %v, %s", s.DTS, s.PTSOffset, s.Duration, s.Sync, data)
}

// difference shows the first line that differs, "" if none does.
func difference(want, got []string) string {
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(want):
			return fmt.Sprintf("  alone: nothing more\n  now:   %s", got[i])
		case i >= len(got):
			return fmt.Sprintf("  alone: %s\n  now:   nothing more", want[i])
		case want[i] != got[i]:
			return fmt.Sprintf("  alone: %s\n  now:   %s", want[i], got[i])
		}
	}
	return ""
}
