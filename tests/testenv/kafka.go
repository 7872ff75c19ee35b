package testenv

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

//go:embed testdata/kafka.pom.xml
var kafkaPOM []byte

// KafkaVersion is the release of Apache Kafka that Kafka runs.
const KafkaVersion = "4.1.0"

// BrokersVariable names other brokers to test against, host:port separated by
// commas (as of Redpanda). Tests that need to stop a broker then skip.
const BrokersVariable = "FRAMELOG_TEST_BROKERS"

// KafkaBroker is Apache Kafka in KRaft mode, with broker and controller in one
// process, or the brokers that FRAMELOG_TEST_BROKERS names.
type KafkaBroker struct {
	Brokers []string

	dir, classpath, java string
	log                  *Log

	mu   sync.Mutex
	proc *Process
}

// Kafka starts a broker of the test's own and waits until it answers. properties are
// lines of its configuration, name=value; {port} and {controller} stand for its ports.
func Kafka(t testing.TB, properties ...string) *KafkaBroker {
	t.Helper()
	SkipShort(t, "Apache Kafka")
	if b := external(); b != nil {
		return b
	}
	k := newKafka(t, t.TempDir(), properties...)
	t.Cleanup(func() {
		k.Kill(t)
		if t.Failed() {
			t.Logf("last lines of kafka:\n%s", k.log.Tail(60))
		}
	})
	k.Start(t)
	return k
}

// OwnKafka is Kafka for tests that stop the broker, or need other properties. They are
// skipped if FRAMELOG_TEST_BROKERS is set.
func OwnKafka(t testing.TB, properties ...string) *KafkaBroker {
	t.Helper()
	if external() != nil {
		t.Skipf("testenv: %s is set: this test needs a broker of its own", BrokersVariable)
	}
	return Kafka(t, properties...)
}

func external() *KafkaBroker {
	if v := os.Getenv(BrokersVariable); v != "" {
		return &KafkaBroker{Brokers: strings.Split(v, ","), log: &Log{}}
	}
	return nil
}

var shared struct {
	sync.Mutex
	broker *KafkaBroker
}

// SharedKafka is one broker for all tests of a test process. It ends with the
// process. Tests keep apart by topic names.
func SharedKafka(t testing.TB) *KafkaBroker {
	t.Helper()
	SkipShort(t, "Apache Kafka")
	if b := external(); b != nil {
		return b
	}
	shared.Lock()
	defer shared.Unlock()
	if shared.broker == nil {
		k := newKafka(t, runDir(t))
		k.Start(t)
		shared.broker = k
	}
	return shared.broker
}

// runDir makes a folder that is used as long as this test process lives. No code
// runs when the process ends, so the next process removes the folders of processes
// that are gone.
func runDir(t testing.TB) string {
	t.Helper()
	all := Cache(t, "run")
	old, _ := filepath.Glob(filepath.Join(all, "*"))
	for _, d := range old {
		pid, err := strconv.Atoi(strings.Split(filepath.Base(d), "-")[0])
		if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = os.RemoveAll(d)
		}
	}
	dir, err := os.MkdirTemp(all, fmt.Sprintf("%d-", os.Getpid())) //nolint:usetesting // outlives the test
	if err != nil {
		t.Fatalf("testenv: make folder: %v", err)
	}
	return dir
}

// newKafka makes a broker that is a cluster of its own.
func newKafka(t testing.TB, dir string, properties ...string) *KafkaBroker {
	t.Helper()
	return formatKafka(t, dir, clusterID(), FreePort(t), properties...)
}

// clusterID returns the name of a new cluster.
func clusterID() string {
	var id [16]byte
	_, _ = rand.Read(id[:])
	id[0] &= 0x7f // an id that begins with a dash would be read as a flag
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// formatKafka fetches Kafka if it is not in the cache, and formats the storage of a node
// of a cluster. controller is the port of the node's controller.
func formatKafka(t testing.TB, dir, cluster string, controller int, properties ...string) *KafkaBroker {
	t.Helper()
	k := &KafkaBroker{dir: dir, log: &Log{}}
	k.java = Tool(t, "java", "openjdk-17-jre-headless")
	k.classpath = filepath.Join(KafkaJars(t), "*")
	port := FreePort(t)
	k.Brokers = []string{fmt.Sprintf("127.0.0.1:%d", port)}
	more := strings.NewReplacer("{port}", strconv.Itoa(port), "{controller}", strconv.Itoa(controller)).Replace(strings.Join(properties, "\n"))
	props := fmt.Sprintf(kafkaProperties, port, controller, filepath.Join(dir, "log")) + more + "\n"
	if err := os.WriteFile(k.path("server.properties"), []byte(props), 0o644); err != nil {
		t.Fatalf("testenv: write Kafka's properties: %v", err)
	}
	cmd := k.command(t.Context(), "kafka.tools.StorageTool", "format", "--config", k.path("server.properties"), "--cluster-id", cluster)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("testenv: format Kafka's storage: %v\n%s", err, out)
	}
	return k
}

// kafkaProperties make a small and quick broker: groups do not wait for more
// members, and retention is applied each second.
const kafkaProperties = `process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:%[1]d,CONTROLLER://127.0.0.1:%[2]d
advertised.listeners=PLAINTEXT://127.0.0.1:%[1]d
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.quorum.voters=1@127.0.0.1:%[2]d
log.dirs=%[3]s
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=1
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.retention.check.interval.ms=1000
log.segment.delete.delay.ms=1000
log.cleaner.backoff.ms=1000
log.cleaner.dedupe.buffer.size=8388608
`

func (k *KafkaBroker) path(name string) string { return filepath.Join(k.dir, name) }

func (k *KafkaBroker) command(ctx context.Context, class string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, k.java, append([]string{
		"-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:MaxDirectMemorySize=256m",
		"-cp", k.classpath, class,
	}, args...)...)
	cmd.Dir = k.dir
	return cmd
}

// KafkaJars returns the folder of the jars of Apache Kafka's broker.
func KafkaJars(t testing.TB) string { return jars(t, kafkaPOM) }

// jars returns the folder of the jars that a POM names. Maven fetches them once.
func jars(t testing.TB, of []byte) string {
	t.Helper()
	cache := Cache(t, "kafka")
	dir := filepath.Join(cache, "jars-"+Digest(string(of)))
	err := Locked(t, filepath.Join(cache, "lock"), func() error {
		if _, err := os.Stat(dir); err == nil {
			return nil
		}
		mvn := Tool(t, "mvn", "maven")
		pom, part := filepath.Join(cache, "pom.xml"), dir+".part"
		if err := os.WriteFile(pom, of, 0o644); err != nil {
			return err
		}
		if err := os.RemoveAll(part); err != nil {
			return err
		}
		cmd := exec.CommandContext(t.Context(), mvn, "-q", "-B", "-f", pom, "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+part)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("mvn: %w\n%s", err, out)
		}
		return os.Rename(part, dir)
	})
	if err != nil {
		t.Fatalf("testenv: fetch Kafka %s: %v", KafkaVersion, err)
	}
	return dir
}

// Start starts the broker on its port and data and waits until it answers.
func (k *KafkaBroker) Start(t testing.TB) {
	t.Helper()
	k.spawn(t)
	k.wait(t)
}

// spawn starts the broker, unless it runs.
func (k *KafkaBroker) spawn(t testing.TB) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.proc != nil {
		select {
		case <-k.proc.Done():
		default:
			return
		}
	}
	// Not bound to a test's context: a shared one outlives the test.
	p, err := spawn("kafka", k.command(context.Background(), "kafka.Kafka", k.path("server.properties")), k.log)
	if err != nil {
		t.Fatalf("testenv: start Kafka: %v", err)
	}
	k.proc = p
}

// wait waits until the broker answers.
func (k *KafkaBroker) wait(t testing.TB) {
	t.Helper()
	k.mu.Lock()
	p := k.proc
	k.mu.Unlock()
	up := false
	Poll(t, 3*Patience, func() bool {
		select {
		case <-p.Done():
			return true
		default:
			up = k.answers(t)
			return up
		}
	})
	if !up {
		p.KillTree()
		t.Fatalf("testenv: Kafka does not answer\n%s", k.log.Tail(40))
	}
}

func (k *KafkaBroker) answers(t testing.TB) bool {
	cl, err := kgo.NewClient(kgo.SeedBrokers(k.Brokers...), kgo.DialTimeout(10*time.Second))
	if err != nil {
		t.Fatalf("testenv: make client: %v", err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	b, err := kadm.NewClient(cl).ListBrokers(ctx)
	return err == nil && len(b) > 0
}

// Kill ends the broker as a power failure would. Data and port stay.
func (k *KafkaBroker) Kill(t testing.TB) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.proc != nil {
		k.proc.KillTree()
	}
}
