// Package cli holds the subcommands of framelog for people. They print text; with
// --output json they print JSON for programs.
package cli

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/internal/secrets"
	"github.com/framelog/framelog/schemas"
)

// Registry is what the subcommands need of the registry; *registry.Client is
// one.
type Registry interface {
	Load(ctx context.Context) (registry.Snapshot, error)
	Put(ctx context.Context, cam schemas.Camera) error
	Delete(ctx context.Context, id string) error
	PutPurge(ctx context.Context, p schemas.Purge) error
	LastStatus(ctx context.Context, id string) (schemas.Status, error)
	DeleteStatus(id string)
	Reconcile(ctx context.Context, file registry.File, cams []schemas.Camera, prune bool) (registry.Result, error)
	Close()
}

// Env holds what the subcommands need; kong passes it to their Run.
type Env struct {
	// Connect returns a client of the registry, which the subcommand closes, and
	// the names of its brokers. It fails at once if no broker answers.
	Connect func(ctx context.Context) (r Registry, brokers string, err error)
	// Cameras reads the cameras of a configuration file.
	Cameras func(path string) (file registry.File, cams []schemas.Camera, err error)
	// Log makes a client of the log; the subcommand closes it.
	Log func() (Log, error)
	// Keep is secrets.Store if the secrets are on this machine. If they are
	// elsewhere, Keep does nothing and undo is nil.
	Keep func(cam schemas.Camera, password string) (undo func() error, err error)
	// Forget is secrets.Forget if the secrets are on this machine. If they are
	// elsewhere, it returns false.
	Forget func(id string, cameras map[string]schemas.Camera) (bool, error)
	In     io.Reader
	Out    io.Writer
	// Timeout bounds one subcommand. Default 8 s.
	Timeout time.Duration
	// StopWait bounds the wait for a camera to stop before its footage is purged.
	// Default 45 s: longer than the time until the status of a dead owner is
	// stale.
	StopWait time.Duration
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// CamerasCmd is "framelog cameras".
type CamerasCmd struct {
	Output string `help:"How to print: table or json." enum:"table,json" default:"table" short:"o" placeholder:"FORM" group:"Of all commands:"`

	List   ListCmd   `cmd:"" help:"Show all cameras, and what each is doing."`
	Add    AddCmd    `cmd:"" help:"Add a camera."`
	Remove RemoveCmd `cmd:"" help:"Remove cameras, and their footage with --purge."`
	Apply  ApplyCmd  `cmd:"" help:"Make the cameras of a configuration file what the file says."`
}

func (c *CamerasCmd) json() bool { return c.Output == "json" }

// UsageError is a mistake of the caller, and what to do instead.
type UsageError struct{ What, Remedy string }

func (e *UsageError) Error() string {
	if e.Remedy == "" {
		return e.What
	}
	return e.What + "; " + e.Remedy
}

// with runs f on the registry, in bounded time.
func (e *Env) with(ctx context.Context, f func(ctx context.Context, r Registry) error) error {
	return e.within(ctx, cmp.Or(e.Timeout, 8*time.Second), f)
}

func (e *Env) within(ctx context.Context, timeout time.Duration, f func(ctx context.Context, r Registry) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, brokers, err := e.Connect(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	err = f(ctx, r)
	var usage *UsageError
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && !errors.As(err, &usage) {
		what := fmt.Sprintf("%s did not answer within %s", brokers, timeout)
		if errors.Is(err, registry.ErrUncertain) {
			what += ", and may have written the change or not"
		}
		return &UsageError{What: what, Remedy: "look at the brokers, and at --brokers"}
	}
	var conflict *registry.ConflictError
	if errors.As(err, &conflict) {
		return &UsageError{What: err.Error()}
	}
	return err
}

func (e *Env) now() time.Time {
	if e.Now != nil {
		return e.Now()
	}
	return time.Now()
}

func (e *Env) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(e.Out, format, args...)
	return err
}

func (e *Env) json(v any) error { return printJSON(e.Out, v) }

func printJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// AddCmd is "framelog cameras add".
type AddCmd struct {
	ID          string        `arg:"" help:"What names the camera in URLs and topics: a-z, 0-9 and -."`
	URL         string        `arg:"" help:"rtsp:// or rtsps://, with a reference in place of the password; or framelog:// for a replay."`
	Label       string        `help:"A name for people." placeholder:"TEXT"`
	Substream   string        `help:"URL of the camera's second stream, which walls show." placeholder:"URL"`
	Transport   string        `help:"tcp or udp; by default TCP first, then UDP." placeholder:"tcp|udp"`
	InsecureTLS bool          `name:"insecure-tls" help:"Take any certificate of an rtsps camera."`
	NoAudio     bool          `name:"no-audio" help:"Leave the sound out."`
	Disabled    bool          `help:"Add it switched off."`
	Engine      string        `help:"What speaks RTSP with it: gstreamer or native; by default as ingest is configured." placeholder:"gstreamer|native"`
	Chunk       time.Duration `name:"chunk-duration" help:"Length of its chunks, at most 2s; 1ms makes a chunk of each picture; by default as ingest is configured." placeholder:"DURATION"`
	Replace     bool          `help:"Change the camera if there is one of this id already."`

	PasswordStdin bool `name:"password-stdin" help:"Read the password of the URLs' user from standard input, and keep it on this machine for the URLs' hosts and ports."`
}

// maxPassword is the longest password that is read, in bytes.
const maxPassword = 4096

// readPassword reads the password from standard input.
func readPassword(in io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(in, maxPassword+3)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the password: %w", err)
	}
	switch line = strings.TrimRight(line, "\r\n"); {
	case line == "":
		return "", &UsageError{What: "no password came on standard input"}
	case len(line) > maxPassword: // it may be incomplete
		return "", &UsageError{What: fmt.Sprintf("the password on standard input is longer than %d bytes", maxPassword)}
	}
	return line, nil
}

// camera returns the camera of the command line, and its password.
func (c *AddCmd) camera(in io.Reader, now time.Time) (cam schemas.Camera, password string, err error) {
	cam = schemas.Camera{
		ID: c.ID, Label: c.Label, URL: c.URL, Substream: c.Substream, Transport: c.Transport, InsecureTLS: c.InsecureTLS,
		NoAudio: c.NoAudio, Disabled: c.Disabled, Source: schemas.SourceAPI, Updated: now,
		Engine: c.Engine, ChunkMS: uint16(min(max(c.Chunk.Milliseconds(), 0), schemas.MaxChunkMS)),
	}
	if c.Chunk < 0 || c.Chunk.Milliseconds() > schemas.MaxChunkMS {
		return cam, "", &UsageError{What: fmt.Sprintf("--chunk-duration %v: want 0s to 2s", c.Chunk)}
	}
	typed, err := secrets.Split(&cam, schemas.Camera{})
	switch {
	case err != nil:
		return cam, "", &UsageError{What: err.Error()}
	case len(typed) > 0:
		return cam, "", &UsageError{
			What:   "the url holds a password, which a command line shows to everybody",
			Remedy: "leave it out and give it with --password-stdin, or " + byHand(c.ID),
		}
	}
	if c.PasswordStdin && !secrets.Refers(c.ID, cam) {
		if !takesPassword(cam.User, cam.Password) && !takesPassword(cam.SubstreamUser, cam.SubstreamPassword) {
			return cam, "", &UsageError{What: "the password that --password-stdin reads belongs to a user", Remedy: "write the user into the url, before the host and an @"}
		}
		if takesPassword(cam.User, cam.Password) {
			cam.Password = "${file:" + c.ID + "}"
		}
		if takesPassword(cam.SubstreamUser, cam.SubstreamPassword) {
			cam.SubstreamPassword = "${file:" + c.ID + "}"
		}
	}
	if err := secrets.Check(cam); err != nil {
		return cam, "", &UsageError{What: err.Error()}
	}
	if c.PasswordStdin {
		password, err = readPassword(in)
	}
	return cam, password, err
}

// takesPassword reports whether a stream has a user whose password is not given.
func takesPassword(user, password string) bool {
	return user != "" && password == "" && !strings.Contains(user, "${")
}

// keepAll stores the password for each stream of the camera that refers to it. undo
// restores the former ones.
func (e *Env) keepAll(cam schemas.Camera, password string) (undo func() error, err error) {
	var undone []func() error
	undo = func() (err error) {
		for _, u := range slices.Backward(undone) {
			err = errors.Join(err, u())
		}
		return err
	}
	for _, stream := range cam.Streams() {
		if !secrets.Refers(cam.ID, stream) {
			continue
		}
		u, err := e.keep(stream, password)
		if err != nil {
			return nil, errors.Join(err, undo())
		}
		undone = append(undone, u)
	}
	return undo, nil
}

// keep stores the password of a stream. undo restores the former one.
func (e *Env) keep(cam schemas.Camera, password string) (undo func() error, err error) {
	undo, err = e.Keep(cam, password)
	switch {
	case errors.Is(err, secrets.ErrHandMade):
		return nil, &UsageError{What: fmt.Sprintf("there is a file %s in the secrets_dir that Framelog did not write, and it is not replaced", cam.ID), Remedy: "take another id, or remove that file"}
	case err == nil && undo == nil:
		return nil, &UsageError{What: "the secrets are not on this machine, as far as is known", Remedy: "set --data or secrets_dir, or " + byHand(cam.ID)}
	}
	return undo, err
}

// byHand describes how to store a password without Framelog.
func byHand(id string) string {
	return fmt.Sprintf("write it to the file %[1]s in the secrets_dir of every ingest host, below a line \"for HOST:PORT\" with the camera's host and port, and put ${file:%[1]s} in its place, in single quotes", id)
}

// Run adds the camera, or changes it with --replace.
func (c *AddCmd) Run(ctx context.Context, env *Env, parent *CamerasCmd) error {
	if err := schemas.ValidateCameraID(c.ID); err != nil {
		return &UsageError{What: err.Error()}
	}
	if c.Transport != "" && c.Transport != "tcp" && c.Transport != "udp" {
		return &UsageError{What: fmt.Sprintf("--transport: want tcp or udp, not %q", c.Transport), Remedy: "without it TCP is tried first, then UDP"}
	}
	cam, password, err := c.camera(env.In, env.now())
	if err != nil {
		return err
	}
	return env.with(ctx, func(ctx context.Context, r Registry) error {
		have, err := r.Load(ctx)
		if err != nil {
			return err
		}
		old, exists := have.Cameras[c.ID]
		if err := writable(old); err != nil {
			return err
		}
		if exists && !c.Replace {
			return &UsageError{What: fmt.Sprintf("there is a camera %q already", c.ID), Remedy: "--replace changes it"}
		}
		undo := func() error { return nil }
		if password != "" {
			if undo, err = env.keepAll(cam, password); err != nil {
				return err
			}
		}
		switch err := r.Put(ctx, cam); {
		case errors.Is(err, registry.ErrUncertain):
			return err // the password stays, since the record may still be written
		case err != nil:
			return errors.Join(err, undo())
		}
		have.Cameras[c.ID] = cam
		if _, err := env.Forget(c.ID, have.Cameras); err != nil {
			return err
		}
		cam = secrets.Public(cam)
		switch {
		case parent.json():
			return env.json(cam)
		case exists:
			return env.printf("%s changed.\n", c.ID)
		}
		return env.printf("%s added. \"framelog cameras list\" shows what it is doing.\n", c.ID)
	})
}

// writable returns an error if a configuration file keeps the camera.
func writable(cam schemas.Camera) error {
	if cam.Source != schemas.SourceFile {
		return nil
	}
	what := fmt.Sprintf("camera %q is kept by %s", cam.ID, registry.Keeper(cam))
	name := registry.NameOf(cam.Origin)
	if name == registry.Demo {
		return &UsageError{What: what, Remedy: "start framelog up without --demo"}
	}
	if cam.Place != "" {
		what += ", " + cam.Place
	}
	return &UsageError{
		What:   what,
		Remedy: fmt.Sprintf("change it there; if that file does not exist any more, apply a file with --prune that says name: %s", name),
	}
}

// ApplyCmd is "framelog cameras apply".
type ApplyCmd struct {
	File  string `short:"f" required:"" placeholder:"FILE" help:"The configuration file; only its list of cameras is read."`
	Prune bool   `help:"Remove the cameras that the file no longer has."`
}

// Run changes the registry's cameras of this file to those in the file.
func (c *ApplyCmd) Run(ctx context.Context, env *Env, parent *CamerasCmd) error {
	file, cams, err := env.Cameras(c.File)
	if err != nil {
		return err
	}
	return env.with(ctx, func(ctx context.Context, r Registry) error {
		res, err := r.Reconcile(ctx, file, cams, c.Prune)
		if err != nil {
			return err
		}
		if err := env.forgetPruned(ctx, r, res.Removed); err != nil {
			return err
		}
		if parent.json() {
			return env.json(map[string][]string{
				"added": list(res.Added), "changed": list(res.Changed), "unchanged": list(res.Unchanged),
				"removed": list(res.Removed), "kept": list(res.Kept),
			})
		}
		return printResult(env, c.File, res)
	})
}

// list returns ids; if there are none, JSON has [] instead of null.
func list(ids []string) []string {
	if ids == nil {
		return []string{}
	}
	return ids
}
