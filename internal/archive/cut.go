// Package archive keeps footage in files, beyond what Kafka keeps. [Cut] decides which
// fragments stand together in a file, [Write] writes a file, and [Open] reads one.
//
// A file is a plain MP4 file of about a minute of one camera or rendition, which every player
// opens. Its first part is that of a clip (see package clip): a header, and the segments of HLS
// with the same bytes. At its end stands a box of our own, of the type uuid (ISO/IEC 14496-12
// section 4.2): the index entries of the file, where their segments stand, and SHA-256 sums of
// all of it. Nothing else is needed to serve its segments, and nothing is ever changed in it.
package archive

import (
	"hash/fnv"
	"iter"

	"github.com/framelog/framelog/schemas"
)

// minute is how much footage a file has, in ticks of schemas.MediaTimescale.
const minute = 60 * schemas.MediaTimescale

// Cut cuts entries of a topic, in seq order, into the files in which they are kept. It yields a
// file when it knows that it is complete: when another one begins. A file begins with a fragment
// that can be played. The gaps behind that belong to the same file. Gaps before the first
// fragment are left out. An error is the last element.
//
// Whether a file begins depends on the entry and the fragment before only. So all archivers cut
// alike, wherever they begin to read.
func Cut(t schemas.Topic, entries iter.Seq2[schemas.Entry, error]) iter.Seq2[[]schemas.Entry, error] {
	return func(yield func([]schemas.Entry, error) bool) {
		var file []schemas.Entry
		var last schemas.Entry // that can be played
		for e, err := range entries {
			switch {
			case err != nil:
				yield(nil, err)
				return
			case len(file) > 0 && e.Seq != file[len(file)-1].LastSeq()+1, e.Playable() && (file == nil || begins(t, &last, &e)):
				if len(file) > 0 && !yield(file, nil) {
					return
				}
				file = nil
			}
			if e.Playable() {
				last = e
			}
			if e.Playable() || file != nil {
				file = append(file, e)
			}
		}
	}
}

// begins reports whether a file begins with e. last is the fragment before it.
func begins(t schemas.Topic, last, e *schemas.Entry) bool {
	return e.Session != last.Session || e.Config != last.Config || e.Life != last.Life || minuteOf(t, e) != minuteOf(t, last)
}

// minuteOf is the number of the minute of media time in which an entry begins. The minutes of
// each topic begin at another second, so that not all files are written at once.
func minuteOf(t schemas.Topic, e *schemas.Entry) int64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(t.Camera + "/" + t.Name())) // it never fails
	return (e.Media + int64(h.Sum32())%minute) / minute
}
