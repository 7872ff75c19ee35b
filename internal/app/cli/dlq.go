package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/framelog/framelog/processors"
)

// DLQEnv holds what the subcommands of dlq need; kong passes it to their Run.
type DLQEnv struct {
	// Letters returns the dead letters of a processor and a camera. Empty arguments mean all.
	Letters func(ctx context.Context, processor, camera string) ([]processors.DeadLetter, error)
	// WriteMP4 writes the footage of a dead letter as a fragmented MP4.
	WriteMP4 func(ctx context.Context, l processors.DeadLetter, to io.Writer) error
	// Redrive processes dead letters again. It returns those that were not redriven before.
	Redrive func(ctx context.Context, processor string, letters []processors.DeadLetter) ([]processors.DeadLetter, error)
	Out     io.Writer
}

// DLQCmd is "framelog dlq".
type DLQCmd struct {
	Output string `help:"How to print: table or json." enum:"table,json" default:"table" short:"o" placeholder:"FORM" group:"Of all commands:"`

	List    DLQListCmd    `cmd:"" help:"List the dead letters."`
	Show    DLQShowCmd    `cmd:"" help:"Show one dead letter."`
	Play    DLQPlayCmd    `cmd:"" help:"Play a dead letter, or write its footage to a file."`
	Redrive DLQRedriveCmd `cmd:"" help:"Process dead letters again, into renditions named after the processor's with -redriven."`
}

func (c *DLQCmd) json() bool { return c.Output == "json" }

// DLQListCmd is "framelog dlq list".
type DLQListCmd struct {
	Processor string `arg:"" optional:"" help:"Only those of this processor."`
	Camera    string `help:"Only those of this camera." placeholder:"ID"`
}

// Run prints the dead letters, camera by camera.
func (c *DLQListCmd) Run(ctx context.Context, env *DLQEnv, parent *DLQCmd) error {
	all, err := env.Letters(ctx, c.Processor, c.Camera)
	if err != nil {
		return err
	}
	if parent.json() {
		return printJSON(env.Out, all)
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(env.Out, "There are no dead letters.")
		return err
	}
	w := tabwriter.NewWriter(&trimmer{out: env.Out}, 0, 0, 2, ' ', 0)
	// w reports errors only at Flush.
	fmt.Fprintln(w, "PROCESSOR\tCAMERA\tSEQ\tSTART\tLENGTH\tATTEMPTS\tERROR")
	for _, l := range all {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%d\t%s\n", l.Processor, l.Camera, l.Seq, l.Start.UTC().Format(time.RFC3339),
			l.Duration.Round(100*time.Millisecond), l.Attempts, short(why(l), 80))
	}
	return w.Flush()
}

// why is the error of a dead letter for people.
func why(l processors.DeadLetter) string {
	if l.Killed {
		return cmp.Or(oneLine(l.Error), "the process ended") + " (it killed its process)"
	}
	return oneLine(l.Error)
}

// short shortens a text to at most n bytes.
func short(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-len("…")], "") + "…"
}

// letterArgs name one dead letter.
type letterArgs struct {
	Processor string `arg:"" help:"Name of the processor."`
	Camera    string `arg:"" help:"Id of the camera."`
	Seq       uint64 `arg:"" help:"Number of the fragment."`
}

// find returns the dead letter.
func (a *letterArgs) find(ctx context.Context, env *DLQEnv) (processors.DeadLetter, error) {
	all, err := env.Letters(ctx, a.Processor, a.Camera)
	if err != nil {
		return processors.DeadLetter{}, err
	}
	for _, l := range all {
		if l.Seq == a.Seq {
			return l, nil
		}
	}
	return processors.DeadLetter{}, &UsageError{
		What:   fmt.Sprintf("%s has no dead letter %d of camera %q", a.Processor, a.Seq, a.Camera),
		Remedy: "\"framelog dlq list " + a.Processor + "\" shows those that there are; they expire with the camera's footage",
	}
}

// DLQShowCmd is "framelog dlq show".
type DLQShowCmd struct{ letterArgs }

// Run prints all that is known of a dead letter.
func (c *DLQShowCmd) Run(ctx context.Context, env *DLQEnv, parent *DLQCmd) error {
	l, err := c.find(ctx, env)
	if err != nil {
		return err
	}
	if parent.json() {
		return printJSON(env.Out, l)
	}
	w := tabwriter.NewWriter(&trimmer{out: env.Out}, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"processor", l.Processor},
		{"camera", l.Camera},
		{"seq", fmt.Sprint(l.Seq)},
		{"session", fmt.Sprint(l.Session)},
		{"life", l.Life},
		{"start", l.Start.UTC().Format(time.RFC3339Nano)},
		{"length", l.Duration.String()},
		{"bytes", fmt.Sprint(l.Bytes)},
		{"attempts", fmt.Sprint(l.Attempts)},
		{"error", why(l)},
		{"rendition", l.Rendition},
	} {
		fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
	}
	return w.Flush()
}

// DLQPlayCmd is "framelog dlq play".
type DLQPlayCmd struct {
	letterArgs
	To string `help:"Write the footage as MP4 to this file instead; - is standard output." placeholder:"FILE"`
}

// Run plays the footage of a dead letter, or writes it to a file.
func (c *DLQPlayCmd) Run(ctx context.Context, env *DLQEnv, parent *DLQCmd) error {
	l, err := c.find(ctx, env)
	switch {
	case err != nil:
		return err
	case c.To == "-":
		return env.WriteMP4(ctx, l, env.Out)
	case c.To == "":
		return env.play(ctx, l)
	}
	if err := env.writeFile(ctx, l, c.To); err != nil {
		return err
	}
	if parent.json() {
		return printJSON(env.Out, map[string]string{"file": c.To})
	}
	_, err = fmt.Fprintf(env.Out, "%s written.\n", c.To)
	return err
}

// writeFile writes the footage to a new file. It leaves no file that is not whole.
func (e *DLQEnv) writeFile(ctx context.Context, l processors.DeadLetter, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600) // it is a camera's footage
	if err != nil {
		return &UsageError{What: "--to: " + err.Error(), Remedy: "name a file that does not exist yet"}
	}
	if err := errors.Join(e.WriteMP4(ctx, l, f), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// players are programs that play a file again and again.
var players = [][]string{{"ffplay", "-loglevel", "error", "-loop", "0"}, {"mpv", "--loop"}, {"vlc", "--loop"}}

// play plays the footage until the player is closed.
func (e *DLQEnv) play(ctx context.Context, l processors.DeadLetter) error {
	for _, p := range players {
		player, err := exec.LookPath(p[0])
		if err != nil {
			continue
		}
		dir, err := os.MkdirTemp("", "framelog-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		file := filepath.Join(dir, fmt.Sprintf("%s-%s-%d.mp4", l.Processor, l.Camera, l.Seq)) // the player shows the name
		if err := e.writeFile(ctx, l, file); err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, player, append(p[1:], file)...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil && ctx.Err() == nil {
			return fmt.Errorf("%s: %w; without a player: framelog dlq play … --to FILE", p[0], err)
		}
		return nil
	}
	return &UsageError{What: "there is no player on this machine: ffplay, mpv or vlc", Remedy: "write the footage to a file with --to FILE, and play it elsewhere"}
}

// DLQRedriveCmd is "framelog dlq redrive".
type DLQRedriveCmd struct {
	Processor string `arg:"" help:"Name of the processor, in the configuration file or of a built-in kind. A program of your own has the flag --redrive."`
	Camera    string `arg:"" optional:"" help:"Only those of this camera."`
	Seq       uint64 `arg:"" optional:"" help:"Only this fragment."`
}

// Run processes dead letters again.
func (c *DLQRedriveCmd) Run(ctx context.Context, env *DLQEnv, parent *DLQCmd) error {
	var letters []processors.DeadLetter
	if c.Seq != 0 {
		l, err := (&letterArgs{c.Processor, c.Camera, c.Seq}).find(ctx, env)
		if err != nil {
			return err
		}
		letters = append(letters, l)
	} else {
		var err error
		if letters, err = env.Letters(ctx, c.Processor, c.Camera); err != nil {
			return err
		}
	}
	redriven := []processors.DeadLetter{}
	if len(letters) > 0 {
		done, err := env.Redrive(ctx, c.Processor, letters)
		if err != nil {
			return err
		}
		redriven = append(redriven, done...)
	}
	if parent.json() {
		return printJSON(env.Out, map[string]any{"processor": c.Processor, "redriven": redriven})
	}
	before := ""
	if n := len(letters) - len(redriven); n > 0 {
		before = fmt.Sprintf(" %d had been processed again before.", n)
	}
	_, err := fmt.Fprintf(env.Out, "%s processed again.%s\n", count(len(redriven), "dead letter"), before)
	return err
}
