package kafkasec

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/framelog/framelog/internal/app/acls"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// roleOf starts processes of Framelog as users of a broker.
type roleOf struct {
	c      *cluster
	binary string
	dir    string
}

// command is a command of Framelog, as a user.
func (r *roleOf) command(t *testing.T, user string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(context.Background(), r.binary, append(args, "--data", filepath.Join(r.dir, user))...) // the test's cleanup ends it
	cmd.Env = append(os.Environ(),
		"FRAMELOG_BROKERS="+strings.Join(r.c.tls, ","), "FRAMELOG_TOPIC_PREFIX="+r.c.super.Prefix,
		"FRAMELOG_KAFKA_TLS_ENABLED=true", "FRAMELOG_KAFKA_TLS_CA="+r.c.ca.File,
		"FRAMELOG_KAFKA_SASL_MECHANISM=scram-sha-512", "FRAMELOG_KAFKA_SASL_USER="+user,
		"FRAMELOG_KAFKA_SASL_PASSWORD=${file:kafka}")
	r.password(t, user, user+"-secret")
	return cmd
}

// password writes the file with a user's password.
func (r *roleOf) password(t *testing.T, user, password string) {
	t.Helper()
	dir := filepath.Join(r.dir, user, "secrets")
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "kafka"), []byte(password), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// run runs a command to its end and returns what it prints.
func (r *roleOf) run(t *testing.T, user string, args ...string) string {
	t.Helper()
	out, err := r.command(t, user, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// start starts a role, and returns it when it is ready.
func (r *roleOf) start(t *testing.T, user, flag string, args ...string) *running {
	t.Helper()
	listen := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))
	p := &running{testenv.Start(t, user, r.command(t, user, append(args, flag, listen)...)), "http://" + listen}
	p.waitReady(t)
	return p
}

// running is a role that runs.
type running struct {
	*testenv.Process
	url string
}

func (p *running) waitReady(t *testing.T) {
	t.Helper()
	p.Wait(t, 2*testenv.Patience, "it is ready", func() bool {
		code, _, err := testenv.Get(t, p.url+"/readyz")
		return err == nil && code == http.StatusOK
	})
}

// TestRefusedRoleWaits: a role whose password is wrong waits and says so, and so does one
// that has no rights. It starts its work when a person has corrected both.
func TestRefusedRoleWaits(t *testing.T) {
	c := fakeCluster(t)
	r := &roleOf{c: c, binary: testenv.Binary(t), dir: t.TempDir()}
	c.user(t, "ingest")
	reg, err := registry.Connect(c.super, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reg.Close)
	if err := reg.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	listen := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))
	cmd := r.command(t, "ingest", "ingest", "--http", listen)
	r.password(t, "ingest", "c4n4ry")
	p := &running{testenv.Start(t, "ingest", cmd), "http://" + listen}
	p.Wait(t, testenv.Patience, "it says that it is refused", func() bool {
		code, body, err := testenv.Get(t, p.url+"/readyz")
		return err == nil && code == http.StatusServiceUnavailable && string(body) == "the brokers refuse this process; its log says why\n" &&
			strings.Contains(p.Log.String(), "the brokers do not accept the user ingest with this password")
	})
	r.password(t, "ingest", "ingest-secret")
	p.Wait(t, testenv.Patience, "it says that it lacks rights", func() bool {
		return strings.Contains(p.Log.String(), "the brokers answer") && strings.Contains(p.Log.String(), "AUTHORIZATION_FAILED")
	})
	c.grant(t, "ingest", c.rights(t, "ingest", acls.Scope{})...)
	p.waitReady(t)
	if log := p.Log.String(); strings.Contains(log, "c4n4ry") || strings.Contains(log, "ingest-secret") {
		t.Errorf("the log has a password:\n%s", log)
	}
}

// TestRoles: each role does its work as a user of its own, with the rights of this role
// alone. What it does is in the log.
func TestRoles(t *testing.T) {
	eachCluster(t, func(t *testing.T, c *cluster) {
		r := &roleOf{c: c, binary: testenv.Binary(t), dir: t.TempDir()}
		people := acls.Processor{Name: "people", Outputs: []string{"copy", "people"}, Events: true}
		for _, user := range []struct {
			name  string
			roles []string
			scope acls.Scope
		}{
			{"ingest", []string{"ingest"}, acls.Scope{}},
			{"people", []string{"process"}, acls.Scope{Cameras: []string{"yard"}, Processors: []acls.Processor{people}}},
			{"archive", []string{"archive"}, acls.Scope{}},
			{"egress", []string{"egress"}, acls.Scope{}},
			{"editing", []string{"egress", "editor"}, acls.Scope{}},
			{"admin", []string{"admin"}, acls.Scope{}},
		} {
			c.user(t, user.name)
			for _, role := range user.roles {
				c.grant(t, user.name, c.rights(t, role, user.scope)...)
			}
		}
		_, url := system.Camera(t, camsim.CameraConfig{Feed: system.Loop(t, testenv.Clip{Size: "320x240", FPS: 15, Seconds: 6, KBits: 300})})
		r.start(t, "ingest", "--http", "ingest")
		r.run(t, "admin", "cameras", "add", "yard", url)
		r.run(t, "admin", "cameras", "add", "gate", url)

		r.start(t, "archive", "--http", "archive")
		process := startPeople(t, c.config("people", "people-secret"))
		viewers := r.start(t, "egress", "--listen", "egress").url
		log := c.log(t)
		done := schemas.Topic{Camera: "yard", Rendition: "copy"}
		testenv.Wait(t, 4*testenv.Patience, "five fragments are copied, and one is a dead letter", func() bool {
			return len(entries(t, log, done)) >= 5 && len(entries(t, log, schemas.Topic{Camera: "yard", Rendition: "dlq-people"})) == 1
		})

		// The log: the copies are the camera's footage, and the events are there.
		raw := entries(t, log, schemas.Topic{Camera: "yard"})
		for _, e := range entries(t, log, done) {
			if e.Kind == schemas.KindGap {
				continue
			}
			i := slices.IndexFunc(raw, func(r schemas.Entry) bool { return r.Seq == e.Seq })
			if i < 0 || digest(t, log, done, e) != digest(t, log, schemas.Topic{Camera: "yard"}, raw[i]) {
				t.Errorf("fragment %d is not what the camera sent", e.Seq)
			}
		}
		if n := c.count(t, c.names().Events()); n == 0 {
			t.Error("the topic of events is empty")
		}
		for _, group := range []string{"framelog-process-people", "framelog-archive"} {
			testenv.Wait(t, testenv.Patience, "an offset is committed by "+group, func() bool {
				o, err := kadm.NewClient(c.admin).FetchOffsets(t.Context(), c.super.Prefix+group)
				at, ok := o.Lookup(c.names().Index(schemas.Topic{Camera: "yard"}), 0)
				return err == nil && ok && at.At > 0
			})
		}
		process()

		// HLS, events and the list of cameras.
		segment := fetchSegment(t, viewers, raw[0].Seq)
		if want := segmentOf(t, log, raw[0]); !bytes.Equal(segment, want) {
			t.Errorf("the segment has %d bytes, want %d others", len(segment), len(want))
		}
		if _, body, err := testenv.Get(t, viewers+"/v1/events/yard"); err != nil || !strings.Contains(string(body), `"type":"person"`) {
			t.Errorf("events: %s, %v", body, err)
		}
		if all, err := system.Statuses(t, viewers); err != nil || all["gate"].State != schemas.StateLive {
			t.Errorf("cameras: %+v, %v", all, err)
		}

		// An egress may change cameras if its user may.
		editing := r.start(t, "editing", "--listen", "egress").url
		body := fmt.Sprintf(`{"url":%q}`, url)
		if code, answer := system.TryPutCamera(t, viewers, "door", body); code != http.StatusForbidden || !strings.Contains(answer, "framelog acls --role editor") {
			t.Errorf("a camera added by an egress that may not: %d %s", code, answer)
		}
		if code, answer := system.TryPutCamera(t, editing, "door", body); code/100 != 2 {
			t.Errorf("a camera added by an egress that may: %d %s", code, answer)
		}

		// Commands.
		if out := r.run(t, "admin", "dlq", "list"); !strings.Contains(out, "poison") {
			t.Errorf("dead letters: %s", out)
		}
		r.run(t, "admin", "cameras", "remove", "gate", "--purge")
		if _, err := log.Newest(t.Context(), schemas.Topic{Camera: "gate"}); !errors.Is(err, medialog.ErrNoTopic) {
			t.Errorf("a purged camera: %v", err)
		}
	})
}

// startPeople runs a processor with the outputs copy and people until stop is called. It
// fails at one fragment.
func startPeople(t *testing.T, k kafka.Config) (stop func()) {
	t.Helper()
	var poison atomic.Uint64
	p := processors.Processor{
		Name: "people", Cameras: []string{"yard"}, Outputs: []processors.Rendition{processors.Variant("copy"), processors.Data("people")}, Attempts: 1,
		Process: func(ctx context.Context, in *processors.Fragment, out *processors.Output) error {
			if poison.CompareAndSwap(0, in.Seq+1); in.Seq == poison.Load() {
				return errors.New("poison")
			}
			for c, err := range in.Chunks(ctx) {
				if err == nil {
					err = out.Write(ctx, c)
				}
				if err != nil {
					return err
				}
			}
			return out.Event(ctx, schemas.Event{Type: "person"})
		},
	}
	return system.ProcessWith(t, processors.Config{Brokers: k.Brokers, TLS: k.TLS, SASL: processors.SASL(k.SASL), TopicPrefix: k.Prefix}, p)
}

// log is the log as one who may do everything sees it.
func (c *cluster) log(t *testing.T) *medialog.Log {
	t.Helper()
	l, err := medialog.Connect(medialog.Config{Kafka: c.super}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// count returns how many records a topic has.
func (c *cluster) count(t *testing.T, topic string) (n int64) {
	t.Helper()
	ends, err := kadm.NewClient(c.admin).ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n
}

// entries are all entries of a topic; none if it does not exist.
func entries(t *testing.T, l *medialog.Log, topic schemas.Topic) (all []schemas.Entry) {
	t.Helper()
	for e, err := range l.Entries(t.Context(), topic, medialog.Range{}) {
		if errors.Is(err, medialog.ErrNoTopic) {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// digest is a hash of a fragment's samples.
func digest(t *testing.T, l *medialog.Log, topic schemas.Topic, e schemas.Entry) string {
	t.Helper()
	h := sha256.New()
	for c, err := range l.Chunks(t.Context(), topic, e) {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range c.Runs {
			for _, s := range r.Samples {
				fmt.Fprintf(h, "%d %d %d\n%s", r.Track, s.DTS, len(s.Data), s.Data)
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// segmentOf is the HLS segment of a fragment.
func segmentOf(t *testing.T, l *medialog.Log, e schemas.Entry) []byte {
	t.Helper()
	s, err := cmaf.Segment(e, l.Chunks(t.Context(), schemas.Topic{Camera: "yard"}, e))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := s.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// fetchSegment gets a segment by HLS.
func fetchSegment(t *testing.T, base string, seq uint64) []byte {
	t.Helper()
	code, body, err := testenv.Get(t, fmt.Sprintf("%s/hls/yard/raw/m1/%d.m4s", base, seq))
	if err != nil || code != http.StatusOK {
		t.Fatalf("segment %d: %d %s %v", seq, code, body, err)
	}
	return body
}
