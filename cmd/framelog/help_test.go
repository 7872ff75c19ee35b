package main

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/testenv"
)

// TestHelp: without a command the binary lists the commands. Help has the flags of
// the command first, then those of all commands. Errors of the command line name
// the argument that is wrong.
func TestHelp(t *testing.T) {
	binary := testenv.Binary(t)
	free := testenv.Refusing(t)
	for _, tt := range []struct {
		args string
		code int
		want []string // in this order
		not  string
	}{
		{args: "", code: 2, want: []string{"cameras list", "framelog: a command is missing"}, not: "camsim"},
		{args: "cameras", code: 2, want: []string{"cameras list", "cameras add", "framelog: a command is missing"}, not: "ingest alone"},
		{args: "cameras lst", code: 2, want: []string{"framelog: ", "lst"}, not: "Commands:"},
		{args: "--help", want: []string{"Commands:", "up"}},
		{args: "cameras add --help", want: []string{"<url>", "--label=TEXT", "--replace", "Of all commands:", "--config=FILE", "--brokers=HOST:PORT", "127.0.0.1:9092"}},
		{args: "cameras apply --help", want: []string{"--file=FILE", "--prune", "--config"}, not: "STRING"},
		{args: "process", code: 2, want: []string{"framelog: ", "<name>"}},
		{args: "process --help", want: []string{"framelog process <name> --help", "transcode "}},
		{args: "process transcode --help", want: []string{"Usage: framelog process transcode [flags]\n", "--name=NAME", "--brokers=HOST:PORT", "--max-lag=DURATION", "Its own settings:", "--hardware=", "--from=TIME"}, not: "--redrive"},
		{args: "dlq", code: 2, want: []string{"dlq list", "dlq redrive", "framelog: a command is missing"}},
		{args: "archive list --data none", want: []string{"none/archive has nothing"}},
		{args: "archive verify --help", want: []string{"--camera=", "--from=TIME", "--to=TIME", "--data=DIR"}},
		{args: "hold", code: 2, want: []string{"hold add", "hold list", "hold release", "framelog: a command is missing"}},
		{args: "hold add --help", want: []string{"<camera>", "--from=TIME", "--to=TIME", "--reason=TEXT", "--data=DIR"}},
		{args: "hold add yard --from -1h --reason x --data none", code: 2, want: []string{"there is no archive in none/archive", "--config or --data"}},
		{args: "clip --help", want: []string{"<camera>", "--from=TIME", "--to=TIME", "--out=FILE", "--split", "--brokers=HOST:PORT"}},
		{args: "clip yard --from -10m --to -20m --out clip.mp4", code: 2, want: []string{"framelog: --from is not before --to"}},
		{args: "clip yard --from --out clip.mp4", code: 2, want: []string{"framelog: ", "--from", "want a time"}},
		{args: "clip yard --out clip.mp4 --from", code: 2, want: []string{"framelog: ", "--from", "want a time"}},
		{args: "export --help", want: []string{"<camera>", "--from=TIME", "--out=DIR", "--sign=KEYFILE", "--brokers=HOST:PORT"}},
		{args: "export yard --from -10m --to -20m --out x", code: 2, want: []string{"framelog: --from is not before --to"}},
		{args: "export yard --from -10m --out x --sign none.pem", code: 2, want: []string{"framelog: --sign: ", "none.pem", "no such file"}},
		{args: "verify none", code: 2, want: []string{"framelog: ", "none", "no such file", "framelog export"}},
		{args: "dlq play --help", want: []string{"<processor> <camera> <seq>", "--to=FILE", "--brokers=HOST:PORT"}},
		{args: "version", want: []string{"framelog "}, not: "ok"},
		{args: "version --check --brokers " + free, code: 1, want: []string{"ok       this version: reads records up to version 1", "configuration: every setting is known", "PROBLEM  brokers: ", free + " does not answer", "→ start it", "framelog: there is a problem"}},
		{args: "users", code: 2, want: []string{"users list", "users token", "framelog: a command is missing"}},
		{args: "users add --help", want: []string{"<name>", "--role=viewer|operator|admin", "--cameras=PATTERN", "--replace", "--brokers=HOST:PORT"}},
		{args: "users add anna", code: 2, want: []string{"framelog: ", "--role"}},
		{args: "users list --brokers " + free, code: 2, want: []string{free + " does not answer"}},
		{args: "cameras apply -f none.yaml", code: 2, want: []string{"framelog: none.yaml: ", "no such file"}, not: "--config"},
		{args: "cameras add yard rtsp://10.0.0.5/ --transport sctp", code: 2, want: []string{`framelog: --transport: want tcp or udp, not "sctp"; without it TCP is tried first, then UDP`}, not: `""`},
		{args: "cameras list --brokers " + free, code: 2, want: []string{"framelog: --brokers: " + free + " does not answer: connection refused"}},
		{args: "cameras remove yard --brokers " + free, code: 2, want: []string{free + " does not answer"}},
	} {
		cmd := exec.CommandContext(t.Context(), binary, strings.Fields(tt.args)...)
		cmd.Dir = t.TempDir()
		began := time.Now()
		b, err := cmd.CombinedOutput()
		out := string(b)
		t.Logf("framelog %s: %v", tt.args, time.Since(began).Round(time.Millisecond))
		var exit *exec.ExitError
		if code := cmd.ProcessState.ExitCode(); code != tt.code || err != nil && !errors.As(err, &exit) {
			t.Errorf("framelog %s: exit code %d, want %d (%v)", tt.args, code, tt.code, err)
		}
		rest := out
		for _, w := range tt.want {
			_, after, ok := strings.Cut(rest, w)
			if !ok {
				t.Errorf("framelog %s lacks %q, or has it too early:\n%s", tt.args, w, out)
			}
			rest = after
		}
		if tt.not != "" && strings.Contains(out, tt.not) {
			t.Errorf("framelog %s has %q:\n%s", tt.args, tt.not, out)
		}
	}
}
