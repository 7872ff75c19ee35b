// Command framelog is all of Framelog in one binary. It has a subcommand for each
// role (see roles), `framelog up`, which runs all of them on one machine, and
// commands for people.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"golang.org/x/sys/unix"

	"github.com/framelog/framelog/internal/app/brokers"
	"github.com/framelog/framelog/internal/app/cli"
	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/app/service"
	"github.com/framelog/framelog/internal/app/supervise"
	"github.com/framelog/framelog/internal/broker"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/internal/secrets"
	"github.com/framelog/framelog/schemas"
)

// Exit codes. A role that up has started ends with supervise.ExitConfig instead
// of exitConfig.
const (
	exitFailed = 1
	exitConfig = 2
)

// camerasCmd is cli.CamerasCmd with the flags that locate the registry.
type camerasCmd struct {
	settings
	cli.CamerasCmd
}

// AfterApply gives the subcommands their registry.
func (c *camerasCmd) AfterApply(k *kong.Context) error {
	k.Bind(&c.CamerasCmd)
	k.Bind(&cli.Env{
		Out: k.Stdout,
		Connect: func(ctx context.Context) (cli.Registry, string, error) {
			cfg, err := c.load(nil)
			if err != nil {
				return nil, "", err
			}
			if err := brokers.Check(ctx, cfg); err != nil {
				return nil, "", err
			}
			kc := kafkaConfig(cfg, "framelog-cameras")
			r, err := registry.Connect(kc, slog.New(slog.DiscardHandler))
			return r, strings.Join(kc.Brokers, ", "), err
		},
		Log: func() (cli.Log, error) {
			cfg, err := c.load(nil)
			if err != nil {
				return nil, err
			}
			return medialog.Connect(logConfig(cfg, "framelog-cameras"), slog.New(slog.DiscardHandler), nil)
		},
		In: os.Stdin,
		Keep: func(cam schemas.Camera, password string) (func() error, error) {
			cfg, err := c.load(nil)
			if err != nil {
				return nil, err
			}
			return keep(cfg, cam, password)
		},
		Forget: func(id string, cameras map[string]schemas.Camera) (bool, error) {
			cfg, err := c.load(nil)
			if err != nil {
				return false, err
			}
			return forget(cfg, id, cameras)
		},
		Cameras: func(path string) (registry.File, []schemas.Camera, error) {
			s := c.settings
			s.Config = path
			cfg, err := s.load(nil)
			if err != nil {
				return registry.File{}, nil, err
			}
			if err := cfg.TakePasswords(nil); err != nil {
				return registry.File{}, nil, err
			}
			file, err := configFile(cfg)
			return file, cfg.Records(), err
		},
	})
	return nil
}

// hasSecrets reports whether the secrets are on this machine, as far as is known:
// the configuration names their directory, or a running Framelog uses the default
// data directory. If the brokers are elsewhere, or up was started in another
// folder, the directory here belongs to other cameras, or does not exist.
func hasSecrets(cfg *config.Config) bool {
	if cfg.Where("data") != "" || cfg.Where("secrets_dir") != "" {
		return true
	}
	return cfg.Embedded() && (locked(filepath.Join(cfg.Data, "lock")) || locked(filepath.Join(cfg.Data, "broker", "lock")))
}

// locked reports whether a process has the lock of a data directory: up locks
// the directory itself, and the broker the one below it.
func locked(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close() // and with it the lock, if this process got it
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// keep stores the password of a camera if the secrets are on this machine. If they
// are not, undo is nil.
func keep(cfg *config.Config, cam schemas.Camera, password string) (undo func() error, err error) {
	if !hasSecrets(cfg) {
		return nil, nil
	}
	return secrets.Store(cfg.SecretsDir, cam, password)
}

// forget is secrets.Forget if the secrets are on this machine. If they are not, it
// returns false.
func forget(cfg *config.Config, id string, cameras map[string]schemas.Camera) (bool, error) {
	if !hasSecrets(cfg) {
		return false, nil
	}
	return secrets.Forget(cfg.SecretsDir, id, cameras)
}

// configFile returns the configuration file as the registry identifies it.
func configFile(cfg *config.Config) (registry.File, error) {
	return registry.NewFile(cfg.Name, cfg.Named(), cfg.Path, cfg.Embedded())
}

func main() {
	os.Exit(run(os.Args[1:]))
}

// run is main; it returns the exit code. The first signal ends ctx, the second one
// ends the process.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	table := roles()
	k, err := kong.New(&struct{}{}, append(commands(table), kong.Name("framelog"), kong.Description("Cameras in, a Kafka log between, HLS out."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)))...)
	if err != nil {
		return fail(fmt.Errorf("command line: %w", err))
	}
	parsed, err := k.Parse(args)
	if err != nil {
		var pe *kong.ParseError
		if errors.As(err, &pe) {
			if commandMissing(pe.Context) {
				k.Stdout = k.Stderr
				if err := pe.Context.PrintUsage(false); err != nil {
					return fail(fmt.Errorf("print help: %w", err))
				}
				fmt.Fprintln(k.Stderr)
				return fail(&config.Error{What: "a command is missing", Remedy: "it is one of these"})
			}
			return fail(&config.Error{What: pe.Error(), Remedy: "see framelog --help"})
		}
		return fail(err)
	}
	err = parsed.Run()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) && !strings.HasPrefix(parsed.Command(), "cameras") && !strings.HasPrefix(parsed.Command(), "users") {
		return 0 // a signal ended the role
	}
	if err == nil {
		return 0
	}
	code := fail(err)
	if code == exitConfig && slices.ContainsFunc(table, role.supervised) {
		return supervise.ExitConfig
	}
	return code
}

// commands makes the command line: a subcommand for each role, and those for people.
func commands(table []role) (out []kong.Option) {
	out = append(out, kong.DynamicCommand("up", "Run everything on this machine, with the embedded broker unless brokers are configured.", "", new(upCmd)))
	for _, r := range table {
		var tags []string
		if r.help == "" {
			tags = []string{`hidden:""`}
		}
		out = append(out, kong.DynamicCommand(r.name, r.help, "", r.command, tags...))
	}
	return append(out,
		kong.DynamicCommand("hold", "Keep ranges of footage in the archive from being deleted.", "", new(holdCmd)),
		kong.DynamicCommand("cameras", "Show and change the cameras.", "", new(camerasCmd)),
		kong.DynamicCommand("clip", "Write a range of a camera's footage as an MP4 file.", "", new(clipCmd)),
		kong.DynamicCommand("export", "Write a range of a camera's footage with all that proves later that nothing was changed.", "", new(exportCmd)),
		kong.DynamicCommand("verify", "Check what framelog export wrote, alone and against the log.", "", new(verifyCmd)),
		kong.DynamicCommand("dlq", "Show, play and repeat fragments at which processors failed.", "", new(dlqCmd)),
		kong.DynamicCommand("lag", "Show how far cameras, processors and consumer groups are behind, worst first.", "", new(lagCmd)),
		kong.DynamicCommand("replay", "Repeat past footage of a camera as if it were live, as another camera.", "", new(replayCmd)),
		kong.DynamicCommand("acls", "Print the commands that grant a role its rights in Kafka.", "", new(aclsCmd)),
		kong.DynamicCommand("users", "Show and change who may use Framelog.", "", new(usersCmd)),
		kong.DynamicCommand("ready", "Ask a role whether it is ready.", "", new(readyCmd)),
		kong.DynamicCommand("version", "Print the version, and check whether it may run beside those that run now.", "", new(versionCmd)))
}

// commandMissing reports whether the arguments are correct and only a command is
// missing.
func commandMissing(c *kong.Context) bool {
	node := c.Model.Node
	if s := c.Selected(); s != nil {
		node = s
	}
	return c.Error == nil && len(node.Children) > 0
}

// fail prints err in one line and returns the exit code.
func fail(err error) int {
	var child *supervise.ConfigError
	if errors.As(err, &child) {
		said := strings.TrimPrefix(child.Said, "framelog: ")
		if said == "" {
			said = child.Role + " refuses its configuration"
		}
		fmt.Fprintln(os.Stderr, "framelog: "+said)
		return exitConfig
	}
	// An error of the command line may repeat an argument, which may be a camera's URL.
	fmt.Fprintln(os.Stderr, "framelog: "+secrets.Redact(strings.ReplaceAll(err.Error(), "\n", "; ")))
	var usage *cli.UsageError
	if config.IsError(err) || errors.As(err, &usage) {
		return exitConfig
	}
	return exitFailed
}

// listenError turns an error of Listen into an error of the configuration. It
// returns other errors unchanged.
func listenError(cfg *config.Config, key, addr string, err error) error {
	listens := errors.Is(err, service.ErrListen) || errors.Is(err, broker.ErrListen)
	if !listens || errors.Is(err, context.Canceled) {
		return err
	}
	what, remedy := service.ListenProblem(addr, err)
	return cfg.Errorf(key, remedy, "%s", what)
}
