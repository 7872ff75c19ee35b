// Package clip makes MP4 files of ranges of footage, without encoding anything. [Plan] finds
// the files that a range needs, [Clip.Prepare] reads the footage once, of segments in files
// the tables alone, and makes a file's header, and [File.Reader] reads the footage a second time
// and gives the bytes. See [cmaf.File] for the form of the files.
package clip

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/when"
	"github.com/framelog/framelog/schemas"
)

// Log is the part of the log that this package uses; *medialog.Log implements it.
type Log interface {
	Entries(ctx context.Context, t schemas.Topic, r medialog.Range) iter.Seq2[schemas.Entry, error]
	Chunks(ctx context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error]
}

// ErrNone is returned if there is no footage in a range.
var ErrNone = errors.New("clip: there is no footage in this range")

// MuxError is returned if the log has given footage that cannot stand in an MP4 file.
type MuxError struct{ Err error }

func (e *MuxError) Error() string { return e.Err.Error() }

func (e *MuxError) Unwrap() error { return e.Err }

// Clip is a range of one session and one configuration, so one file can hold it: its tracks
// stay the same, and its times go on. Between two of its fragments footage may be missing.
type Clip struct {
	Topic schemas.Topic
	// From and To are what the range has of this session and configuration, in public time.
	From, To time.Time
	to       time.Time       // that was asked for
	entries  []schemas.Entry // that can be played, in order
}

const (
	// lead is how long before a range the fragment before it is looked for. Its last pictures
	// may be shown after its end: decode times are up to 16 pictures before they are shown.
	lead = 2 * time.Second
	// longestHole is the longest time without footage in a file. 32 bits can tell it in
	// any timescale of up to 96 kHz.
	longestHole = 12 * time.Hour
)

// Plan finds the clips of a range [from, to) of public time, in order. It keeps the entries of
// the range, about 0.5 KB for each fragment. Errors: ErrNone; those of the log.
func Plan(ctx context.Context, log Log, t schemas.Topic, from, to time.Time) ([]*Clip, error) {
	var all []*Clip
	var last *Clip
	var before *schemas.Entry // the last fragment that ends before the range
	for e, err := range log.Entries(ctx, t, medialog.Range{From: from.Add(-lead), To: to}) {
		switch {
		case errors.Is(err, medialog.ErrNoTopic):
			return nil, ErrNone
		case err != nil:
			return nil, fmt.Errorf("clip: %w", err)
		case !e.Playable():
			continue
		case !e.End().After(from):
			before = &e
			continue
		}
		if last == nil || !goesOn(&last.entries[len(last.entries)-1], &e) {
			last = &Clip{Topic: t, From: when.Later(from, e.Start), to: to}
			all = append(all, last)
			if before != nil && goesOn(before, &e) {
				last.entries = append(last.entries, *before)
			}
		}
		last.entries = append(last.entries, e)
		last.To = when.Earlier(to, e.End())
	}
	if len(all) == 0 {
		return nil, ErrNone
	}
	return all, nil
}

// goesOn reports whether one file can hold two fragments, of which b comes next.
func goesOn(a, b *schemas.Entry) bool {
	return a.Session == b.Session && a.Config == b.Config && b.Media-a.MediaEnd() < schemas.Ticks(longestHole)
}

// Whole is the clip of all that fragments show. They are in order, can be played, and have one
// session and one configuration.
func Whole(t schemas.Topic, entries []schemas.Entry) *Clip {
	last := &entries[len(entries)-1]
	return &Clip{Topic: t, From: entries[0].Start, To: last.End(), to: last.End().Add(lead), entries: entries}
}

// Seq is the number of the first fragment of the range. No other clip of the range has it.
func (c *Clip) Seq() uint64 {
	if len(c.entries) > 1 && !c.entries[0].End().After(c.From) { // it is the one before the range
		return c.entries[1].Seq
	}
	return c.entries[0].Seq
}

// Has reports whether a fragment is in the clip.
func (c *Clip) Has(seq uint64) bool {
	return slices.ContainsFunc(c.entries, func(e schemas.Entry) bool { return e.Seq == seq })
}

// Bytes is about how many bytes of footage Prepare reads.
func (c *Clip) Bytes() (n int64) {
	for i := range c.entries {
		n += c.entries[i].Bytes
	}
	return n
}

// Key names the bytes of the clip's file before it is made: clips with the same key have equal
// files.
func (c *Clip) Key() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s %v %d %d %d\n", cmaf.Version, c.Topic, c.From.UnixNano(), c.To.UnixNano(), c.to.UnixNano())
	for i := range c.entries {
		writeEntry(h, &c.entries[i])
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Prepare reads the footage of the clip and makes the header of its file. Of a segment in a file
// (Files) it reads the tables alone, and does not compare the rest with its sum. It holds one chunk of
// the log, or one fragment of an archive, at a time, and what [cmaf.File] keeps of each sample. It calls read after each
// fragment with the bytes of its samples. Errors: ErrNone if no picture is shown in the range;
// a MuxError; those of the log.
func (c *Clip) Prepare(ctx context.Context, log Log, read func(bytes int64)) (*File, error) {
	f := &File{Topic: c.Topic, log: log}
	first, last := &c.entries[0], &c.entries[len(c.entries)-1]
	from, to := mediaTime(first, c.From), mediaTime(last, c.to)
	table := cmaf.NewFile(from, to)
	for i, e := range c.entries {
		if err := addFragment(ctx, log, c.Topic, e, table); err != nil {
			return nil, fmt.Errorf("clip: fragment %d: %w", e.Seq, err)
		}
		read(e.Bytes)
		_, _, shown := table.Shown()
		if next := i + 1; !shown && next < len(c.entries) && !c.entries[next].OpenGOP {
			// Nothing needs this fragment. Only the first one can come here.
			f.entries, f.ends, table = nil, nil, cmaf.NewFile(from, to)
			continue
		}
		f.entries, f.ends = append(f.entries, e), append(f.ends, table.Size())
	}
	shownFrom, shownTo, ok := table.Shown()
	if !ok {
		return nil, ErrNone
	}
	f.From, f.To = publicTime(first, shownFrom), publicTime(last, shownTo)
	header, err := table.Header(f.From)
	if err != nil {
		return nil, fmt.Errorf("clip: %w", &MuxError{err})
	}
	f.header = header
	return f, nil
}

// addFragment adds what the tables of a segment in a file tell, else the chunks.
func addFragment(ctx context.Context, log Log, t schemas.Topic, e schemas.Entry, to *cmaf.File) error {
	if files, ok := log.(Files); ok {
		s, err := files.Segment(ctx, t, e)
		if err != nil {
			return err
		}
		if s != nil {
			defer s.Close()
			damaged, err := to.AddSegment(s.Tracks, &e, io.NewSectionReader(s.File, s.At, s.Size), s.Size)
			if err == nil {
				return nil
			}
			if !damaged {
				return &MuxError{err}
			}
			// The log tells what is wrong with it, or has it elsewhere.
		}
	}
	var tracks []schemas.Track
	for chunk, err := range log.Chunks(ctx, t, e) {
		if err != nil {
			return err
		}
		if chunk.Index == 0 {
			tracks = chunk.Tracks
		}
		if err := to.Add(tracks, chunk); err != nil {
			return &MuxError{err}
		}
	}
	return nil
}

// mediaTime returns the media time of a public time in the session of an entry.
func mediaTime(e *schemas.Entry, t time.Time) int64 {
	return e.Media + schemas.Ticks(t.Sub(e.Start))
}

// publicTime is the opposite.
func publicTime(e *schemas.Entry, media int64) time.Time {
	return e.Start.Add(schemas.FromTicks(media - e.Media))
}
