package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/framelog/framelog/monitor/lag"
)

// LagEnv holds what LagCmd needs; kong passes it to its Run.
type LagEnv struct {
	// Watch reads the log every interval, and calls report with what it has found, until that
	// returns false or ctx ends.
	Watch func(ctx context.Context, interval time.Duration, report func(lag.Report) bool) error
	Out   io.Writer
	// Height is how many lines the terminal has that Out is. 0: Out is no terminal.
	Height int
	// Color: lines of what is behind have colours.
	Color bool
	// Timeout bounds the command without --watch. Default 30 s.
	Timeout time.Duration
}

// LagCmd is "framelog lag".
type LagCmd struct {
	Output string `help:"How to print: table or json." enum:"table,json" default:"table" short:"o" placeholder:"FORM"`
	Watch  bool   `help:"Print it again every two seconds." short:"w"`
}

const watchInterval = 2 * time.Second

// Run prints how far every camera is behind at each hop, and every consumer group, worst
// first. It reads Kafka itself, so no monitor need run.
func (c *LagCmd) Run(ctx context.Context, env *LagEnv) error {
	if c.Watch {
		var failed error
		err := env.Watch(ctx, watchInterval, func(r lag.Report) bool {
			failed = c.again(env, r)
			return failed == nil
		})
		return errors.Join(failed, err)
	}
	timeout := cmp.Or(env.Timeout, 30*time.Second)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var got *lag.Report
	err := env.Watch(ctx, timeout, func(r lag.Report) bool {
		if r.Up {
			got = &r
		}
		return false
	})
	switch {
	case err != nil:
		return err
	case got == nil && errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case got == nil:
		return &UsageError{What: "the brokers did not tell all that is needed", Remedy: "look at the brokers, and at --brokers"}
	case c.Output == "json":
		return printJSON(env.Out, got)
	}
	_, err = env.Out.Write(env.table(got))
	return err
}

// again prints a report of --watch. On a terminal it replaces the one before.
func (c *LagCmd) again(env *LagEnv, r lag.Report) error {
	if c.Output == "json" { // one line each
		e := json.NewEncoder(env.Out)
		e.SetEscapeHTML(false)
		return e.Encode(r)
	}
	text := env.table(&r)
	if env.Height > 0 {
		lines := bytes.SplitAfter(text, []byte("\n"))
		if room := env.Height - 1; len(lines) > room {
			text = slices.Concat(bytes.Join(lines[:room-1], nil), fmt.Appendf(nil, "… %d lines more\n", len(lines)-room))
		}
		text = slices.Concat([]byte("\x1b[H\x1b[J"), text)
	} else {
		text = append(text, '\n')
	}
	_, err := env.Out.Write(text)
	return err
}

// badAfter is how far something may be behind until its line is red. From lag.LateAfter on it
// is yellow.
const badAfter = lag.Seconds(time.Minute)

// lagLine is a line of the table: a hop or a group of a camera.
type lagLine struct {
	at            string
	behind        lag.Seconds // -1: it has neither
	late          lag.Seconds // without what the group waits by design
	records, left string
}

// table prints a report.
func (e *LagEnv) table(r *lag.Report) []byte {
	var out bytes.Buffer
	if !r.Up {
		fmt.Fprintf(&out, "The brokers do not answer. This is of %s.\n\n", r.At.UTC().Format(time.RFC3339))
	}
	if len(r.Cameras) == 0 {
		fmt.Fprintln(&out, "There are no cameras.")
		return out.Bytes()
	}
	late := 0
	p := &painter{out: &out, colours: []string{""}}
	w := tabwriter.NewWriter(&trimmer{out: p}, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CAMERA\tSTATE\tHOP OR GROUP\tBEHIND\tRECORDS\tRETENTION IN")
	for i := range r.Cameras {
		c := &r.Cameras[i]
		if c.Behind >= lag.LateAfter {
			late++
		}
		for _, l := range lagLines(c) {
			p.colours = append(p.colours, e.color(l.late))
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", c.ID, c.State, l.at, behindText(l.behind), l.records, l.left)
		}
	}
	_ = w.Flush() // a buffer takes everything
	fmt.Fprintf(&out, "\n%d of %s behind by 15 s or more", late, count(len(r.Cameras), "camera"))
	for _, c := range r.Cameras {
		for _, l := range c.Letters {
			if l.Count > 0 {
				fmt.Fprintf(&out, "; %s has %s of %s", c.ID, count(l.Count, "dead letter"), l.Processor)
			}
		}
	}
	out.WriteString("\n")
	return out.Bytes()
}

// lagLines returns the lines of a camera, worst first.
func lagLines(c *lag.Camera) (all []lagLine) {
	for _, h := range c.Hops {
		all = append(all, lagLine{at: h.Name, behind: h.Behind, late: h.Behind})
	}
	for _, g := range c.Groups {
		l := lagLine{at: "group " + g.Group, behind: g.Seconds, late: g.Late(), records: fmt.Sprint(g.Records)}
		if g.Rendition != "raw" {
			l.at += " of " + g.Rendition
		}
		if g.Left != nil {
			l.left = span(time.Duration(*g.Left))
		}
		all = append(all, l)
	}
	slices.SortStableFunc(all, func(a, b lagLine) int { return cmp.Compare(b.late, a.late) })
	if len(all) == 0 {
		all = append(all, lagLine{behind: -1, late: -1})
	}
	return all
}

// behindText formats a lag in its largest unit, below ten seconds with a tenth; "" below 0.
func behindText(s lag.Seconds) string {
	switch d := time.Duration(s); {
	case d < 0:
		return ""
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	default:
		return span(d)
	}
}

func (e *LagEnv) color(behind lag.Seconds) string {
	switch {
	case !e.Color || behind < lag.LateAfter:
		return ""
	case behind < badAfter:
		return "\x1b[33m"
	}
	return "\x1b[31m"
}

// painter gives each line that it writes its colour. It gets whole lines.
type painter struct {
	out     *bytes.Buffer
	colours []string // of the lines; "": none
	n       int      // lines that were written
}

func (p *painter) Write(b []byte) (int, error) {
	color := ""
	if p.n < len(p.colours) {
		color = p.colours[p.n]
	}
	p.n++
	if color == "" {
		return p.out.Write(b)
	}
	p.out.WriteString(color + strings.TrimSuffix(string(b), "\n") + "\x1b[0m\n")
	return len(b), nil
}
