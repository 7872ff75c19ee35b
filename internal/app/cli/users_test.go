package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/users"
	"github.com/framelog/framelog/schemas"
)

// usersBench runs subcommands of users on a broker.
type usersBench struct {
	t   *testing.T
	cfg kafka.Config
	out bytes.Buffer
}

func newUsersBench(t *testing.T) *usersBench {
	t.Helper()
	k, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return &usersBench{t: t, cfg: kafka.Config{Brokers: k.ListenAddrs()}}
}

func (b *usersBench) env(stdin string) *UsersEnv {
	return &UsersEnv{In: strings.NewReader(stdin), Out: &b.out, Connect: func(context.Context) (UserStore, error) {
		return users.Connect(b.cfg, slog.New(slog.DiscardHandler))
	}}
}

// run returns what a subcommand prints.
func (b *usersBench) run(err error) string {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	defer b.out.Reset()
	return b.out.String()
}

// user returns a user of the topic.
func (b *usersBench) user(name string) (u schemas.User, ok bool) {
	b.t.Helper()
	if err := b.env("").with(b.t.Context(), func(_ context.Context, _ UserStore, now *users.State) error {
		u, ok = now.User(name)
		return nil
	}); err != nil {
		b.t.Fatal(err)
	}
	return u, ok
}

func (b *usersBench) refused(what, want string, err error) {
	b.t.Helper()
	var usage *UsageError
	if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
		b.t.Errorf("%s: %v, want %q", what, err, want)
	}
}

func (b *usersBench) valid(name, password string) bool {
	b.t.Helper()
	u, _ := b.user(name)
	ok, err := users.VerifyPassword(b.t.Context(), u.Password, password)
	if err != nil {
		b.t.Fatal(err)
	}
	return ok
}

// TestUsers: a user from being added to being removed.
func TestUsers(t *testing.T) {
	b, ctx, plain := newUsersBench(t), t.Context(), &UsersCmd{}
	if got := b.run((&UsersListCmd{}).Run(ctx, b.env(""), plain)); !strings.Contains(got, "framelog users add NAME --role admin") {
		t.Errorf("list of none: %s", got)
	}
	made := b.run((&UsersAddCmd{Name: "root", Role: "admin"}).Run(ctx, b.env("")))
	password := regexp.MustCompile(`only now: (\S+)`).FindStringSubmatch(made)
	if password == nil || !b.valid("root", password[1]) {
		t.Fatalf("the password that was made: %s", made)
	}
	add := UsersAddCmd{Name: "anna", Role: "viewer", Cameras: []string{"yard"}, PasswordStdin: true}
	if got := b.run(add.Run(ctx, b.env("correct horse battery\n"))); got != "anna added.\n" || !b.valid("anna", "correct horse battery") {
		t.Errorf("added: %s", got)
	}
	first, _ := b.user("anna")
	if first.Renditions[0] != "*" || first.Role != schemas.Viewer {
		t.Errorf("%+v", first)
	}

	text := b.run((&UsersTokenCmd{Name: "anna", Label: "wall", Days: 30}).Run(ctx, b.env(""), plain))
	u, _ := b.user("anna")
	if len(u.Tokens) != 1 || u.Tokens[0].Label != "wall" || u.Tokens[0].Until.Sub(u.Tokens[0].Created).Round(time.Hour) != 30*24*time.Hour || u.Stamp != first.Stamp {
		t.Fatalf("%+v", u)
	}
	_, secret, _ := strings.Cut(regexp.MustCompile(`fl_(\S+)`).FindStringSubmatch(text)[1], "_")
	if !u.Tokens[0].Is(secret) {
		t.Error("the token that was printed is another one")
	}

	change := UsersAddCmd{Name: "anna", Role: "viewer", Cameras: []string{"gate"}, Renditions: []string{"redacted"}, Replace: true}
	b.run(change.Run(ctx, b.env("")))
	now, _ := b.user("anna")
	if now.Cameras[0] != "gate" || now.Renditions[0] != "redacted" || now.Password != first.Password || len(now.Tokens) != 1 || now.Stamp == first.Stamp {
		t.Errorf("changed: %+v", now)
	}
	b.run((&UsersResetCmd{Name: "anna", PasswordStdin: true}).Run(ctx, b.env("another password")))
	if again, _ := b.user("anna"); b.valid("anna", "correct horse battery") || !b.valid("anna", "another password") || again.Stamp == now.Stamp || len(again.Tokens) != 1 {
		t.Errorf("reset: %+v", again)
	}

	list := b.run((&UsersListCmd{}).Run(ctx, b.env(""), plain))
	if !regexp.MustCompile(`(?m)^anna +viewer +gate +redacted +a password +[0-9a-f]{16} wall$`).MatchString(list) || !strings.Contains(list, "root  admin") {
		t.Errorf("list:\n%s", list)
	}
	asJSON := b.run((&UsersListCmd{}).Run(ctx, b.env(""), &UsersCmd{Output: "json"}))
	var all []map[string]any
	if err := json.Unmarshal([]byte(asJSON), &all); err != nil || len(all) != 2 || strings.Contains(asJSON, "argon2id") || strings.Contains(asJSON, now.Stamp) {
		t.Errorf("JSON, %v: %s", err, asJSON)
	}

	b.run((&UsersTokenCmd{Name: "anna", Remove: u.Tokens[0].ID}).Run(ctx, b.env(""), plain))
	b.run((&UsersRemoveCmd{Names: []string{"anna", "root"}}).Run(ctx, b.env("")))
	if _, ok := b.user("anna"); ok {
		t.Error("she is still there")
	}
}

func TestUsersRefused(t *testing.T) {
	b, ctx, plain := newUsersBench(t), t.Context(), &UsersCmd{}
	b.run((&UsersAddCmd{Name: "root", Role: "admin", NoPassword: true}).Run(ctx, b.env("")))
	if u, _ := b.user("root"); u.Password != "" {
		t.Error("a password was made")
	}
	add := func(c UsersAddCmd, stdin string) error { return c.Run(ctx, b.env(stdin)) }
	b.refused("again", "--replace", add(UsersAddCmd{Name: "root", Role: "admin"}, ""))
	b.refused("viewer of nothing", "--cameras '*'", add(UsersAddCmd{Name: "anna", Role: "viewer"}, ""))
	b.refused("admin of some", "no patterns", add(UsersAddCmd{Name: "anna", Role: "admin", Cameras: []string{"yard"}}, ""))
	b.refused("a name in capitals", "want 1 to 128", add(UsersAddCmd{Name: "Anna", Role: "admin"}, ""))
	b.refused("a short password", "12 to 256 bytes", add(UsersAddCmd{Name: "anna", Role: "admin", PasswordStdin: true}, "short"))
	b.refused("no password", "no password came", add(UsersAddCmd{Name: "anna", Role: "admin", PasswordStdin: true}, ""))
	b.refused("unknown", `no user "anna"`, (&UsersResetCmd{Name: "anna"}).Run(ctx, b.env("")))
	b.refused("remove unknown", `no user "anna"`, (&UsersRemoveCmd{Names: []string{"root", "anna"}}).Run(ctx, b.env("")))
	b.refused("token of unknown", `no user "anna"`, (&UsersTokenCmd{Name: "anna"}).Run(ctx, b.env(""), plain))
	b.refused("unknown token", `no token "x"`, (&UsersTokenCmd{Name: "root", Remove: "x"}).Run(ctx, b.env(""), plain))
	if _, ok := b.user("root"); !ok {
		t.Error("one of two was removed, although the other is unknown")
	}
	for range schemas.MaxTokens {
		b.run((&UsersTokenCmd{Name: "root"}).Run(ctx, b.env(""), plain))
	}
	b.refused("too many", "32 tokens", (&UsersTokenCmd{Name: "root"}).Run(ctx, b.env(""), plain))
}
