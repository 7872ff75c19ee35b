package kafkasec

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/framelog/framelog/internal/app/acls"
	"github.com/framelog/framelog/tests/testenv"
)

// TestPrintedCommands: what framelog acls prints grants the rights, with Kafka's own program.
func TestPrintedCommands(t *testing.T) {
	c := apacheCluster(t)
	admin := filepath.Join(t.TempDir(), "admin.properties")
	if err := os.WriteFile(admin, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const user = "User:CN=people,O=it's"
	for _, role := range []string{"process", "monitor"} {
		printed := exec.CommandContext(t.Context(), testenv.Binary(t), "acls", "--role", role, "--user", user, "--name", "people", "--cameras", "yard")
		printed.Env = append(os.Environ(), "FRAMELOG_TOPIC_PREFIX="+c.super.Prefix)
		script, err := printed.Output()
		if err != nil {
			t.Fatal(err)
		}
		sh := exec.CommandContext(t.Context(), "sh")
		sh.Stdin = strings.NewReader(string(script))
		sh.Env = append(os.Environ(), "BROKERS="+c.kafka.Open[0], "ADMIN="+admin, "KAFKA_ACLS="+testenv.KafkaACLs(t))
		if out, err := sh.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s\n%s", err, script, out)
		}
	}
	scope := acls.Scope{Names: c.names(), Cameras: []string{"yard"}, Processors: []acls.Processor{{Name: "people", Outputs: []string{"people"}, Events: true}}}
	var want []string
	for _, r := range slices.Concat(c.rights(t, "process", scope), c.rights(t, "monitor", scope)) {
		for _, o := range r.Operations {
			pattern := "LITERAL"
			if r.Prefix {
				pattern = "PREFIXED"
			}
			want = append(want, fmt.Sprintf("%s %s %s %s %s", user, r.Type, r.Name, pattern, o))
		}
	}
	described, err := kadm.NewClient(c.admin).DescribeACLs(t.Context(), kadm.NewACLs().AnyResource().Operations().Allow().AllowHosts().ResourcePatternType(kadm.ACLPatternAny))
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, d := range described {
		for _, a := range d.Described {
			have = append(have, fmt.Sprintf("%s %s %s %s %s", a.Principal, a.Type, a.Name, a.Pattern, a.Operation))
		}
	}
	slices.Sort(want)
	slices.Sort(have)
	if want = slices.Compact(want); !slices.Equal(have, want) {
		t.Errorf("granted:\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}
