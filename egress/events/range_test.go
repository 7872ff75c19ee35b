package events

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// fakeLog has entries and chunks by rendition of the camera yard.
type fakeLog struct {
	entries map[string][]schemas.Entry
	chunks  map[string]*schemas.Chunk // by rendition and seq
	roles   map[string]schemas.Role

	mu     sync.Mutex
	read   int           // chunks that were read
	passed int           // entries that were read
	slow   time.Duration // of each read of a chunk
	index  time.Duration // of each read of an entry
	failed error
	limit  time.Duration // of a range; 0: the default, which a busy machine may need for a long one
}

func newLog() *fakeLog {
	return &fakeLog{entries: map[string][]schemas.Entry{}, chunks: map[string]*schemas.Chunk{}, roles: map[string]schemas.Role{}}
}

func (l *fakeLog) Entries(ctx context.Context, t schemas.Topic, r medialog.Range) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		if l.failed != nil {
			yield(schemas.Entry{}, l.failed)
			return
		}
		all, ok := l.entries[t.Name()]
		if !ok {
			yield(schemas.Entry{}, medialog.ErrNoTopic)
			return
		}
		for _, e := range all {
			if e.Seq < r.FromSeq || !e.Start.Before(r.To) || !e.End().After(r.From) {
				continue
			}
			select {
			case <-time.After(l.index):
			case <-ctx.Done():
				yield(schemas.Entry{}, ctx.Err())
				return
			}
			l.mu.Lock()
			l.passed++
			l.mu.Unlock()
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (l *fakeLog) Chunks(ctx context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	return func(yield func(*schemas.Chunk, error) bool) {
		l.mu.Lock()
		l.read++
		l.mu.Unlock()
		select {
		case <-time.After(l.slow):
			yield(l.chunks[key(t.Name(), e.Seq)], nil)
		case <-ctx.Done():
			yield(nil, ctx.Err())
		}
	}
}

func key(rendition string, seq uint64) string { return fmt.Sprintf("%s/%d", rendition, seq) }

// at is the start of a fragment: each lasts two seconds.
func at(seq uint64) time.Time { return epoch.Add(time.Duration(seq) * 2 * time.Second) }

func entry(seq uint64) schemas.Entry {
	return schemas.Entry{Kind: schemas.KindWhole, Seq: seq, Start: at(seq), Duration: 2 * schemas.MediaTimescale}
}

// data appends a fragment of a data rendition with events, and with boxes between them.
func (l *fakeLog) data(rendition string, seq uint64, events ...schemas.Event) {
	e := entry(seq)
	e.Role = schemas.RoleData
	c := &schemas.Chunk{Seq: seq, Lineage: &schemas.Lineage{Processor: "by-" + rendition}}
	var n schemas.Note
	samples := []schemas.Sample{{Data: []byte(`{"boxes":[{"x":0,"y":0,"w":1,"h":1}]}`)}, {Data: []byte("null")}}
	for _, ev := range events {
		b, err := json.Marshal(schemas.Data{Event: &ev})
		if err != nil {
			panic(err)
		}
		samples = append(samples, schemas.Sample{Data: b})
		n.Events = append(n.Events, schemas.NoteEvent{Type: ev.Type})
	}
	c.Runs = []schemas.Run{{Track: schemas.DataTrack, Samples: samples}}
	if len(events) > 0 {
		b, err := json.Marshal(n)
		if err != nil {
			panic(err)
		}
		e.Note = string(b)
	}
	l.roles[rendition] = schemas.RoleData
	l.entries[rendition] = append(l.entries[rendition], e)
	l.chunks[key(rendition, seq)] = c
}

// event is an event of a fragment, from and to in seconds from its start.
func event(kind string, seq uint64, from, to, value float64) schemas.Event {
	s := func(x float64) time.Time { return at(seq).Add(time.Duration(x * float64(time.Second))) }
	return schemas.Event{Type: kind, Start: s(from), End: s(to), Value: value, Boxes: []schemas.Box{{X: value}}}
}

// yard has motion from fragment 10 to 13 with its peak in 12, again in 15 and, after a
// pause, in 16; people in 12, two at a time, and in 13, with a dog. raw has an absence before
// 11 and gaps at 20 to 22; the fragment 16 is a dead letter.
func yard() *fakeLog {
	l := newLog()
	for seq := uint64(8); seq < 20; seq++ {
		var found []schemas.Event
		switch seq {
		case 10:
			found = append(found, event("motion", seq, 0.5, 2, 3))
		case 11, 12, 13:
			found = append(found, event("motion", seq, 0.2, 2, 4+float64(seq%3)))
		case 15:
			found = append(found, event("motion", seq, 1, 1.2, 1))
		case 16:
			found = append(found, event("motion", seq, 1, 1.2, 1))
		}
		l.data("motion", seq, found...)
		switch seq {
		case 12:
			l.data("people", seq, event("person", seq, 0, 2, 1), event("person", seq, 0, 2, 2))
		case 13:
			l.data("people", seq, event("person", seq, 0, 1, 1), event("person", seq, 0, 1.5, 3), event("dog", seq, 0, 1, 1))
		default:
			l.data("people", seq)
		}
	}
	for seq := uint64(8); seq < 23; seq++ {
		e := entry(seq)
		if seq == 11 {
			e.Absent, e.AbsentReason = 3*schemas.MediaTimescale, schemas.AbsentCamera
		}
		if seq >= 20 {
			e.Kind, e.Reason = schemas.KindGap, schemas.ReasonBudget
		}
		l.entries["raw"] = append(l.entries["raw"], e)
	}
	dead := entry(16)
	dead.Note = `{"processor":"people","error":"it broke"}`
	l.roles["dlq-people"], l.entries["dlq-people"] = schemas.RoleDeadLetter, []schemas.Entry{dead}
	l.roles["720p"], l.entries["720p"] = schemas.RoleVariant, l.entries["raw"]
	return l
}

func (l *fakeLog) server() *Server {
	return New(Config{ReadTimeout: l.limit}, Deps{
		Log: l, Source: newTopic(1), Known: func(camera string) bool { return camera != "nobody" },
		Renditions: func(context.Context, string) (map[string]schemas.Role, error) { return l.roles, nil },
	})
}

// ask gets a range of yard, between the seconds 0 and 60.
func ask(t *testing.T, l *fakeLog, query string) (a Range, code int, body string) {
	t.Helper()
	if !strings.HasPrefix(query, "/") {
		v := url.Values{"start": {epoch.Format(time.RFC3339)}, "end": {epoch.Add(time.Minute).Format(time.RFC3339)}}
		query = "/v1/events/yard?" + v.Encode() + "&" + query
	}
	w := httptest.NewRecorder()
	muxOf(l.server()).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", query, nil))
	if w.Code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
	}
	return a, w.Code, w.Body.String()
}

// lines writes events as "type rendition processor seq-last_seq start-end value", with
// seconds from epoch.
func lines(events []*Event) (all []string) {
	for _, e := range events {
		last := ""
		if e.LastSeq != 0 {
			last = fmt.Sprintf("-%d", e.LastSeq)
		}
		all = append(all, strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %d%s %.1f-%.1f %v", e.Type, e.Rendition, e.Processor, e.Seq, last,
			e.Start.Sub(epoch).Seconds(), e.End.Sub(epoch).Seconds(), e.Value)), " "))
	}
	return all
}

func TestRange(t *testing.T) {
	joined := []string{
		"absence raw 11 19.0-22.0 0",
		"motion motion by-motion 10-13 20.5-28.0 6",
		"person people by-people 12-13 24.0-27.0 1",
		"person people by-people 12-13 24.0-27.5 3",
		"dog people by-people 13 26.0-27.0 1",
		"motion motion by-motion 15 31.0-31.2 1",
		"dead-letter dlq-people people 16 32.0-34.0 0",
		"motion motion by-motion 16 33.0-33.2 1",
		"gap raw 20-22 40.0-46.0 0",
	}
	for query, want := range map[string][]string{
		"": joined,
		"joined=false&type=motion,gap": {
			"motion motion by-motion 10 20.5-22.0 3", "motion motion by-motion 11 22.2-24.0 6", "motion motion by-motion 12 24.2-26.0 4",
			"motion motion by-motion 13 26.2-28.0 5", "motion motion by-motion 15 31.0-31.2 1", "motion motion by-motion 16 33.0-33.2 1",
			"gap raw 20 40.0-42.0 0", "gap raw 21 42.0-44.0 0", "gap raw 22 44.0-46.0 0",
		},
		"type=person":                     joined[2:4],
		"type=dog&type=dead-letter":       {joined[4], joined[6]},
		"processor=by-motion":             {joined[1], joined[5], joined[7]},
		"processor=people":                joined[6:7],
		"rendition=people":                joined[2:5],
		"rendition=720p":                  nil,
		"type=person&processor=by-motion": nil,
	} {
		a, code, body := ask(t, yard(), query)
		if got := lines(a.Events); code != 200 || !slices.Equal(got, want) || a.Next != "" {
			t.Errorf("%s: %d, next %q\n%s\nwant\n%s\n%s", query, code, a.Next, strings.Join(got, "\n"), strings.Join(want, "\n"), body)
		}
	}
	a, _, body := ask(t, yard(), "type=motion,dead-letter,gap,absence")
	peak := a.Events[1]
	if peak.Camera != "yard" || len(peak.Boxes) != 1 || peak.Boxes[0].X != 6 {
		t.Errorf("a joined event has the boxes of its peak: %+v", peak)
	}
	for _, s := range []string{`"data":{"reason":"camera"}`, `"data":{"reason":"budget"}`, `"data":{"processor":"people","error":"it broke"}`} {
		if !strings.Contains(body, s) {
			t.Errorf("no %s in %s", s, body)
		}
	}
	if _, _, body := ask(t, newLog(), ""); !strings.Contains(body, `"events":[]`) {
		t.Errorf("a camera without footage: %s", body)
	}
}

// Events that end before the range, or begin behind it, are not in it, though their
// fragments are.
func TestRangeEdges(t *testing.T) {
	for _, c := range []struct {
		start, end time.Duration
		want       []string
	}{
		{31200 * time.Millisecond, 33 * time.Second, nil},
		{31100 * time.Millisecond, 33100 * time.Millisecond, []string{"motion motion by-motion 15 31.0-31.2 1", "motion motion by-motion 16 33.0-33.2 1"}},
		{27 * time.Second, 31 * time.Second, []string{"motion motion by-motion 13 26.2-28.0 5"}},
	} {
		v := url.Values{"start": {epoch.Add(c.start).Format(time.RFC3339Nano)}, "end": {epoch.Add(c.end).Format(time.RFC3339Nano)}, "type": {"motion"}}
		if a, _, body := ask(t, yard(), "/v1/events/yard?"+v.Encode()); !slices.Equal(lines(a.Events), c.want) {
			t.Errorf("%v to %v: %s", c.start, c.end, body)
		}
	}
}

// Page by page, with any limit, a reader gets each event of the log once.
func TestPages(t *testing.T) {
	for _, joined := range []bool{false, true} {
		all, _, _ := ask(t, yard(), "joined=false")
		for limit := 1; limit < 20; limit++ {
			var got []*Event
			next, pages := "", 0
			for {
				a, code, body := ask(t, yard(), fmt.Sprintf("joined=%v&limit=%d&next=%s", joined, limit, url.QueryEscape(next)))
				if code != 200 {
					t.Fatal(body)
				}
				got = append(got, a.Events...)
				pages++
				if next = a.Next; next == "" {
					break
				}
			}
			if joined {
				// Events are cut between pages, and nothing else: together they cover the same time.
				if covered(got) != covered(all.Events) {
					t.Errorf("limit %d: %s", limit, strings.Join(lines(got), "\n"))
				}
				continue
			}
			slices.SortStableFunc(got, func(a, b *Event) int { return a.Start.Compare(b.Start) })
			have, want := lines(got), lines(all.Events)
			slices.Sort(have)
			slices.Sort(want)
			if !slices.Equal(have, want) {
				t.Errorf("limit %d, %d pages:\n%s\nwant\n%s", limit, pages, strings.Join(have, "\n"), strings.Join(want, "\n"))
			}
		}
	}
}

// covered is the seqs of each type that events stand for.
func covered(events []*Event) string {
	seen := map[string]bool{}
	for _, e := range events {
		for seq := e.Seq; seq <= max(e.Seq, e.LastSeq); seq++ {
			seen[fmt.Sprintf("%s %03d", e.Type, seq)] = true
		}
	}
	var all []string
	for s := range seen {
		all = append(all, s)
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// Fragments whose notes tell that they have no such event are not read.
func TestNotesSaveReads(t *testing.T) {
	for query, want := range map[string]int{"type=person": 2, "type=gap": 0, "": 8} {
		l := yard()
		ask(t, l, query)
		if l.read != want {
			t.Errorf("%s: %d chunks were read, want %d", query, l.read, want)
		}
	}
	l := yard() // a note that does not tell all
	l.entries["people"][5].Note = `{"events":[{"t":"person"}],"more":2}`
	if a, _, _ := ask(t, l, "type=dog"); len(a.Events) != 1 {
		t.Errorf("%v", lines(a.Events))
	}
	l = yard() // a note of the processor's own
	l.entries["motion"][2].Note = `{"mine":true}`
	if a, _, _ := ask(t, l, "type=motion"); len(a.Events) != 3 {
		t.Errorf("%v", lines(a.Events))
	}
}

// When the time is over, the answer has what was read and where to go on.
func TestRangeTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := yard()
		all, _, _ := ask(t, l, "type=motion&joined=false")
		l.slow, l.index = 1700*time.Millisecond, 400*time.Millisecond
		var got []*Event
		next := ""
		for range 20 {
			began := time.Now()
			a, code, body := ask(t, l, "type=motion&joined=false&next="+url.QueryEscape(next))
			if code != 200 || time.Since(began) > 5*time.Second {
				t.Fatalf("%d after %v: %s", code, time.Since(began), body)
			}
			got = append(got, a.Events...)
			if next = a.Next; next == "" {
				break
			}
		}
		if len(got) != 6 || covered(got) != covered(all.Events) {
			t.Errorf("%d events: %s", len(got), strings.Join(lines(got), "\n"))
		}
	})
}

func TestRangeAnswers(t *testing.T) {
	for query, want := range map[string]struct {
		code int
		text string
	}{
		"/v1/events/nobody":                                       {404, "nobody"},
		"/v1/events/" + hidden:                                    {404, hidden},
		"/v1/events/yard?start=yesterday":                         {400, "start"},
		"/v1/events/yard?start=-5":                                {400, "start"},
		"/v1/events/yard?end=-30m&start=-10m":                     {400, "before"},
		"/v1/events/yard?limit=0":                                 {400, "limit"},
		"/v1/events/yard?limit=10001":                             {400, "limit"},
		"/v1/events/yard?joined=maybe":                            {400, "joined"},
		"/v1/events/yard?next=motion":                             {400, "next"},
		"/v1/events/yard?start=-30m":                              {200, `"camera":"yard"`},
		"/v1/events/yard?start=-2h&end=-30m&type=a&limit=5":       {200, `"events":[]`},
		"/v1/events/yard?start=2030-01-02T03:04:05.5%2B01:00&end": {400, "before"},
	} {
		if _, code, body := ask(t, yard(), query); code != want.code || !strings.Contains(body, want.text) {
			t.Errorf("%s: %d %s, want %d with %q", query, code, body, want.code, want.text)
		}
	}
	l := yard()
	l.failed = fmt.Errorf("no broker")
	before := runtime.NumGoroutine()
	for range 20 {
		if _, code, body := ask(t, l, ""); code != 503 || strings.Contains(body, "no broker") {
			t.Errorf("with the log away: %d %s", code, body)
		}
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines, %d before", n, before)
	}
	l.failed = &fs.PathError{Op: "open", Path: "archive", Err: fs.ErrPermission}
	if _, code, body := ask(t, l, ""); code != 503 || !strings.Contains(body, "archive.dir") {
		t.Errorf("with the archive away: %d %s", code, body)
	}
}
