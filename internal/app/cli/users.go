package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/framelog/framelog/internal/users"
	"github.com/framelog/framelog/schemas"
)

// UserStore is what the subcommands of users need of the topic of users; *users.Client is
// one.
type UserStore interface {
	Load(ctx context.Context) (*users.State, error)
	Put(ctx context.Context, u schemas.User) error
	Remove(ctx context.Context, name string) error
	Close()
}

// UsersEnv holds what the subcommands of users need; kong passes it to their Run.
type UsersEnv struct {
	// Connect returns a client of the topic, which the subcommand closes. It fails at once if
	// no broker answers.
	Connect func(ctx context.Context) (UserStore, error)
	In      io.Reader
	Out     io.Writer
}

// usersLimit bounds one subcommand of users.
const usersLimit = 15 * time.Second

// UsersCmd is "framelog users".
type UsersCmd struct {
	Output string `help:"How to print: table or json." enum:"table,json" default:"table" short:"o" placeholder:"FORM" group:"Of all commands:"`

	List   UsersListCmd   `cmd:"" help:"Show all users, and what they may do."`
	Add    UsersAddCmd    `cmd:"" help:"Add a user, or change what a user may do."`
	Reset  UsersResetCmd  `cmd:"" help:"Give a user another password, and end their sessions and share links."`
	Remove UsersRemoveCmd `cmd:"" help:"Remove users, with their sessions, tokens and share links."`
	Token  UsersTokenCmd  `cmd:"" help:"Make a token for a program, or remove one."`
}

func (c *UsersCmd) json() bool { return c.Output == "json" }

// with runs f on the users, in bounded time.
func (e *UsersEnv) with(ctx context.Context, f func(ctx context.Context, s UserStore, now *users.State) error) error {
	ctx, cancel := context.WithTimeout(ctx, usersLimit)
	defer cancel()
	s, err := e.Connect(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	now, err := s.Load(ctx)
	if err == nil {
		err = f(ctx, s, now)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &UsageError{What: fmt.Sprintf("the brokers did not answer within %s", usersLimit), Remedy: "look at the brokers, and at --brokers"}
	}
	return err
}

// known returns a user who exists.
func known(now *users.State, name string) (schemas.User, error) {
	u, ok := now.User(name)
	if !ok {
		return u, &UsageError{What: fmt.Sprintf("there is no user %q", name), Remedy: "framelog users list shows those that there are"}
	}
	return u, nil
}

func (e *UsersEnv) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(e.Out, format, args...)
	return err
}

// UsersListCmd is "framelog users list".
type UsersListCmd struct{}

// Run prints all users, by name.
func (c *UsersListCmd) Run(ctx context.Context, env *UsersEnv, parent *UsersCmd) error {
	return env.with(ctx, func(_ context.Context, _ UserStore, now *users.State) error {
		all := now.Users()
		if parent.json() {
			return printJSON(env.Out, append([]schemas.User{}, all...))
		}
		if len(all) == 0 {
			return env.printf("There are no users yet. Add an administrator: framelog users add NAME --role admin\n")
		}
		w := tabwriter.NewWriter(&trimmer{out: env.Out}, 0, 0, 2, ' ', 0)
		// w reports errors only at Flush.
		fmt.Fprintln(w, "USER\tROLE\tCAMERAS\tRENDITIONS\tSIGNS IN WITH\tTOKENS")
		for _, u := range all {
			cameras, renditions := strings.Join(u.Cameras, ","), strings.Join(u.Renditions, ",")
			if u.Role == schemas.Admin {
				cameras, renditions = "*", "*"
			}
			with := "nothing"
			switch {
			case u.Subject != "":
				with = "OpenID Connect"
			case u.Password != "":
				with = "a password"
			}
			var tokens []string
			for _, t := range u.Tokens {
				tokens = append(tokens, strings.TrimSpace(t.ID+" "+t.Label))
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", u.Name, u.Role, cameras, renditions, with, oneLine(strings.Join(tokens, ", ")))
		}
		return w.Flush()
	})
}

// UsersAddCmd is "framelog users add".
type UsersAddCmd struct {
	Name       string   `arg:"" help:"Name with which they sign in: a-z, 0-9 and ._@+-."`
	Role       string   `help:"viewer watches cameras, operator also changes them, admin may do everything." enum:"viewer,operator,admin" required:"" placeholder:"viewer|operator|admin"`
	Cameras    []string `help:"Cameras of a viewer or an operator, by id or pattern: yard,gate-*. All of an operator if it is not given." placeholder:"PATTERN"`
	Renditions []string `help:"Renditions that they may watch, as redacted. All if it is not given." placeholder:"PATTERN"`
	Replace    bool     `help:"Change what a user may do who exists already. Their sessions and share links end; password and tokens stay."`

	PasswordStdin bool `name:"password-stdin" help:"Read the password from standard input. Without it one is made and printed once."`
	NoPassword    bool `name:"no-password" help:"The user has tokens alone."`
}

// user returns the user of the command line without password and stamp.
func (c *UsersAddCmd) user() (schemas.User, error) {
	u := schemas.User{Name: c.Name, Role: schemas.UserRole(c.Role), Cameras: c.Cameras, Renditions: c.Renditions, Stamp: users.NewStamp()}
	if u.Role == schemas.Operator && len(u.Cameras) == 0 {
		u.Cameras = []string{"*"}
	}
	if u.Role == schemas.Viewer && len(u.Cameras) == 0 {
		return u, &UsageError{What: "a viewer sees the cameras that --cameras names", Remedy: "--cameras '*' is all of them, also those that are added later"}
	}
	if u.Role != schemas.Admin && len(u.Renditions) == 0 {
		u.Renditions = []string{"*"}
	}
	if err := u.Validate(); err != nil {
		return u, &UsageError{What: err.Error()}
	}
	return u, nil
}

// Run adds the user, or changes them with --replace.
func (c *UsersAddCmd) Run(ctx context.Context, env *UsersEnv) error {
	u, err := c.user()
	if err != nil {
		return err
	}
	return env.with(ctx, func(ctx context.Context, s UserStore, now *users.State) error {
		old, exists := now.User(c.Name)
		if exists && !c.Replace {
			return &UsageError{What: fmt.Sprintf("there is a user %q already", c.Name), Remedy: "--replace changes what they may do, framelog users reset their password"}
		}
		u.Tokens, u.Password, u.Subject = old.Tokens, old.Password, old.Subject
		made := ""
		if !exists && !c.NoPassword || c.PasswordStdin {
			if u.Password, made, err = env.password(ctx, c.PasswordStdin); err != nil {
				return err
			}
		}
		if err := s.Put(ctx, u); err != nil {
			return err
		}
		if exists {
			return env.printf("%s changed.\n", c.Name)
		}
		if err := env.printf("%s added.\n", c.Name); err != nil {
			return err
		}
		return env.tell(made)
	})
}

// password reads a password, or makes one. made is what was made.
func (e *UsersEnv) password(ctx context.Context, stdin bool) (hash, made string, err error) {
	password := users.NewPassword()
	if made = password; stdin {
		made = ""
		if password, err = readPassword(e.In); err != nil {
			return "", "", err
		}
	}
	if err := users.CheckPassword(password); err != nil {
		return "", "", &UsageError{What: err.Error()}
	}
	hash, err = users.HashPassword(ctx, password)
	return hash, made, err
}

// tell prints a password that was made.
func (e *UsersEnv) tell(made string) error {
	if made == "" {
		return nil
	}
	return e.printf("Password, which is shown only now: %s\n", made)
}

// UsersResetCmd is "framelog users reset".
type UsersResetCmd struct {
	Name          string `arg:"" help:"The user."`
	PasswordStdin bool   `name:"password-stdin" help:"Read the password from standard input. Without it one is made and printed once."`
}

// Run replaces the password.
func (c *UsersResetCmd) Run(ctx context.Context, env *UsersEnv) error {
	return env.with(ctx, func(ctx context.Context, s UserStore, now *users.State) error {
		u, err := known(now, c.Name)
		if err != nil {
			return err
		}
		if u.Subject != "" {
			return &UsageError{What: fmt.Sprintf("%s signs in with OpenID Connect, and has no password here", c.Name), Remedy: "framelog users remove ends their sessions"}
		}
		hash, made, err := env.password(ctx, c.PasswordStdin)
		if err != nil {
			return err
		}
		u.Password, u.Stamp = hash, users.NewStamp()
		if err := s.Put(ctx, u); err != nil {
			return err
		}
		if err := env.printf("%s has another password; their sessions and share links have ended.\n", c.Name); err != nil {
			return err
		}
		return env.tell(made)
	})
}

// UsersRemoveCmd is "framelog users remove".
type UsersRemoveCmd struct {
	Names []string `arg:"" help:"The users."`
}

// Run removes the users.
func (c *UsersRemoveCmd) Run(ctx context.Context, env *UsersEnv) error {
	return env.with(ctx, func(ctx context.Context, s UserStore, now *users.State) error {
		for _, name := range c.Names {
			if _, err := known(now, name); err != nil {
				return err
			}
		}
		for _, name := range c.Names {
			if err := s.Remove(ctx, name); err != nil {
				return err
			}
			if err := env.printf("%s removed.\n", name); err != nil {
				return err
			}
		}
		return nil
	})
}

// UsersTokenCmd is "framelog users token".
type UsersTokenCmd struct {
	Name   string `arg:"" help:"The user whose rights the token has."`
	Label  string `help:"What the token is for." placeholder:"TEXT"`
	Days   int    `help:"After how many days it ends; without it never." placeholder:"N"`
	Remove string `help:"Remove the token with this id instead." placeholder:"ID"`
}

// Run makes a token and prints it, or removes one.
func (c *UsersTokenCmd) Run(ctx context.Context, env *UsersEnv, parent *UsersCmd) error {
	return env.with(ctx, func(ctx context.Context, s UserStore, now *users.State) error {
		u, err := known(now, c.Name)
		if err != nil {
			return err
		}
		if c.Remove != "" {
			return c.remove(ctx, env, s, u)
		}
		if len(u.Tokens) >= schemas.MaxTokens {
			return &UsageError{What: fmt.Sprintf("%s has %d tokens, and a user has no more", u.Name, len(u.Tokens)), Remedy: "--remove ID removes one"}
		}
		created, until := time.Now(), time.Time{}
		if c.Days < 0 {
			return &UsageError{What: "--days: want a number from 1"}
		}
		if c.Days > 0 {
			until = created.AddDate(0, 0, c.Days)
		}
		text, t := users.NewToken(c.Label, created, until)
		u.Tokens = append(slices.Clone(u.Tokens), t)
		if err := s.Put(ctx, u); err != nil {
			return err
		}
		if parent.json() {
			return printJSON(env.Out, map[string]string{"id": t.ID, "token": text})
		}
		return env.printf("Token %s of %s, which is shown only now: %s\nSend it as \"Authorization: Bearer TOKEN\".\n", t.ID, u.Name, text)
	})
}

func (c *UsersTokenCmd) remove(ctx context.Context, env *UsersEnv, s UserStore, u schemas.User) error {
	left := slices.DeleteFunc(slices.Clone(u.Tokens), func(t schemas.Token) bool { return t.ID == c.Remove })
	if len(left) == len(u.Tokens) {
		return &UsageError{What: fmt.Sprintf("%s has no token %q", u.Name, c.Remove), Remedy: "framelog users list shows the ids"}
	}
	u.Tokens = left
	if err := s.Put(ctx, u); err != nil {
		return err
	}
	return env.printf("Token %s of %s removed.\n", c.Remove, u.Name)
}
