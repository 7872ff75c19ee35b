package main

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/egress/hls"
	"github.com/framelog/framelog/egress/timeline"
	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// shortLog is a log that has the fragments from one on.
type shortLog struct {
	all  []testmedia.Fragment
	from int
}

func (l *shortLog) Entries(_ context.Context, _ schemas.Topic, r medialog.Range) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		for _, f := range l.all[l.from:] {
			if r.Has(&f.Entry) && !yield(f.Entry, nil) {
				return
			}
		}
	}
}

func (l *shortLog) at(seq uint64) int { return int(seq - l.all[0].Entry.Seq) }

func (l *shortLog) Entry(_ context.Context, _ schemas.Topic, seq uint64) (schemas.Entry, error) {
	if l.at(seq) < l.from {
		return schemas.Entry{}, medialog.ErrExpired
	}
	return l.all[l.at(seq)].Entry, nil
}

func (l *shortLog) Available(_ context.Context, _ schemas.Topic, e schemas.Entry) error {
	if l.at(e.Seq) < l.from {
		return medialog.ErrExpired
	}
	return nil
}

func (l *shortLog) Chunks(_ context.Context, _ schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	return l.all[l.at(e.Seq)].All()
}

func (l *shortLog) Bounds(context.Context, schemas.Topic) (oldest, newest schemas.Entry, err error) {
	return l.all[l.from].Entry, l.all[len(l.all)-1].Entry, nil
}

func (l *shortLog) Life(context.Context, schemas.Topic) (string, error) { return "life1", nil }

// TestExpiredIsTold: what neither the log nor the archive has any more are gaps with the reason
// `expired`, in playlists of ranges and in the timeline: between files, between the archive and the
// log, and where a range begins or ends in it.
func TestExpiredIsTold(t *testing.T) {
	topic := schemas.Topic{Camera: "yard"}
	l := &shortLog{all: testmedia.Synthetic(testmedia.Place{Seq: 1000, Session: 1, Epoch: 1, Layout: testmedia.Layout, Start: testmedia.Start}, 400)}
	var entries []schemas.Entry
	for i := range l.all {
		l.all[i].Entry.Life, l.all[i].Entry.First, l.all[i].Entry.Last = "life1", int64(10*i), int64(10*i+4)
		entries = append(entries, l.all[i].Entry)
	}
	dir := t.TempDir()
	var files [][]schemas.Entry
	for file, err := range archive.Cut(topic, func(yield func(schemas.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}) {
		if err != nil {
			t.Fatal(err)
		}
		if err := archive.Write(t.Context(), archive.Local(dir), l, topic, file); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	if len(files) < 6 {
		t.Fatalf("%d files", len(files))
	}
	type missing struct{ from, to time.Time }
	var want []missing
	for _, n := range []int{1, 4} {
		if err := os.Remove(filepath.Join(dir, archive.Path(topic, files[n]))); err != nil {
			t.Fatal(err)
		}
		want = append(want, missing{files[n][0].Start, files[n][len(files[n])-1].End()})
	}
	// The log begins in the middle of the second file that is gone.
	l.from = l.at(files[4][len(files[4])/2].Seq)
	want[1].to = l.all[l.from].Entry.Start
	j := archive.NewJoined(l, archive.NewSet(archive.Local(dir), nil, nil))

	s := timeline.New(timeline.Config{}, timeline.Deps{Log: j, Known: func(string) bool { return true }})
	mux := http.NewServeMux()
	for _, route := range s.Routes() {
		mux.HandleFunc(route.Pattern, route.Handler)
	}
	begin, end := entries[0].Start, entries[len(entries)-1].End()
	half := func(m missing) time.Time { return m.from.Add(m.to.Sub(m.from) / 2) }
	for name, c := range map[string]struct {
		from, to time.Time
		want     []missing
	}{
		"all":                 {begin, end, want},
		"begins in it":        {half(want[0]), want[0].to.Add(10 * time.Second), []missing{{half(want[0]), want[0].to}}},
		"ends in it":          {begin, half(want[0]), []missing{{want[0].from, half(want[0])}}},
		"ends before the log": {want[1].from.Add(-10 * time.Second), half(want[1]), []missing{{want[1].from, half(want[1])}}},
		"lies in it":          {want[0].from.Add(10 * time.Second), want[0].to.Add(-10 * time.Second), []missing{{want[0].from.Add(10 * time.Second), want[0].to.Add(-10 * time.Second)}}},
		"all before the log":  {want[1].from.Add(2 * time.Second), half(want[1]), []missing{{want[1].from.Add(2 * time.Second), half(want[1])}}},
		"nothing is missing":  {begin, want[0].from, nil},
		"the log alone":       {want[1].to, end, nil},
	} {
		var listed []schemas.Entry
		gaps := 0.0
		for e, err := range j.Entries(t.Context(), topic, medialog.Range{From: c.from, To: c.to}) {
			if err != nil {
				t.Fatal(err)
			}
			listed = append(listed, e)
		}
		var gap bool
		var last float64
		for line := range strings.Lines(string(hls.Playlist(listed, hls.PlaylistOptions{Base: "raw/"}))) {
			line = strings.TrimSpace(line)
			switch {
			case line == "#EXT-X-GAP":
				gap = true
			case strings.HasPrefix(line, "#EXTINF:"):
				last, _ = strconv.ParseFloat(strings.Trim(line, "#EXTINF:,"), 64)
			case !strings.HasPrefix(line, "#") && line != "":
				if gap {
					gaps += last
				}
				gap = false
			}
		}
		wanted := 0.0
		for _, m := range c.want {
			wanted += m.to.Sub(m.from).Seconds()
		}
		if gaps < wanted-0.1 || gaps > wanted+4.1 { // gaps of two seconds may reach beyond the range
			t.Errorf("%s: the playlist has gaps of %v s, want %v", name, gaps, wanted)
		}

		answer := httptest.NewRecorder()
		mux.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet,
			fmt.Sprintf("/v1/timeline/yard?start=%s&end=%s&step=1s", c.from.Format(time.RFC3339Nano), c.to.Format(time.RFC3339Nano)), nil))
		var got timeline.Timeline
		if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil {
			t.Fatal(err, answer.Body.String())
		}
		if len(got.Missing) != len(c.want) {
			t.Errorf("%s: the timeline has %+v, want %+v", name, got.Missing, c.want)
			continue
		}
		for i, m := range got.Missing {
			if m.Kind != "gap" || m.Reason != schemas.ReasonExpired || m.Start.Sub(c.want[i].from).Abs() > time.Second || m.End.Sub(c.want[i].to).Abs() > time.Second {
				t.Errorf("%s: the timeline has %+v, want %v to %v", name, m, c.want[i].from, c.want[i].to)
			}
		}
	}
}
