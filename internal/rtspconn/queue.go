package rtspconn

import (
	"sync"

	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/schemas"
)

// maxSkip is how many units of video are dropped at most in search of a random
// access point: a camera may send none.
const maxSkip = 1500

// Queue holds the units of an engine until one goroutine takes them. If it is full, whole units are dropped: those of the video up to the next random access
// point, since the units in between would not decode.
type Queue struct {
	maxUnits int
	maxBytes int64

	mu      sync.Mutex
	items   []Item
	spare   []Item // the slice that Take returned last
	bytes   int64
	dropped uint64
	skip    bool             // video is dropped up to the next random access point
	skipped int              // units of video that were dropped although there was room, since then
	missing map[uint8]uint32 // packets of dropped units, by track
}

// NewQueue returns a queue of this many units and bytes.
func NewQueue(units int, bytes int64) *Queue {
	return &Queue{maxUnits: units, maxBytes: bytes, missing: map[uint8]uint32{}}
}

// Put queues an item or drops it. c is the track's codec, which is needed to find random
// access points.
func (q *Queue) Put(it Item, c schemas.Codec) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if it.Format == nil {
		full := len(q.items) >= q.maxUnits || q.bytes+int64(len(it.Unit.Data)) > q.maxBytes
		video := it.Track == schemas.VideoTrack
		if video && q.skip && !full && q.skipped >= maxSkip {
			q.skip = false // it has none; the units that come show why
		}
		if full || video && q.skip && !randomAccess(c, it.Unit.Data) {
			if video && !full {
				q.skipped++
			}
			q.skip = q.skip || video
			q.dropped++
			q.missing[it.Track] += it.Packets + it.Unit.Lost
			return
		}
		if video {
			q.skip, q.skipped = false, 0
		}
		it.Unit.Lost += q.missing[it.Track]
		delete(q.missing, it.Track)
		q.bytes += int64(len(it.Unit.Data))
	} else if len(q.items) > 0 && q.items[len(q.items)-1].Format != nil && q.items[len(q.items)-1].Track == it.Track {
		// The units of the format before were dropped: formats take no more
		// room than units.
		q.items[len(q.items)-1] = it
		return
	}
	q.items = append(q.items, it)
}

// Take empties the queue. The result is valid until the next Take; the Data of units stays
// valid.
func (q *Queue) Take() []Item {
	q.mu.Lock()
	defer q.mu.Unlock()
	clear(q.spare) // the caller alone has its units now
	got := q.items
	q.items, q.spare = q.spare[:0], got
	q.bytes = 0
	return got
}

// Dropped returns how many units were dropped because the queue was full.
func (q *Queue) Dropped() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

// randomAccess reports whether a decoder can start at a unit: an IDR or a recovery
// point of H.264, an IRAP of H.265, any JPEG.
func randomAccess(c schemas.Codec, unit []byte) bool {
	if c != schemas.H264 && c != schemas.H265 {
		return true
	}
	u, err := codec.Classify(c, unit)
	return err == nil && (u.Picture == codec.Start || u.Picture == codec.CRA || u.Picture == codec.Recovery)
}
