// Package upgrade finds out whether this version of Framelog may run beside the processes
// that use a log now: whether it can read what is there, whether it can join their groups,
// and whether its configuration would delete footage.
package upgrade

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
)

// Config is what is compared with the log.
type Config struct {
	Kafka kafka.Config
	// Retention is topics.retention. 0: it is not compared.
	Retention time.Duration
	// Version is the newest schema version that the program reads, and the one that it
	// writes. Default: schemas.Version.
	Version int
}

// Finding is what was found about one thing.
type Finding struct {
	About   string // "cameras", "group framelog-ingest"
	What    string
	Problem bool   // this version must not run before it is solved
	Remedy  string // of a problem, or of what will be one in the next version
}

// Check reads the newest records of the registry, of the users and of all indexes, the
// consumer groups and the settings of the topics. It reads no footage: chunks have the version
// of their entries. It changes nothing. Errors: ctx's; the brokers do not answer.
func Check(ctx context.Context, cfg Config) ([]Finding, error) {
	cfg.Version = cmp.Or(cfg.Version, schemas.Version)
	client, err := kgo.NewClient(cfg.Kafka.Options(slog.New(slog.DiscardHandler))...)
	if err != nil {
		return nil, fmt.Errorf("upgrade: connect: %w", err)
	}
	defer client.Close()
	c := checker{cfg: cfg, names: cfg.Kafka.Names(), client: client, admin: kadm.NewClient(client)}
	for _, step := range []func(context.Context) error{c.records, c.groups, c.retention} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return c.found, nil
}

// checker is one call of Check.
type checker struct {
	cfg    Config
	names  schemas.Names
	client *kgo.Client
	admin  *kadm.Client
	media  []string // topics of footage
	oldest int      // version of the records read; 0: there were none
	found  []Finding
}

func (c *checker) ok(about, format string, args ...any) {
	c.found = append(c.found, Finding{About: about, What: fmt.Sprintf(format, args...)})
}

func (c *checker) problem(about, remedy, format string, args ...any) {
	c.found = append(c.found, Finding{About: about, What: fmt.Sprintf(format, args...), Problem: true, Remedy: remedy})
}

// records compares the versions of records with the version of this program.
func (c *checker) records(ctx context.Context) error {
	topics, err := c.admin.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("upgrade: list topics: %w", err)
	}
	var indexes []string
	for _, name := range topics.Names() {
		switch _, index, ok := c.names.Parse(name); {
		case ok && index:
			indexes = append(indexes, name)
		case ok:
			c.media = append(c.media, name)
		}
	}
	for _, name := range []string{c.names.Cameras(), c.names.Status(), c.names.Users()} {
		ends, err := registry.EndOffsets(ctx, c.admin, name)
		if errors.Is(err, registry.ErrNoTopic) {
			c.ok(name, "the topic does not exist yet")
			continue
		}
		if !c.readable(ctx, name, err) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		}
		read, err := c.read(ctx, nil, map[string]map[int32]int64{name: ends})
		if err != nil {
			return err
		}
		c.judge(name, "record", "records", read)
	}
	if err := c.indexes(ctx, indexes); err != nil {
		return err
	}
	if c.oldest != 0 && c.oldest < c.cfg.Version {
		c.ok("order", "this version writes records of version %d, the log has version %d: upgrade all that read (egress, processors, monitor) before ingest", c.cfg.Version, c.oldest)
	}
	return nil
}

// readable adds a problem if a topic cannot be read.
func (c *checker) readable(ctx context.Context, about string, err error) bool {
	if err == nil || ctx.Err() != nil {
		return err == nil
	}
	if right, ok := errors.AsType[*kafka.RightError](kafka.NeedsRight("READ", err)); ok {
		c.problem(about, "grant this user the right READ: framelog acls --role admin prints the commands", "this user may not read it (%v)", right.Err)
		return false
	}
	c.problem(about, "look at the brokers, and check again", "it cannot be read: %v", err)
	return false
}

// indexes reads the newest entry of each index.
func (c *checker) indexes(ctx context.Context, names []string) error {
	const about = "indexes"
	if len(names) == 0 {
		c.ok(about, "there is no footage yet")
		return nil
	}
	starts, err := c.admin.ListStartOffsets(ctx, names...)
	if err == nil {
		err = starts.Error()
	}
	var ends kadm.ListedOffsets
	if err == nil {
		ends, err = c.admin.ListEndOffsets(ctx, names...)
	}
	if err == nil {
		err = ends.Error()
	}
	if !c.readable(ctx, about, err) {
		return ctx.Err()
	}
	from, to := map[string]map[int32]int64{}, map[string]map[int32]int64{}
	ends.Each(func(end kadm.ListedOffset) {
		if start, ok := starts.Lookup(end.Topic, end.Partition); ok && end.Offset > start.Offset {
			from[end.Topic], to[end.Topic] = map[int32]int64{end.Partition: end.Offset - 1}, map[int32]int64{end.Partition: end.Offset}
		}
	})
	read, err := c.read(ctx, from, to)
	if err != nil {
		return err
	}
	c.judge(about, "newest entry", "newest entries", read)
	return nil
}

// judge compares the versions of records, by their names, with the version of this program.
func (c *checker) judge(about, one, many string, read map[string]int) {
	newest := 0
	var newer []string
	for _, name := range slices.Sorted(maps.Keys(read)) {
		v := read[name]
		newest = max(newest, v)
		if c.oldest == 0 || v < c.oldest {
			c.oldest = v
		}
		if v > c.cfg.Version {
			newer = append(newer, name)
		}
	}
	switch {
	case len(newer) > 0:
		some := strings.Join(newer[:min(len(newer), 3)], ", ")
		if len(newer) > 3 {
			some += ", …"
		}
		c.problem(about, fmt.Sprintf("run a Framelog that reads version %d, and stop the processes that write it if they are not meant to run", newest),
			"%d of %s newer than this version reads: version %d (%s)", len(newer), count(len(read), one+" is", many+" are"), newest, some)
	case len(read) == 0:
		c.ok(about, "no %s", many)
	default:
		c.ok(about, "%s, up to version %d", count(len(read), one, many), newest)
	}
}

// count returns n with a noun: "1 record", "2 records".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// groups finds out whether this version can join the groups of the processes that run.
func (c *checker) groups(ctx context.Context) error {
	const about = "consumer groups"
	all, err := c.admin.ListGroups(ctx)
	var names []string
	for _, name := range all.Groups() {
		if strings.HasPrefix(name, c.names.Prefix+"framelog-") {
			names = append(names, name)
		}
	}
	var groups kadm.DescribedGroups
	if err == nil && len(names) > 0 {
		groups, err = c.admin.DescribeGroups(ctx, names...)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		c.ok(about, "not checked: %v", kafka.NeedsRight("DESCRIBE", err))
		return nil
	}
	if len(names) == 0 {
		c.ok(about, "no process is there")
	}
	balancer := kgo.CooperativeStickyBalancer().ProtocolName()
	for _, g := range groups.Sorted() {
		about := "group " + g.Group
		switch {
		case g.Err != nil:
			c.ok(about, "not checked: %v", kafka.NeedsRight("DESCRIBE", g.Err))
		case len(g.Members) == 0:
			c.ok(about, "no process is there")
		case g.State != "Stable":
			c.problem(about, "wait until it is stable, and check again", "processes come or go (state %s)", g.State)
		case g.Protocol != balancer:
			c.problem(about, "stop the processes of the group, and start this version then", "it shares the cameras by %q, this version by %q", g.Protocol, balancer)
		default:
			c.ok(about, "%s, stable", count(len(g.Members), "process", "processes"))
		}
	}
	return nil
}

// retention compares how long the topics keep footage with the configuration.
func (c *checker) retention(ctx context.Context) error {
	const about = "retention"
	if len(c.media) == 0 || c.cfg.Retention == 0 {
		return nil
	}
	all, err := c.admin.DescribeTopicConfigs(ctx, c.media...)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		c.ok(about, "not checked: %v", kafka.NeedsRight("DESCRIBE_CONFIGS", err))
		return nil
	}
	longer, longest := 0, time.Duration(0)
	for _, topic := range all {
		if topic.Err != nil {
			if !errors.Is(topic.Err, kerr.UnknownTopicOrPartition) { // else it was deleted meanwhile
				c.ok(about, "not checked: %v", kafka.NeedsRight("DESCRIBE_CONFIGS", topic.Err))
				return nil
			}
			continue
		}
		if is := retentionOf(topic); is > c.cfg.Retention {
			longer, longest = longer+1, max(longest, is)
		}
	}
	want := config.Duration(c.cfg.Retention)
	if longer == 0 {
		c.ok(about, "footage is kept for %s at most in %s", want, count(len(c.media), "topic", "topics"))
		return nil
	}
	is := config.Duration(longest).String()
	if longest == forever {
		is = "for ever"
	}
	c.problem(about, "set topics.retention to what the topics have, and shorten it after the upgrade if you mean it",
		"topics.retention is %s here, %s keep footage longer (%s): ingest would delete what is older", want, count(longer, "topic", "topics"), is)
	return nil
}

// forever is the retention of a topic that keeps everything.
const forever = time.Duration(1<<63 - 1)

func retentionOf(topic kadm.ResourceConfig) time.Duration {
	for _, kv := range topic.Configs {
		if kv.Key != "retention.ms" || kv.Value == nil {
			continue
		}
		ms, err := strconv.ParseInt(*kv.Value, 10, 64)
		switch {
		case err != nil:
			return 0
		case ms < 0 || ms > int64(forever/time.Millisecond):
			return forever
		}
		return time.Duration(ms) * time.Millisecond
	}
	return 0
}
