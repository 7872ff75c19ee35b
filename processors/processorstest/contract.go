package processorstest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/schemas"
)

// slack is how far an output may reach beyond its fragment: encoders round times, and
// frames of sound do not end where pictures do.
const slack = 50 * time.Millisecond

// contract returns what readers of the log could not use in an output.
func contract(p *processors.Processor, in *input, r *processors.Result) []string {
	c := &checker{in: in}
	c.from, c.until = in.span()
	for _, o := range p.Renditions() {
		c.rendition(o, r.Chunks[o.Name])
	}
	for _, e := range r.Events {
		c.event(e)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Notes)) {
		if n := r.Notes[name]; len(n) > schemas.MaxNote || !json.Valid([]byte(n)) {
			c.fault("the note of rendition %s must be JSON of at most %d bytes; it is %q", name, schemas.MaxNote, n)
		}
	}
	return c.faults
}

// span is when the fragment begins and ends, in ticks of schemas.MediaTimescale: of its
// decode times and of the times when its samples are shown.
func (in *input) span() (from, until int64) {
	from, until = in.e.Media, in.e.Media+in.e.Duration
	for _, c := range in.chunks {
		for _, run := range c.Runs {
			for _, s := range run.Samples {
				a, b := times(s, scaleOf(in.Tracks, run.Track))
				from, until = min(from, a), max(until, b)
			}
		}
	}
	return from, until
}

// times is when a sample begins, decoded or shown, and when it ends.
func times(s schemas.Sample, scale uint32) (from, until int64) {
	shown := s.DTS + int64(s.PTSOffset)
	return schemas.Rescale(min(s.DTS, shown), scale, schemas.MediaTimescale),
		schemas.Rescale(max(s.DTS, shown)+int64(s.Duration), scale, schemas.MediaTimescale)
}

func scaleOf(tracks []schemas.Track, id uint8) uint32 {
	for _, t := range tracks {
		if t.ID == id {
			return t.Timescale
		}
	}
	return 0
}

type checker struct {
	in          *input
	from, until int64
	faults      []string
}

func (c *checker) fault(format string, args ...any) {
	c.faults = append(c.faults, fmt.Sprintf(format, args...))
}

// rendition checks the chunks of a rendition. Of many faults of a kind it tells the first.
func (c *checker) rendition(o processors.Rendition, chunks []*schemas.Chunk) {
	ends := map[uint8]int64{} // of the tracks, in their timescales
	for i, chunk := range chunks {
		at := fmt.Sprintf("rendition %s, chunk %d", o.Name, i)
		if i == 0 && !c.tracks(at, o, chunk.Tracks) {
			return
		}
		before := len(c.faults)
		if i > 0 && len(chunk.Tracks) > 0 {
			c.fault("%s: only the first chunk of a fragment has tracks", at)
		}
		if off := chunk.Start.Sub(c.in.Time(chunk.MediaStart())).Abs(); off > time.Millisecond {
			c.fault("%s: its Start is %v, and the public time of its media time is %v (Fragment.Time)", at, chunk.Start, c.in.Time(chunk.MediaStart()))
		}
		for _, run := range chunk.Runs {
			c.run(fmt.Sprintf("%s, track %d", at, run.Track), chunks[0].Tracks, run, ends)
		}
		if v := chunk.Video(); i == 0 && len(v) > 0 && !v[0].Sync {
			c.fault("%s: a fragment begins with a picture that decodes alone (Sync)", at)
		}
		if _, err := schemas.EncodeChunk(chunk); err != nil && len(c.faults) == before {
			c.fault("%s: %v", at, err)
		}
		if len(c.faults) > before {
			return
		}
	}
}

func (c *checker) tracks(at string, o processors.Rendition, tracks []schemas.Track) bool {
	before := len(c.faults)
	if len(tracks) == 0 {
		c.fault("%s: the first chunk of a fragment needs Tracks", at)
	}
	seen := map[uint8]bool{}
	for _, t := range tracks {
		switch {
		case t.Timescale == 0:
			c.fault("%s: track %d has no timescale", at, t.ID)
		case t.Codec.Video() && (t.ID != schemas.VideoTrack || t.Timescale != schemas.MediaTimescale):
			c.fault("%s: pictures must be track %d with timescale %d; they are track %d with %d", at, schemas.VideoTrack, schemas.MediaTimescale, t.ID, t.Timescale)
		case t.Codec.Video() && (t.Width == 0 || t.Height == 0):
			c.fault("%s: the track of pictures has no size", at)
		case seen[t.ID]:
			c.fault("%s: two tracks have the id %d", at, t.ID)
		case (t.Codec == schemas.JSON) != (o.Role == schemas.RoleData):
			c.fault("%s: a rendition of role %s has a track of codec %s", at, o.Role, t.Codec)
		}
		seen[t.ID] = true
	}
	return len(c.faults) == before
}

// run checks the samples of a track in a chunk. ends is where its former samples end.
func (c *checker) run(at string, tracks []schemas.Track, run schemas.Run, ends map[uint8]int64) {
	scale := scaleOf(tracks, run.Track)
	if scale == 0 {
		c.fault("%s: it is not one of the fragment's tracks", at)
		return
	}
	for i, s := range run.Samples {
		from, until := times(s, scale)
		end, follows := ends[run.Track]
		switch {
		case follows && s.DTS < end:
			c.fault("%s, sample %d: media time goes back: it begins at %d, and the one before ends at %d", at, i, s.DTS, end)
		case from < c.from-schemas.Ticks(slack) || until > c.until+schemas.Ticks(slack):
			c.fault("%s, sample %d: it is from %d to %d of media time, and the fragment from %d to %d", at, i, from, until, c.from, c.until)
		case len(s.Data) == 0:
			c.fault("%s, sample %d: it is empty", at, i)
		case run.Track == schemas.DataTrack && !json.Valid(s.Data):
			c.fault("%s, sample %d: it is no JSON", at, i)
		default:
			ends[run.Track] = s.DTS + int64(s.Duration)
			continue
		}
		return
	}
}

func (c *checker) event(e schemas.Event) {
	from, until := c.in.Time(c.from).Add(-slack), c.in.Time(c.until).Add(slack)
	if e.Start.Before(from) || e.End.After(until) || e.End.Before(e.Start) {
		c.fault("event %q is from %v to %v, and the fragment from %v to %v", e.Type, e.Start, e.End, c.in.Time(c.from), c.in.Time(c.until))
	}
}
