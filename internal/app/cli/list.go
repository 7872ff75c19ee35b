package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/internal/secrets"
	"github.com/framelog/framelog/schemas"
)

// ListCmd is "framelog cameras list".
type ListCmd struct{}

// listed is a camera in the JSON of list.
type listed struct {
	schemas.Camera
	Status *schemas.Status `json:"status"` // null if ingest has never reported one
	Stale  bool            `json:"stale"`  // the status is too old to believe
}

// Run prints all cameras, in the order of their ids.
func (c *ListCmd) Run(ctx context.Context, env *Env, parent *CamerasCmd) error {
	return env.with(ctx, func(ctx context.Context, r Registry) error {
		s, err := r.Load(ctx)
		if err != nil {
			return err
		}
		now := env.now()
		all := []listed{}
		for _, id := range slices.Sorted(maps.Keys(s.Cameras)) {
			l := listed{Camera: secrets.Public(s.Cameras[id])}
			if st, ok := s.Status[id]; ok {
				if st.Substream != nil && st.Substream.State == "" {
					st.Substream = nil // it had one, and only writers of the log need to know
				}
				l.Status, l.Stale = &st, st.Stale(now)
			}
			all = append(all, l)
		}
		if parent.json() {
			return env.json(all)
		}
		return printList(env, all, now)
	})
}

func printList(env *Env, all []listed, now time.Time) error {
	if len(all) == 0 {
		return env.printf("There are no cameras yet. Add one: framelog cameras add front-door rtsp://10.0.0.5:554/stream1\n")
	}
	w := tabwriter.NewWriter(&trimmer{out: env.Out}, 0, 0, 2, ' ', 0)
	// w reports errors only at Flush.
	fmt.Fprintln(w, "CAMERA\tSTATE\tSENDS\tLABEL")
	live := 0
	var notes strings.Builder
	kept := make(map[string]int) // by file's name
	for _, l := range all {
		state, note := condition(l, now)
		if note != "" {
			fmt.Fprintf(&notes, "%s: %s\n", l.ID, oneLine(note))
		}
		if note := substreamNote(l); note != "" {
			fmt.Fprintf(&notes, "%s: its substream %s\n", l.ID, oneLine(note))
		}
		sends := ""
		if l.Status != nil {
			sends = describe(*l.Status)
			if l.Status.State == schemas.StateLive && !l.Stale && !l.Disabled {
				live++
				if l.Status.Bitrate > 0 {
					sends = strings.TrimPrefix(sends+", "+bitrate(l.Status.Bitrate), ", ")
				}
			}
		}
		if l.Source == schemas.SourceFile {
			kept[registry.NameOf(l.Origin)]++
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", l.ID, state, sends, oneLine(l.Label))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if notes.Len() > 0 {
		notes.WriteString("\n")
	}
	if err := env.printf("\n%s%d of %s live", notes.String(), live, count(len(all), "camera")); err != nil {
		return err
	}
	for _, file := range slices.Sorted(maps.Keys(kept)) {
		keeper := file
		if file == registry.Demo {
			keeper = "the demo"
		}
		if err := env.printf("; %d kept by %s", kept[file], keeper); err != nil {
			return err
		}
	}
	return env.printf("\n")
}

// condition returns the state of a camera and since how long it is in it, and a
// note with the reason, if there is one.
func condition(l listed, now time.Time) (state, note string) {
	s := l.Status
	switch {
	case l.Disabled:
		return string(schemas.StateDisabled), ""
	case s == nil:
		return "waiting", "no ingest process has taken it yet"
	case l.Stale:
		return "no word " + span(now.Sub(s.Updated)), "it was " + string(s.State) + " when ingest last told of it; is ingest running?"
	}
	state, note = string(s.State), cmp.Or(s.Error, s.Problem)
	if !s.Since.IsZero() {
		state += " " + span(now.Sub(s.Since))
	}
	if s.State == schemas.StateLive {
		note = cmp.Or(s.Problem, absence(s, now))
	}
	return state, note
}

// substreamNote returns what is wrong with the second stream of a camera that ingest
// records; "": nothing is, or the camera has none.
func substreamNote(l listed) string {
	if l.Disabled || l.Substream == "" || l.Status == nil || l.Stale || l.Status.Substream == nil {
		return ""
	}
	s := l.Status.Substream
	switch {
	case s.State == schemas.StateLive && s.Problem != "":
		return "has a problem: " + s.Problem
	case s.State == schemas.StateLive || s.State == "":
		return ""
	}
	return strings.TrimSuffix("is "+string(s.State)+": "+s.Error, ": ")
}

// absence returns how long nothing was recorded before a camera became live; "" if that
// was shorter than a second, or the camera is live for more than a day.
func absence(s *schemas.Status, now time.Time) string {
	if s.Absent < 1 || now.Sub(s.Since) > 24*time.Hour {
		return ""
	}
	return fmt.Sprintf("nothing was recorded for %s before (%s)", span(time.Duration(s.Absent*float64(time.Second))), s.AbsentReason)
}

// describe returns what is known of a stream, as "1920x1080 30 fps h264+aac".
func describe(s schemas.Status) string {
	var parts []string
	if s.Width > 0 && s.Height > 0 {
		parts = append(parts, fmt.Sprintf("%dx%d", s.Width, s.Height))
	}
	if s.FPS > 0 {
		parts = append(parts, strings.TrimSuffix(fmt.Sprintf("%.1f", s.FPS), ".0")+" fps")
	}
	switch {
	case s.Video != "" && s.Audio != "":
		parts = append(parts, string(s.Video)+"+"+string(s.Audio))
	case s.Video != "":
		parts = append(parts, string(s.Video))
	}
	return strings.Join(parts, " ")
}

func bitrate(bits uint64) string {
	if bits >= 1e6 {
		return fmt.Sprintf("%.1f Mbit/s", float64(bits)/1e6)
	}
	return fmt.Sprintf("%d kbit/s", (bits+500)/1000)
}

// span formats a duration in its largest unit.
func span(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

// oneLine removes line breaks, which a camera's answer may hold.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }), " ")
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// printResult prints one line for each thing that apply did.
func printResult(env *Env, file string, res registry.Result) error {
	var b strings.Builder
	for _, l := range []struct {
		ids        []string
		what, note string
	}{
		{res.Added, "added", ""},
		{res.Changed, "changed", ""},
		{res.Removed, "removed", " (footage stays in Kafka until it expires)"},
		{res.Kept, "kept", " (no longer in " + file + "; --prune removes)"},
	} {
		if len(l.ids) > 0 {
			fmt.Fprintf(&b, "%-8s %s%s\n", l.what, strings.Join(l.ids, ", "), l.note)
		}
	}
	if len(res.Unchanged) > 0 {
		fmt.Fprintf(&b, "%s as the file says already\n", count(len(res.Unchanged), "camera"))
	}
	if b.Len() == 0 {
		fmt.Fprintf(&b, "%s has no cameras, and the registry none of it\n", file)
	}
	return env.printf("%s", b.String())
}
