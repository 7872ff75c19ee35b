package medialog

import (
	"time"

	"github.com/framelog/framelog/schemas"
)

// entry returns the next entry of a work: what the source's entry says, with its own
// copy, decoder configuration and note.
func (f *followCore) entry(w *followWork) *schemas.Entry {
	n := 1
	if !w.output {
		n = alike(w.sources, w.gap)
	}
	src := w.sources[0]
	e := src
	e.Offset, e.Prev, e.Epoch = 0, f.prev, f.epoch
	e.Role, e.Note = f.identity.Role, w.note
	e.Source = schemas.Copy{Epoch: src.Epoch, First: src.First, Chunks: src.Chunks}
	e.Bytes, e.Partition, e.First, e.Last, e.Chunks = 0, 0, 0, 0, 0
	if w.output {
		e.Layout, e.Config, e.OpenGOP = withCodecs(src.Layout, w.layout), w.config, w.openGOP
		e.Partition, e.Chunks = w.partition, uint32(len(w.chunks))
		e.First, e.Last = w.chunks[0].offset, w.chunks[len(w.chunks)-1].offset
		for _, c := range w.chunks {
			e.Bytes += c.bytes
		}
		return &e
	}
	e.Kind, e.OpenGOP, e.Config, e.Layout = schemas.KindGap, false, "", withCodecs(src.Layout, schemas.Layout{Part: src.Layout.Part})
	if f.last != nil {
		e.Config, e.Layout = f.last.Config, withCodecs(src.Layout, f.last.Layout)
	}
	if w.gap != "" {
		e.Reason = w.gap
	}
	if n > 1 {
		e.Source = schemas.Copy{Epoch: src.Epoch}
		e.Run = &schemas.GapRun{}
		e.Duration = 0
		for _, s := range w.sources[:n] {
			e.Run.Durations = append(e.Run.Durations, s.Duration)
			e.Duration += s.Duration
		}
	}
	return &e
}

// alike returns how many of the sources, which get gaps with one reason, one entry can
// stand for.
func alike(sources []schemas.Entry, reason string) int {
	a := &sources[0]
	n := 1
	for n < len(sources) && n < schemas.MaxGapRun && joins(a, &sources[n-1], &sources[n], reason) {
		n++
	}
	return n
}

// joins reports whether the entry for the sources from a to p can stand for s too. That
// entry has the absence, Ended and Lost of a, so s must have none of these. Ended and Lost
// would be taken for those of the last gap, so p must not have them either.
func joins(a, p, s *schemas.Entry, reason string) bool {
	// Times are in microseconds in a record: their sums may differ by one or two.
	start := a.Start.Add(schemas.FromTicks(s.Media - a.Media))
	return s.Session == a.Session && s.Layout == a.Layout && s.Epoch == a.Epoch && (reason != "" || s.Reason == a.Reason) &&
		s.Media == p.MediaEnd() && s.Start.Sub(start).Abs() <= 2*time.Microsecond &&
		s.Absent == 0 && s.AbsentReason == "" && !s.Ended && !p.Ended && s.Lost == (schemas.Lost{}) && p.Lost == (schemas.Lost{})
}

// layoutOf returns the layout of chunks with these tracks. Id, target and part are the
// source's, so that all renditions' playlists promise the same.
func layoutOf(source schemas.Layout, tracks []schemas.Track) schemas.Layout {
	var own schemas.Layout
	for _, t := range tracks {
		switch t.ID {
		case schemas.VideoTrack:
			own.Video = t.Codec
		case schemas.AudioTrack:
			own.Audio = t.Codec
		case schemas.DataTrack:
			own.Data = t.Codec
		}
	}
	return withCodecs(source, own)
}

// withCodecs returns the source's layout with the codecs of own. MJPEG has no parts.
func withCodecs(source, own schemas.Layout) schemas.Layout {
	source.Video, source.Audio, source.Data = own.Video, own.Audio, own.Data
	if own.Video == schemas.MJPEG {
		source.Part = 0
	}
	return source
}

// resumption is what a follower does with the output that it finds.
type resumption int

const (
	goesOn     resumption = iota // behind its newest entry
	waits                        // until the source has the seq of the newest entry
	beginsAnew                   // the source does not have what the output was made of
)

// sourceState is what the source's index says when a follower resumes.
type sourceState struct {
	life   string         // of the newest entry or `open`
	oldest *schemas.Entry // that takes a seq; nil: there is none
	newest *schemas.Entry
	same   *schemas.Entry // of the output's newest seq; nil: there is none

	elsewhere bool // the log has no entry, and another store has footage of this life
}

// resumptionOf decides whether an output can be continued. last is its newest entry. If
// the source was deleted and has begun anew, or has another copy of that seq (as when a
// broker has lost its newest records), nothing in the output is known to be right.
func resumptionOf(last *schemas.Entry, s sourceState) resumption {
	switch {
	case last == nil:
		return goesOn
	case s.life != last.Life:
		return beginsAnew
	case s.elsewhere:
		return goesOn
	case s.newest == nil || s.newest.Seq < last.Seq:
		return waits
	case s.oldest.Seq > last.Seq:
		return goesOn
	case s.same == nil || s.same.Epoch != last.Source.Epoch || s.same.Media != last.Media || s.same.Duration != last.Duration:
		return beginsAnew
	case last.Source.Chunks > 0 && (s.same.First != last.Source.First || s.same.Chunks != last.Source.Chunks):
		return beginsAnew
	}
	return goesOn
}
