package faults

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/tests/testenv"
)

// commands searches what commands print, with wrong arguments and wrong
// configurations too.
func (l *leak) commands(s *scene) {
	l.t.Helper()
	n := 0
	run := func(code int, args ...string) {
		n++
		ctx, cancel := context.WithTimeout(l.t.Context(), testenv.Patience)
		defer cancel()
		out, err := exec.CommandContext(ctx, testenv.Binary(l.t), args...).CombinedOutput()
		got := 0
		if err != nil {
			got = -1
			if e, ok := err.(*exec.ExitError); ok { //nolint:errorlint // from Run itself
				got = e.ExitCode()
			}
		}
		if got != code {
			l.t.Errorf("framelog %s: exit code %d, want %d: %s", args[0], got, code, out)
		}
		l.search("output", fmt.Sprint(n, " ", strings.Join(args[:min(2, len(args))], " ")), out)
	}
	run(0, "cameras", "list", "--brokers", s.Broker)
	run(0, "cameras", "list", "--brokers", s.Broker, "--output", "json")
	url := "rtsp://viewer:" + oddPassword + "@127.0.0.1/"
	run(2, "cameras", "add", "cli", url, "--brokers", s.Broker)
	run(2, "cameras", "add", "cli", "label", url, "--brokers", s.Broker)
	run(2, "cameras", "add", url, "--brokers", s.Broker)
	run(2, "cameras", "add", "cli", url, "--transport", url)
	good := "cameras:\n  - id: a\n    url: '" + url + "'\n"
	for i, text := range []string{
		good + "    pasword: " + canary + "\n",
		good + "    no_audio: '" + url + "'\n",
		good + "    transport: '" + url + "'\n",
		good + "listen: '" + url + "'\n",
		good + "brokers: ['" + url + "']\n",
		good + "log: '" + url + "'\n",
		good + "    '" + url + "': 1\n",
		"cameras:\n  - id: '" + url + "'\n    url: '" + url + "'\n",
		good + "  - id: a\n    url: '" + url + "'\n",
		good + "  - id: A\n    url: '" + url + "'\n",
		good + "   - id: b\n",
		"cameras:\n  - id: a\n    url: 'http://viewer:" + canary + "@h/'\n",
		"cameras:\n  - id: a\n    url: 'rtsp://viewer:" + canary + "@h:0/'\n",
		"cameras:\n  - id: a\n    url: 'rtsp://viewer:" + canary + "\n",
		"cameras:\n  - id: a\n    url: [\"" + url + "\"]\n",
		"cameras:\n  - id: a\n    url:\n      rtsp: \"" + url + "\"\n",
		"cameras:\n  " + url + "\n",
		url + "\n",
		"\t" + good,
	} {
		path := filepath.Join(l.t.TempDir(), fmt.Sprintf("wrong-%d.yaml", i))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			l.t.Fatal(err)
		}
		run(2, "up", "--config", path, "--data", l.t.TempDir())
	}
	// Only `up` accepts a literal password. In a cluster it is refused.
	path := filepath.Join(l.t.TempDir(), "literal.yaml")
	if err := os.WriteFile(path, []byte(good), 0o600); err != nil {
		l.t.Fatal(err)
	}
	run(2, "ingest", "--config", path, "--brokers", s.Broker)
	run(2, "cameras", "apply", "-f", path, "--brokers", s.Broker)
}

// environments: only up, which has them from the test, and ingest have the secrets.
func (l *leak) environments(s *scene) {
	for role, pids := range s.Children() {
		for _, pid := range pids {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
			if err != nil {
				l.t.Errorf("environment of %s: %v", role, err)
			}
			if role == "ingest" {
				l.count("environment")
				if !bytes.Contains(b, []byte(canary)) {
					l.t.Error("ingest has no secrets")
				}
				continue
			}
			l.search("environment", role, b)
		}
	}
}

// records searches key, value and headers of every record of every topic.
func (l *leak) records(s *scene) {
	ctx, cancel := context.WithTimeout(l.t.Context(), 3*testenv.Patience)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.Broker))
	if err != nil {
		l.t.Fatal(err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	starts, err := admin.ListStartOffsets(ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	ends, err := admin.ListEndOffsets(ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	from, left := map[string]map[int32]kgo.Offset{}, 0
	ends.Each(func(o kadm.ListedOffset) {
		start, _ := starts.Lookup(o.Topic, o.Partition)
		if start.Offset >= o.Offset {
			return
		}
		if from[o.Topic] == nil {
			from[o.Topic] = map[int32]kgo.Offset{}
		}
		from[o.Topic][o.Partition] = kgo.NewOffset().At(start.Offset)
		left++
	})
	if from["cameras"] == nil || from["cameras.status"] == nil || from["cam.digest-env"] == nil || from["cam.digest-env.index"] == nil {
		l.t.Errorf("topics with records: %d", len(from))
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(s.Broker), kgo.ConsumePartitions(from))
	if err != nil {
		l.t.Fatal(err)
	}
	defer reader.Close()
	for left > 0 {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			l.t.Fatalf("read topics: %v", err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			b := append(append([]byte(nil), r.Key...), r.Value...)
			for _, h := range r.Headers {
				b = append(append(b, h.Key...), h.Value...)
			}
			l.search("record", r.Topic, b)
			if end, ok := ends.Lookup(r.Topic, r.Partition); ok && r.Offset == end.Offset-1 {
				left--
			}
		})
	}
	groups, err := admin.DescribeGroups(ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	l.search("record", "groups", fmt.Appendf(nil, "%+v", groups))
}

// files searches the data directory, and checks who may read the secrets.
func (l *leak) files(data string) {
	secrets := filepath.Join(data, "secrets")
	kept := 0
	err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if path == secrets && info.Mode().Perm() != 0o700 {
			l.t.Errorf("%s has mode %v", path, info.Mode())
		}
		if !info.Mode().IsRegular() {
			return nil
		}
		if filepath.Dir(path) == secrets {
			if info.Mode().Perm() != 0o600 {
				l.t.Errorf("%s has mode %v", path, info.Mode())
			}
			kept++
			return nil
		}
		b, err := os.ReadFile(path)
		if err == nil {
			l.search("file", path, b)
		}
		return err
	})
	if err != nil {
		l.t.Error(err)
	}
	if kept < 8 {
		l.t.Errorf("only %d passwords in the secrets directory", kept)
	}
}
