package cmaf

import (
	"slices"

	"github.com/framelog/framelog/schemas"
)

// jsonEntry is the body of the sample entry of timed metadata, TextMetaDataSampleEntry
// (ISO/IEC 14496-12 section 12.3.3): six reserved bytes, the data reference 1, no content
// encoding, and the MIME type of the samples.
var jsonEntry = []byte("\x00\x00\x00\x00\x00\x00\x00\x01\x00application/json\x00")

// nothing is the sample for time without metadata: the JSON value null. It is not empty:
// FFmpeg 5.1 does not open a file that begins with a sample of zero bytes.
var nothing = []byte("null")

// withMetadata returns the runs of a chunk. Each track of timed metadata has samples there
// for the whole time of the chunk: otherwise readers let a sample last until the next one,
// and a chunk without metadata is not valid. The chunk's own runs stay as they are.
func withMetadata(tracks []schemas.Track, c *schemas.Chunk) []schemas.Run {
	runs := c.Runs
	for _, t := range tracks {
		if t.Codec != schemas.JSON {
			continue
		}
		runs = slices.Clone(runs)
		i := slices.IndexFunc(runs, func(r schemas.Run) bool { return r.Track == t.ID })
		if i < 0 {
			i = len(runs)
			runs = append(runs, schemas.Run{Track: t.ID})
		}
		runs[i].Samples = fill(runs[i].Samples, c.MediaStart(), c.MediaEnd())
	}
	return runs
}

// fill returns samples, and null between start and end where there are none. There is at
// least one sample. All are sync samples.
func fill(samples []schemas.Sample, start, end int64) []schemas.Sample {
	var all []schemas.Sample
	at := start
	null := func(until int64) {
		all = append(all, schemas.Sample{DTS: at, Duration: uint32(max(0, until-at)), Sync: true, Data: nothing})
	}
	for _, s := range samples {
		if s.DTS > at {
			null(s.DTS)
		}
		s.Sync = true
		all = append(all, s)
		at = s.DTS + int64(s.Duration)
	}
	if at < end || len(all) == 0 {
		null(end)
	}
	return all
}
