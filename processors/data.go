package processors

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/framelog/framelog/schemas"
)

const (
	// maxData is how many bytes of timed metadata a fragment may have.
	maxData = 4 << 20
	// maxDataSamples is how many samples of timed metadata a fragment may have. Between two
	// of them there may be one more, which says that there is nothing.
	maxDataSamples = schemas.MaxSamples / 2
)

// errData is the error of a function whose data cannot be written.
var errData = errors.New("processors: data")

// nothing is the sample for time without data.
var nothing = []byte("null")

// dataRun returns the samples as one run of a track of JSON: they follow one another
// without overlap and without a hole. A sample ends where the next one begins, if not
// before; several that begin at the same time begin one tick after another. It changes the
// samples' own times, not what their JSON says.
func dataRun(samples []schemas.Sample, start, end int64) (schemas.Run, error) {
	slices.SortStableFunc(samples, func(a, b schemas.Sample) int { return cmp.Compare(a.DTS, b.DTS) })
	at := start
	for i := range samples {
		s := &samples[i]
		if s.DTS > end {
			return schemas.Run{}, fmt.Errorf("%w at media time %d: the fragment ends at %d", errData, s.DTS, end)
		}
		s.DTS = max(s.DTS, at)
		at = s.DTS + 1
	}
	for i, until := len(samples)-1, end; i >= 0; i-- {
		samples[i].DTS = min(samples[i].DTS, until-1)
		until = samples[i].DTS
	}
	if len(samples) > 0 && samples[0].DTS < start {
		return schemas.Run{}, fmt.Errorf("%w: %d samples are more than a fragment of %d ticks can have", errData, len(samples), end-start)
	}
	run := schemas.Run{Track: schemas.DataTrack}
	for i, s := range samples {
		next, last := end, i == len(samples)-1
		if !last {
			next = samples[i+1].DTS
		}
		s.Duration = uint32(min(max(int64(s.Duration), 1), next-s.DTS))
		run.Samples = append(run.Samples, s)
		if until := s.DTS + int64(s.Duration); until < next && !last {
			run.Samples = append(run.Samples, schemas.Sample{DTS: until, Duration: uint32(next - until), Sync: true, Data: nothing})
		}
	}
	return run, nil
}

// dataChunk makes the chunk of the fragment's timed metadata.
func (o *Output) dataChunk(e schemas.Entry) (*schemas.Chunk, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	// Of samples that begin at the same time, the last one lasts. It must not be an event,
	// which says itself how long it lasts.
	run, err := dataRun(slices.Concat(o.told, o.seen), e.Media, e.MediaEnd())
	if err != nil {
		return nil, err
	}
	c := &schemas.Chunk{
		Last: true, Start: e.Start, Media: e.Media, Duration: e.Duration,
		Tracks: []schemas.Track{{ID: schemas.DataTrack, Codec: schemas.JSON, Timescale: schemas.MediaTimescale}},
	}
	if len(run.Samples) > 0 {
		c.Runs = []schemas.Run{run}
	}
	return c, nil
}
