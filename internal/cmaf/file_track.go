package cmaf

import (
	"errors"
	"math"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/framelog/framelog/schemas"
)

// trackTable holds the sample tables of one track of a file (ISO/IEC 14496-12 sections 8.6
// and 8.7). All but the sizes of samples are stored as runs of equal values.
type trackTable struct {
	track schemas.Track
	since int64 // sound that ends before it is not in the tables
	until int64 // nor is what is shown then or later

	times  mp4.SttsBox
	comp   mp4.CttsBox
	sizes  mp4.StszBox
	chunks mp4.StscBox
	sync   mp4.StssBox
	places mp4.Co64Box // of chunks, behind the header of the mdat

	pending  []row  // the last samples, if all of them are shown at until or later
	inChunk  uint32 // samples of the chunk that is not in chunks yet
	first    int64  // DTS of the first sample
	at       int64  // DTS of the last sample, as the table has it
	duration uint32 // of the last sample, which is not in times yet
	reorders bool   // a sample has a composition offset
}

// row is what the tables tell about a sample.
type row struct {
	place    int64 // behind the header of the mdat
	dts      int64
	offset   int32
	duration uint32
	size     uint32
	sync     bool
	first    bool // it begins a chunk: a run of samples that stand one after another
}

// soundBefore is how much sound before the first that is heard stands in the tables, so that
// its decoder has begun by then. Opus needs 80 ms (RFC 7845 section 4.6), AAC one frame.
const soundBefore = schemas.MediaTimescale / 10

func newTrackTable(t schemas.Track, from, to int64) *trackTable {
	table := &trackTable{
		track: t, comp: mp4.CttsBox{Version: 1, EndSampleNr: []uint32{0}}, since: math.MinInt64,
		until: schemas.Rescale(to, schemas.MediaTimescale, t.Timescale),
	}
	if !t.Codec.Video() {
		table.since = schemas.Rescale(from-soundBefore, schemas.MediaTimescale, t.Timescale)
	}
	return table
}

func (t *trackTable) samples() int { return len(t.sizes.SampleSize) }

var (
	errHole = errors.New("a hole in its times is longer than 32 bits can tell")
	errMany = errors.New("it has more samples than 32 bits can count")
)

// rowsOf makes the rows of samples that stand one after another at a position.
func rowsOf(samples []schemas.Sample, place int64) []row {
	rows := make([]row, len(samples))
	for i, s := range samples {
		rows[i] = row{place: place, dts: s.DTS, offset: s.PTSOffset, duration: s.Duration, size: uint32(len(s.Data)), sync: s.Sync}
		place += int64(len(s.Data))
	}
	return rows
}

// add adds samples that stand one after another.
func (t *trackTable) add(rows []row) error {
	if t.samples()+len(t.pending)+len(rows) > math.MaxUint32 {
		return errMany
	}
	first := true
	for _, r := range rows {
		if r.dts+int64(r.duration) <= t.since {
			continue
		}
		r.first, first = first, false
		t.pending = append(t.pending, r)
		if r.dts+int64(r.offset) >= t.until {
			continue
		}
		for _, r := range t.pending {
			if err := t.addRow(r); err != nil {
				return err
			}
		}
		t.pending = t.pending[:0]
	}
	return nil
}

func (t *trackTable) addRow(r row) error {
	if err := t.addTime(r.dts); err != nil {
		return err
	}
	t.duration = r.duration
	t.addOffset(r.offset)
	t.sizes.SampleSize = append(t.sizes.SampleSize, r.size)
	if r.sync {
		t.sync.SampleNumber = append(t.sync.SampleNumber, uint32(t.samples()))
	}
	if r.first {
		if err := t.endChunk(); err != nil {
			return err
		}
		t.places.ChunkOffset = append(t.places.ChunkOffset, uint64(r.place))
	}
	t.inChunk++
	return nil
}

func (t *trackTable) endChunk() error {
	n, all := t.inChunk, t.chunks.Entries
	if t.inChunk = 0; n == 0 || len(all) > 0 && all[len(all)-1].SamplesPerChunk == n {
		return nil
	}
	return t.chunks.AddEntry(uint32(len(t.places.ChunkOffset)), n, 1)
}

// addTime ends the sample before at the time of the next one. Where footage is missing the
// sample before lasts until then. Where times overlap it lasts for no time.
func (t *trackTable) addTime(dts int64) error {
	if t.samples() == 0 {
		t.first, t.at = dts, dts
		return nil
	}
	delta := max(0, dts-t.at)
	if delta > math.MaxUint32 {
		return errHole
	}
	t.at += delta
	t.endSample(uint32(delta))
	return nil
}

func (t *trackTable) endSample(duration uint32) {
	b := &t.times
	if last := len(b.SampleTimeDelta) - 1; last >= 0 && b.SampleTimeDelta[last] == duration {
		b.SampleCount[last]++
		return
	}
	b.SampleTimeDelta = append(b.SampleTimeDelta, duration)
	b.SampleCount = append(b.SampleCount, 1)
}

func (t *trackTable) addOffset(offset int32) {
	t.reorders = t.reorders || offset != 0
	b, n := &t.comp, uint32(t.samples()+1)
	if last := len(b.SampleOffset) - 1; last >= 0 && b.SampleOffset[last] == offset {
		b.EndSampleNr[last+1] = n
		return
	}
	b.SampleOffset = append(b.SampleOffset, offset)
	b.EndSampleNr = append(b.EndSampleNr, n)
}

// trak makes the box of the track, once. It shows the media time [from, to), in ticks of
// schemas.MediaTimescale.
func (t *trackTable) trak(from, to int64, created uint64) (*mp4.TrakBox, error) {
	trak, err := emptyTrak(t.track)
	if err != nil {
		return nil, err
	}
	for _, r := range t.pending { // the last picture may be shown until after t.until
		if r.dts+int64(r.offset) >= schemas.Rescale(to, schemas.MediaTimescale, t.track.Timescale) {
			break
		}
		if err := t.addRow(r); err != nil {
			return nil, err
		}
	}
	media := t.at + int64(t.duration) - t.first
	edits := t.edits(from, to, media)
	edts := &mp4.EdtsBox{}
	edts.AddChild(&mp4.ElstBox{Version: 1, Entries: edits})
	trak.Edts, trak.Children = edts, []mp4.Box{trak.Tkhd, edts, trak.Mdia}
	trak.Tkhd.Version, trak.Tkhd.CreationTime, trak.Tkhd.ModificationTime = 1, created, created
	for _, e := range edits {
		trak.Tkhd.Duration += e.SegmentDuration
	}
	mdhd := trak.Mdia.Mdhd
	mdhd.Version, mdhd.CreationTime, mdhd.ModificationTime, mdhd.Duration = 1, created, created, uint64(media)
	stbl := trak.Mdia.Minf.Stbl
	stsd := stbl.Stsd
	*stbl = mp4.StblBox{}
	t.endSample(t.duration)
	t.sizes.SampleNumber = uint32(t.samples())
	stbl.AddChild(stsd)
	stbl.AddChild(&t.times)
	if t.reorders {
		stbl.AddChild(&t.comp)
	}
	stbl.AddChild(&t.chunks)
	stbl.AddChild(&t.sizes)
	if len(t.sync.SampleNumber) < t.samples() { // else every sample is one
		stbl.AddChild(&t.sync)
	}
	stbl.AddChild(&t.places)
	return trak, t.endChunk()
}

// edits makes the edit list that shows the media time [from, to) of a track with media ticks
// of samples. The time before its first sample is an empty edit.
func (t *trackTable) edits(from, to, media int64) (all []mp4.ElstEntry) {
	scale := t.track.Timescale
	begin := schemas.Rescale(t.first, scale, schemas.MediaTimescale)
	end := schemas.Rescale(t.first+media, scale, schemas.MediaTimescale)
	if t.track.Codec.Video() {
		end = to // composition offsets may be above the duration of the last sample
	}
	begin, end = min(max(from, begin), to), min(to, end)
	if begin > from {
		all = append(all, mp4.ElstEntry{SegmentDuration: uint64(begin - from), MediaTime: -1, MediaRateInteger: 1})
	}
	if end > begin {
		start := max(0, schemas.Rescale(begin, schemas.MediaTimescale, scale)-t.first)
		all = append(all, mp4.ElstEntry{SegmentDuration: uint64(end - begin), MediaTime: start, MediaRateInteger: 1})
	}
	return all
}
