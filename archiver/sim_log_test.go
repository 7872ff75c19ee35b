package archiver

import (
	"context"
	"encoding/binary"
	"iter"
	"slices"

	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// simLog is the log of one camera, as its readers see it. Each fragment has one chunk. Lost.Packets
// of an entry is a number that no other entry has, and the chunk's bytes tell it.
type simLog struct {
	life    string
	index   []schemas.Entry // also those that have expired; at their offsets
	start   int64           // the first offset of the index that has not expired
	media   [2]int64        // ends of the media partitions
	expired [2]int64        // the first offsets that have not expired
	jumps   uint64          // how often numbers have jumped
	id      uint32
	clock   int64 // media time of the world
	session uint64
	config  int
}

// gone reports whether the footage of an entry has expired.
func (l *simLog) gone(e *schemas.Entry) bool {
	return e.Offset < l.start || e.Playable() && e.First < l.expired[e.Partition]
}

// visible returns what the log shows: all entries behind the newest one that has expired.
func (l *simLog) visible() (all []schemas.Entry) {
	for _, e := range slices.Backward(l.index) {
		if l.gone(&e) {
			break
		}
		if e.Footage() {
			run := slices.Collect(e.Expand())
			slices.Reverse(run)
			all = append(all, run...)
		}
	}
	slices.Reverse(all)
	return all
}

// next returns the seq behind the newest entry; 0 if there is none.
func (l *simLog) next() uint64 {
	for _, e := range slices.Backward(l.index) {
		if e.Footage() {
			return e.LastSeq() + 1
		}
	}
	return 0
}

// above returns a seq above all that there have been.
func (l *simLog) above() uint64 { l.jumps++; return l.jumps * 1_000_000 }

// open begins a writer. from is not 0 if its numbers begin behind a hole.
func (l *simLog) open(from uint64) {
	l.session++
	l.index = append(l.index, schemas.Entry{Offset: int64(len(l.index)), Kind: schemas.KindOpen, Life: l.life, From: from})
}

// add appends an entry of a kind. gaps, if above 1, makes a run of gaps of it.
func (l *simLog) add(kind schemas.Kind, seconds int64, gaps int) schemas.Entry {
	epoch, seq := int64(-1), l.next()
	for _, e := range slices.Backward(l.index) {
		if e.Footage() && epoch >= 0 {
			break
		}
		if e.Kind == schemas.KindOpen {
			epoch = max(epoch, e.Offset)
			if e.From > 0 {
				seq = max(seq, e.From)
				break
			}
		}
	}
	l.id++
	e := schemas.Entry{
		Offset: int64(len(l.index)), Kind: kind, Life: l.life, Seq: seq, Session: l.session, Epoch: epoch,
		Media: l.clock, Start: testmedia.Start.Add(schemas.FromTicks(l.clock)), Duration: seconds * schemas.MediaTimescale,
		Layout: schemas.Layout{Target: 30, Part: schemas.MediaTimescale, Video: schemas.H264}, Lost: schemas.Lost{Packets: l.id},
	}
	if e.Playable() {
		p := seq % 2
		e.Config, e.Chunks, e.Bytes, e.Partition, e.First, e.Last = schemas.ConfigHash(simTracks(l.config)), 1, 100, int32(p), l.media[p], l.media[p]
		l.media[p]++
	} else {
		e.Reason = schemas.ReasonBudget
	}
	if gaps > 1 {
		e.Run = &schemas.GapRun{Durations: slices.Repeat([]int64{e.Duration}, gaps)}
		e.Duration *= int64(gaps)
	}
	l.clock += e.Duration
	l.index = append(l.index, e)
	return e
}

// cut loses the newest n records, as a power cut does of a broker that does not wait for its disk.
// What has expired is older than that.
func (l *simLog) cut(n int) {
	for n > 0 && len(l.index) > 0 && !l.gone(&l.index[len(l.index)-1]) {
		l.index, n = l.index[:len(l.index)-1], n-1
	}
	l.media = l.expired
	for _, e := range l.index {
		if e.Playable() {
			l.media[e.Partition] = max(l.media[e.Partition], e.Last+1)
		}
	}
}

// purge deletes all. The next writer begins a new life.
func (l *simLog) purge() {
	*l = simLog{life: l.life + "x", jumps: l.jumps, id: l.id, clock: l.clock}
	l.open(l.above())
}

func simTracks(config int) []schemas.Track {
	return []schemas.Track{{
		ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale, Config: testmedia.AVCC, Width: uint16(320 + 16*config), Height: 180,
	}}
}

// simChunk is the footage of an entry.
func simChunk(e *schemas.Entry) *schemas.Chunk {
	c := &schemas.Chunk{
		Epoch: e.Epoch, Session: e.Session, Seq: e.Seq, Last: true, Layout: e.Layout, Start: e.Start, Captured: e.Start,
		Runs: []schemas.Run{{Track: schemas.VideoTrack}},
	}
	for config := range 3 {
		if c.Tracks = simTracks(config); schemas.ConfigHash(c.Tracks) == e.Config {
			break
		}
	}
	for i := range int64(2) {
		data := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 5, byte(0x65 - 0x24*i)}, e.Lost.Packets)
		c.Runs[0].Samples = append(c.Runs[0].Samples, schemas.Sample{DTS: e.Media + i*e.Duration/2, Duration: uint32(e.Duration / 2), Sync: i == 0, Data: data})
	}
	return c
}

// simReader is the log as one archiver reads it: the archiver may stop at each step.
type simReader struct {
	*simLog
	p *simProcess
}

var _ Log = simReader{}

func (r simReader) Topics(context.Context) ([]schemas.Topic, error) {
	return []schemas.Topic{raw}, nil
}

func (r simReader) IndexEnd(context.Context, schemas.Topic) (int64, error) {
	r.p.pause()
	return int64(len(r.index)), nil
}

func (r simReader) Life(context.Context, schemas.Topic) (string, error) {
	r.p.pause()
	return r.life, nil
}

func (r simReader) Newest(context.Context, schemas.Topic) (schemas.Entry, error) {
	r.p.pause()
	if all := r.visible(); len(all) > 0 {
		return all[len(all)-1], nil
	}
	return schemas.Entry{}, medialog.ErrNotFound
}

func (r simReader) Entries(_ context.Context, _ schemas.Topic, in medialog.Range) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		for _, e := range r.visible() {
			if r.p.w.chance(0.1) {
				r.p.pause()
			}
			if in.Has(&e) && !yield(e, nil) {
				return
			}
		}
	}
}

func (r simReader) Chunks(_ context.Context, _ schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	return func(yield func(*schemas.Chunk, error) bool) {
		r.p.pause()
		switch {
		case e.Life != r.life || e.First >= r.media[e.Partition]:
			yield(nil, medialog.ErrBeyond)
		case r.gone(&e):
			yield(nil, medialog.ErrExpired)
		default:
			yield(simChunk(&e), nil)
		}
	}
}

// newestArchived is what a new writer asks an archive.
func newestArchived(dir archive.Dir, life string) (schemas.Entry, bool) {
	_, newest, err := archive.NewSet(dir, nil, nil).Bounds(context.Background(), archive.Series{Life: life, Topic: raw})
	return newest, err == nil
}
