package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"text/tabwriter"
	"time"

	"github.com/framelog/framelog/internal/archive"
)

// ArchiveEnv holds what the subcommands for the archive need.
type ArchiveEnv struct {
	Dir archive.Dir
	Out io.Writer
	// Progress gets lines that replace each other. nil: there is no terminal.
	Progress io.Writer
	// By is who calls the command: it stands in holds.
	By string
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

func (e *ArchiveEnv) now() time.Time {
	if e.Now != nil {
		return e.Now()
	}
	return time.Now()
}

// outputFlag is the form in which a command prints.
type outputFlag struct {
	Output string `help:"How to print: table or json." enum:"table,json" default:"table" short:"o" placeholder:"FORM"`
}

// seriesFlags choose cameras and renditions.
type seriesFlags struct {
	Camera    string `help:"Only cameras that this pattern fits: * stands for any characters, ? for one." placeholder:"PATTERN" default:"*"`
	Rendition string `help:"Only renditions that this pattern fits." placeholder:"PATTERN" default:"*"`
}

// wanted returns which series are chosen.
func (f *seriesFlags) wanted() (func(archive.Series) bool, error) {
	for flag, pattern := range map[string]string{"--camera": f.Camera, "--rendition": f.Rendition} {
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, &UsageError{What: fmt.Sprintf("%s: %q is no pattern", flag, pattern), Remedy: "write an id, * for any characters and ? for one"}
		}
	}
	return func(s archive.Series) bool {
		camera, _ := path.Match(f.Camera, s.Topic.Camera)
		rendition, _ := path.Match(f.Rendition, s.Topic.Name())
		return camera && rendition
	}, nil
}

// spanFlags choose files by the public time of their footage.
type spanFlags struct {
	From Time `help:"Only files with footage after this time: 2026-01-31T08:00:00Z, seconds since 1970, or -30m." placeholder:"TIME"`
	To   Time `help:"Only files with footage before this time." placeholder:"TIME"`
}

// parse sets the times of a selection.
func (f *spanFlags) parse(now time.Time, s *archive.Selection) (err error) {
	for _, f := range []struct {
		flag string
		text Time
		at   *time.Time
	}{{"--from", f.From, &s.From}, {"--to", f.To, &s.To}} {
		if f.text == "" {
			continue
		}
		if *f.at, err = f.text.Parse(f.flag, now); err != nil {
			return err
		}
	}
	if !s.To.IsZero() && !s.From.Before(s.To) {
		return &UsageError{What: "--from is not before --to"}
	}
	return nil
}

// ArchiveListCmd is "framelog archive list".
type ArchiveListCmd struct {
	outputFlag
	seriesFlags
	Files bool `help:"Show each file, with its times and its path."`
	spanFlags
}

// listedSeries is a series in the JSON of list.
type listedSeries struct {
	Camera    string     `json:"camera"`
	Rendition string     `json:"rendition"`
	Life      string     `json:"life"`
	From      *time.Time `json:"from"` // null: no file can be read
	To        *time.Time `json:"to"`
	Files     int        `json:"files"`
	Bytes     int64      `json:"bytes"`
}

// Run prints what the archive has of each camera and rendition.
func (c *ArchiveListCmd) Run(ctx context.Context, env *ArchiveEnv) error {
	wanted, err := c.wanted()
	if err != nil {
		return err
	}
	if c.Files {
		return c.files(ctx, env, archive.Selection{Series: wanted})
	}
	if c.From != "" || c.To != "" {
		return &UsageError{What: "--from and --to choose files", Remedy: "add --files"}
	}
	found, err := env.Dir.Footage(ctx, wanted)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		all := []listedSeries{}
		for _, f := range found {
			l := listedSeries{Camera: f.Topic.Camera, Rendition: f.Topic.Name(), Life: f.Life, Files: f.Files, Bytes: f.Bytes}
			if !f.From.IsZero() {
				from, to := f.From.UTC(), f.To.UTC()
				l.From, l.To = &from, &to
			}
			all = append(all, l)
		}
		return printJSON(env.Out, all)
	}
	if len(found) == 0 {
		_, err := fmt.Fprintf(env.Out, "The archive %s has nothing of them.\n", env.Dir)
		return err
	}
	w := tabwriter.NewWriter(&trimmer{out: env.Out}, 0, 0, 2, ' ', 0)
	// w reports errors only at Flush.
	fmt.Fprintln(w, "CAMERA\tRENDITION\tFROM\tTO\tFILES\tSIZE")
	for _, f := range found {
		from, to := "unreadable", ""
		if !f.From.IsZero() {
			from, to = shownTime(f.From), shownTime(f.To)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", f.Topic.Camera, f.Topic.Name(), from, to, f.Files, megabytes(f.Bytes))
	}
	return w.Flush()
}

// listedFile is a file in the JSON of list.
type listedFile struct {
	Camera    string    `json:"camera"`
	Rendition string    `json:"rendition"`
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	Bytes     int64     `json:"bytes"`
	Path      string    `json:"path"` // or its URL
}

// files prints the files of a selection as they are found: there may be millions.
func (c *ArchiveListCmd) files(ctx context.Context, env *ArchiveEnv, s archive.Selection) error {
	if err := c.parse(env.now(), &s); err != nil {
		return err
	}
	n := 0
	for f, err := range env.Dir.Select(ctx, s) {
		if err != nil {
			return err
		}
		n++
		at := env.Dir.String() + "/" + f.Path()
		line := fmt.Sprintf("%s  %s  %s  %s  %9s  %s\n", f.Topic.Camera, f.Topic.Name(), shownTime(f.From), shownTime(f.To), megabytes(f.Size), at)
		if c.Output == "json" {
			b, err := json.MarshalIndent(listedFile{f.Topic.Camera, f.Topic.Name(), f.From.UTC(), f.To.UTC(), f.Size, at}, "  ", "  ")
			if err != nil {
				return err
			}
			line = ",\n  " + string(b)
			if n == 1 {
				line = "[" + line[1:]
			}
		}
		if _, err := io.WriteString(env.Out, line); err != nil {
			return err
		}
	}
	end := ""
	switch {
	case c.Output == "json" && n == 0:
		end = "[]\n"
	case c.Output == "json":
		end = "\n]\n"
	case n == 0:
		end = fmt.Sprintf("The archive %s has nothing of that.\n", env.Dir)
	}
	_, err := io.WriteString(env.Out, end)
	return err
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// ArchiveVerifyCmd is "framelog archive verify".
type ArchiveVerifyCmd struct {
	outputFlag
	seriesFlags
	spanFlags
}

// verified is the JSON of verify.
type verified struct {
	Files     int            `json:"files"` // that were read
	Bytes     int64          `json:"bytes"`
	Damaged   []verifiedFile `json:"damaged"`
	Differ    []verifiedFile `json:"differ"`    // with a fragment that another file has with other bytes
	Leftovers []verifiedFile `json:"leftovers"` // files that are not complete, or were renamed
}

type verifiedFile struct {
	Path  string `json:"path"`
	Cause string `json:"cause,omitempty"`
}

// Run reads the files of the archive, and prints those that are damaged. It fails if there is
// one.
func (c *ArchiveVerifyCmd) Run(ctx context.Context, env *ArchiveEnv) error {
	s, err := c.selection(env.now())
	if err != nil {
		return err
	}
	got := verified{Damaged: []verifiedFile{}, Differ: []verifiedFile{}, Leftovers: []verifiedFile{}}
	for f, err := range env.Dir.Verify(ctx, s) {
		if err != nil {
			return err
		}
		line := got.add(&f)
		env.progress("%d files, %s", got.Files, megabytes(got.Bytes))
		if line != "" && c.Output == "table" {
			env.progress("")
			if _, err := fmt.Fprintln(env.Out, line); err != nil {
				return err
			}
		}
	}
	env.progress("")
	if err := c.print(env, &got); err != nil {
		return err
	}
	if bad := len(got.Damaged) + len(got.Differ); bad > 0 {
		return fmt.Errorf("%d of %s of the archive are damaged, or differ from others", bad, count(got.Files, "file"))
	}
	return nil
}

func (c *ArchiveVerifyCmd) selection(now time.Time) (s archive.Selection, err error) {
	if s.Series, err = c.wanted(); err != nil {
		return s, err
	}
	return s, c.parse(now, &s)
}

func (c *ArchiveVerifyCmd) print(env *ArchiveEnv, got *verified) error {
	if c.Output == "json" {
		return printJSON(env.Out, got)
	}
	_, err := fmt.Fprintf(env.Out, "%s read, %s: %d damaged, %d with a fragment that another file has with other bytes; %d leftovers.\n",
		count(got.Files, "file"), megabytes(got.Bytes), len(got.Damaged), len(got.Differ), len(got.Leftovers))
	return err
}

// add adds a file. It returns the line that people get about it; "" if there is nothing to say.
func (v *verified) add(f *archive.Checked) string {
	one := verifiedFile{Path: f.Path}
	if f.Cause != nil {
		one.Cause = f.Cause.Error()
	}
	switch f.Result {
	case archive.Leftover:
		v.Leftovers = append(v.Leftovers, one)
		return "leftover: " + one.Path
	case archive.InRemoval:
		return ""
	case archive.Damaged:
		v.Damaged = append(v.Damaged, one)
	case archive.Differs:
		v.Differ = append(v.Differ, one)
	case archive.Intact:
	}
	v.Files++
	v.Bytes += f.Size
	if f.Result == archive.Intact {
		return ""
	}
	return fmt.Sprintf("%s: %s: %s", f.Result, one.Path, one.Cause)
}

// progress replaces the line on the terminal.
func (e *ArchiveEnv) progress(format string, args ...any) {
	if e.Progress != nil {
		fmt.Fprintf(e.Progress, "\r"+format+"\x1b[K", args...)
	}
}

// span of a range for people.
func rangeText(from, to time.Time) string { return shownTime(from) + " to " + shownTime(to) }
