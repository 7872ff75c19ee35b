package events

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// FuzzRequests: whatever is asked for of the events of a camera whose log can be read, nothing panics,
// and the answer is events of the range, not more than asked for, or the client's fault. Each entry is
// read once at most.
func FuzzRequests(f *testing.F) {
	const minute = "start=2030-01-02T03:04:05Z&end=2030-01-02T03:05:05Z"
	for _, s := range [][2]string{
		{"yard", minute},
		{"yard", minute + "&joined=false&limit=3&type=motion,gap&type=dog"},
		{"yard", minute + "&limit=2&next=motion:12,raw:11"},
		{"yard", minute + "&limit=1&next=motion:18446744073709551615,raw:0,720p:3,nothing:7,:5"},
		{"yard", minute + "&next=motion:18446744073709551616"},
		{"yard", minute + "&next=,,"},
		{"yard", minute + "&rendition=720p&processor=by-motion,,people"},
		{"yard", minute + "&rendition=../raw&type=%00"},
		{"yard", minute + "&limit=10000&joined=0"},
		{"yard", minute + "&limit=-1"},
		{"yard", "start=1577836800&end=2524608000"},
		{"yard", "start=-87600h"},
		{"yard", "start=0001-01-01T00:00:00Z&end=9999-12-31T23:59:59Z"},
		{"yard", "start=-2562047h47m16s&end=-1ns"},
		{"yard", "%zz&start=%ff;end=1"},
		{"nobody", minute},
		{hidden, minute},
		{"", minute},
		{"yard/raw", minute},
		{"../events/yard", minute},
		{"\x00", ""},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, camera, query string) {
		l := yard()
		l.limit = time.Hour
		total := 0
		for _, all := range l.entries {
			total += len(all)
		}
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		r.URL = &url.URL{Path: "/v1/events/" + camera, RawQuery: query}
		w := httptest.NewRecorder()
		muxOf(l.server()).ServeHTTP(w, r)
		if l.passed > total || l.read > total {
			t.Errorf("%q %q: %d entries and %d chunks of %d are read", camera, query, l.passed, l.read, total)
		}
		switch n := w.Body.Len(); {
		case w.Code == 200:
			var a Range
			if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || n > 1<<16 {
				t.Fatalf("%q %q: %d bytes, %v", camera, query, n, err)
			}
			limit := defaultLimit
			if s := r.URL.Query().Get("limit"); s != "" {
				limit, _ = strconv.Atoi(s)
			}
			if limit < 1 || len(a.Events) > limit+len(l.entries) { // a fragment may have several
				t.Errorf("%q %q: %d events", camera, query, len(a.Events))
			}
			for _, e := range a.Events {
				if !e.Start.Before(a.End) || e.End.Before(a.Start) {
					t.Errorf("%q %q: an event of %v to %v, of %v to %v is asked for", camera, query, e.Start, e.End, a.Start, a.End)
				}
			}
		case w.Code >= 500 || n > 1<<12+6*len(query)+6*len(camera):
			t.Errorf("%q %q: %d, %d bytes: %.300s", camera, query, w.Code, n, w.Body)
		}
	})
}

// A range of ten years over a log with events of an hour is answered page by page, with each event
// once. A page is read no further than to its last event, and from where the page before has ended.
func TestTenYears(t *testing.T) {
	const fragments, every, limit = 1800, 10, 20
	l := newLog()
	l.limit = time.Hour
	var all []string
	for seq := range uint64(fragments) {
		if seq%every > 0 {
			l.data("motion", seq)
			continue
		}
		ev := event("motion", seq, 0.5, 1, float64(seq))
		l.data("motion", seq, ev)
		all = append(all, fmt.Sprint(seq))
	}
	var got []string
	pages := 0
	for next := ""; pages < fragments/every; pages++ {
		v := url.Values{"start": {at(0).AddDate(-9, 0, 0).Format(time.RFC3339)}, "end": {at(0).AddDate(1, 0, 0).Format(time.RFC3339)}, "limit": {strconv.Itoa(limit)}, "next": {next}}
		l.passed, l.read = 0, 0
		a, code, body := ask(t, l, "/v1/events/yard?"+v.Encode())
		if code != 200 || len(a.Events) > limit {
			t.Fatalf("%d, %d events: %.300s", code, len(a.Events), body)
		}
		if l.passed > limit*every+1 || l.read > limit {
			t.Errorf("page %d: %d entries and %d chunks are read", pages, l.passed, l.read)
		}
		for _, e := range a.Events {
			got = append(got, fmt.Sprint(e.Seq))
		}
		if next = a.Next; next == "" {
			break
		}
	}
	if !slices.Equal(got, all) || pages != fragments/every/limit {
		t.Errorf("in %d pages there are %s\nwant %s", pages, strings.Join(got, " "), strings.Join(all, " "))
	}
}
