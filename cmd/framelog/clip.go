package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/framelog/framelog/internal/app/brokers"
	"github.com/framelog/framelog/internal/app/cli"
	"github.com/framelog/framelog/internal/clip"
	"github.com/framelog/framelog/internal/fsync"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// clipCmd is "framelog clip".
type clipCmd struct {
	settings
	Camera    string   `arg:"" help:"The camera."`
	From      cli.Time `help:"Begin here: 2026-01-31T08:00:00Z, seconds since 1970, or -30m." placeholder:"TIME" required:""`
	To        cli.Time `help:"End here. Default: now." placeholder:"TIME"`
	Rendition string   `help:"A rendition of the camera." placeholder:"NAME" default:"raw"`
	Out       string   `help:"The file to write; - is the standard output." placeholder:"FILE" required:""`
	Split     bool     `help:"Write a file for each session and configuration: FILE with -1, -2, … before its extension."`
}

// Run writes the file or files.
func (c *clipCmd) Run(ctx context.Context, k *kong.Context) error {
	topic, from, to, err := c.asked(time.Now())
	if err != nil {
		return err
	}
	cfg, err := c.load(nil)
	if err != nil {
		return err
	}
	if err := brokers.Check(ctx, cfg); err != nil {
		return err
	}
	l, err := medialog.Connect(readerConfig(cfg, "framelog-clip"), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return err
	}
	defer l.Close()
	all, err := withArchive(cfg, l, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return err
	}
	return c.cut(ctx, k, all, topic, from, to)
}

// cut writes the clips of a range.
func (c *clipCmd) cut(ctx context.Context, k *kong.Context, l clip.Log, topic schemas.Topic, from, to time.Time) error {
	clips, err := clip.Plan(ctx, l, topic, from, to)
	switch {
	case err != nil:
		return fmt.Errorf("%s of %s: %w", c.Rendition, c.Camera, err)
	case len(clips) > 1 && !c.Split:
		return &cli.UsageError{What: fmt.Sprintf("the range holds %d sessions or configurations, and each needs a file of its own: %s", len(clips), list(clips)), Remedy: "add --split, or ask for one of them"}
	}
	return c.writeAll(clips, func(one *clip.Clip, name string) error { return c.write(ctx, k, l, one, name) })
}

// writeAll writes a file for each clip. Of one that is cut off within the delay of reordered
// pictures none may be shown: it has no file.
func (c *clipCmd) writeAll(clips []*clip.Clip, write func(one *clip.Clip, name string) error) error {
	written := 0
	for _, one := range clips {
		name := c.Out
		if c.Split {
			name = numbered(c.Out, written+1)
		}
		switch err := write(one, name); {
		case err == nil:
			written++
		case !errors.Is(err, clip.ErrNone):
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if written == 0 {
		return fmt.Errorf("%s of %s: %w", c.Rendition, c.Camera, clip.ErrNone)
	}
	return nil
}

// write writes one file, and shows on a terminal how much is read and written.
func (c *clipCmd) write(ctx context.Context, k *kong.Context, l clip.Log, one *clip.Clip, name string) (err error) {
	show := onTerminal(k)
	defer func() {
		if err != nil {
			clearLine(show) // the error follows
		}
	}()
	f, err := one.Prepare(ctx, l, progress(show, name+": read", one.Bytes()))
	if err != nil {
		return err
	}
	copied := func(w io.Writer) error {
		r, done := f.Reader(ctx), progress(show, name+": written", f.Size())
		defer r.Close()
		for {
			n, err := r.Next(w) // the system copies from file to file
			done(n)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	}
	if name == "-" {
		err = copied(k.Stdout)
	} else {
		err = writeFile(name, copied)
	}
	if err == nil {
		fmt.Fprintf(k.Stderr, "%s: %s to %s, %.1f MB\n", name, shown(f.From), shown(f.To), float64(f.Size())/1e6)
	}
	return err
}

// asked checks the arguments.
func (c *clipCmd) asked(now time.Time) (t schemas.Topic, from, to time.Time, err error) {
	if t = (schemas.Topic{Camera: c.Camera, Rendition: c.Rendition}); t.IsRaw() {
		t = t.Source()
	}
	for _, err := range []error{schemas.ValidateCameraID(c.Camera), schemas.ValidateRendition(c.Rendition)} {
		if err != nil {
			return t, from, to, &cli.UsageError{What: err.Error()}
		}
	}
	if from, err = c.From.Parse("--from", now); err != nil {
		return t, from, to, err
	}
	if to = now; c.To != "" {
		if to, err = c.To.Parse("--to", now); err != nil {
			return t, from, to, err
		}
	}
	switch {
	case !from.Before(to):
		err = &cli.UsageError{What: "--from is not before --to"}
	case c.Split && c.Out == "-":
		err = &cli.UsageError{What: "--split needs the name of a file in --out"}
	}
	return t, from, to, err
}

// list names the ranges of clips exactly: one session may begin where the one before it ends.
func list(clips []*clip.Clip) string {
	var all []string
	for _, c := range clips {
		all = append(all, "--from "+c.From.UTC().Format(time.RFC3339Nano)+" --to "+c.To.UTC().Format(time.RFC3339Nano))
	}
	return strings.Join(all, ", ")
}

func shown(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999Z") }

// numbered puts a number before the extension of a file name.
func numbered(name string, n int) string {
	end := filepath.Ext(name)
	return fmt.Sprintf("%s-%d%s", strings.TrimSuffix(name, end), n, end)
}

// syncDir is fsync.Dir. A test changes it.
var syncDir = fsync.Dir

// writeFile makes a file that is there only as a whole, also after a power cut. It replaces none.
func writeFile(name string, write func(io.Writer) error) (err error) {
	if _, err := os.Lstat(name); err == nil {
		return &cli.UsageError{What: "the file exists", Remedy: "choose another name, or remove it"}
	}
	part := name + ".part"
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return &cli.UsageError{What: part + " exists: another command writes this clip, or has been killed", Remedy: "choose another name, or remove that file"}
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(part)
		}
	}()
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(part, name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

// progress returns a function that is told of bytes and shows their sum, at each whole
// megabyte.
func progress(w io.Writer, name string, total int64) func(bytes int64) {
	var done int64
	return func(bytes int64) {
		before := done / 1e6
		if done += bytes; done/1e6 != before {
			fmt.Fprintf(w, "\r%s %d of %d MB\x1b[K", name, done/1e6, total/1e6)
		}
		if done >= total {
			clearLine(w)
		}
	}
}

// clearLine makes the line of progress empty.
func clearLine(w io.Writer) { fmt.Fprint(w, "\r\x1b[K") }
