package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
)

// TestRTSPFeed: units go out in the order of their decode times, each at its time. A loop
// goes on where it ended, and other tracks are an error.
func TestRTSPFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracks := []schemas.Track{
			{ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale},
			{ID: schemas.AudioTrack, Codec: schemas.AAC, Timescale: 48000},
		}
		var got []camsim.Unit
		var at []time.Duration
		began := time.Now()
		f := &rtspFeed{tracks: tracks, speed: 2, emit: func(u camsim.Unit) { got, at = append(got, u), append(at, time.Since(began)) }}
		chunk := func(media int64) error {
			return f.Chunk(t.Context(), &schemas.Chunk{Tracks: tracks, Runs: []schemas.Run{
				{Track: schemas.VideoTrack, Samples: []schemas.Sample{{DTS: media, PTSOffset: 7, Duration: 45000, Sync: true}, {DTS: media + 45000, Duration: 45000}}},
				{Track: schemas.AudioTrack, Samples: []schemas.Sample{{DTS: media*48/90 + 12000, Duration: 12000}}},
			}})
		}
		for _, media := range []int64{900_000, 990_000, 900_000} { // the third begins again
			if err := chunk(media); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Until(began.Add(time.Duration(len(got)/3) * 500 * time.Millisecond)))
		}
		for i, u := range got {
			round, track := int64(i/3), [...]uint8{schemas.VideoTrack, schemas.AudioTrack, schemas.VideoTrack}[i%3]
			dts := [...]int64{90_000 * round, 48_000*round + 12_000, 90_000*round + 45_000}[i%3]
			due := time.Duration(round)*500*time.Millisecond + [...]time.Duration{0, 125, 250}[i%3]*time.Millisecond
			if u.Track != track || u.DTS != dts || (u.PTS-u.DTS == 7) != (i%3 == 0) || (at[i]-due).Abs() > time.Millisecond {
				t.Errorf("unit %d: track %d at %d after %v, want track %d at %d after %v", i, u.Track, u.DTS, at[i], track, dts, due)
			}
		}
		if len(got) != 9 {
			t.Errorf("%d units", len(got))
		}
		tracks = tracks[:1]
		if err := chunk(1_080_000); err == nil || !strings.Contains(err.Error(), "change at") {
			t.Errorf("other tracks: %v", err)
		}
	})
}

// TestRTSPFeedLeftOut: what the replay leaves out is told.
func TestRTSPFeedLeftOut(t *testing.T) {
	told := ""
	f := &rtspFeed{problem: func(text string) { told += text }}
	f.Observe(ingest.Event{Kind: ingest.EventLeftOut, Problem: "a minute is left out"})
	if told != "a minute is left out" {
		t.Errorf("told %q", told)
	}
}
