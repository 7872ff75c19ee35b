// Package kafkasec tests Framelog with brokers that have users, TLS and ACLs.
package kafkasec

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/framelog/framelog/internal/app/acls"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// cluster is a broker with SASL over TLS, and ACLs.
type cluster struct {
	ca    *testenv.CA
	tls   []string              // address of SASL over TLS
	super kafka.Config          // may do everything
	kafka *testenv.SecuredKafka // nil: it is a fake broker
	admin *kgo.Client           // of super
}

// eachCluster runs f on the kind of broker that is embedded, and in make test-long on Apache
// Kafka.
func eachCluster(t *testing.T, f func(t *testing.T, c *cluster)) {
	t.Run("embedded kind", func(t *testing.T) { f(t, fakeCluster(t)) })
	t.Run("Apache Kafka", func(t *testing.T) {
		f(t, apacheCluster(t))
	})
}

// apacheCluster is Apache Kafka, in make test-long.
func apacheCluster(t *testing.T) *cluster {
	t.Helper()
	testenv.Long(t)
	ca := testenv.NewCA(t)
	k := testenv.KafkaSecured(t, ca)
	return newCluster(t, &cluster{ca: ca, kafka: k, tls: k.TLS, super: kafka.Config{Brokers: k.Open}})
}

const superUser, superPassword = "root", "root-secret"

// fakeCluster is a fake broker. It answers the requests of Kafka 2.4 alone, so that nothing of
// Framelog needs what Redpanda lacks: the group protocol of KIP-848, share groups, ids of topics.
func fakeCluster(t *testing.T) *cluster {
	t.Helper()
	ca := testenv.NewCA(t)
	versions := kversion.V2_4_0()
	versions.SetMaxKeyVersion(int16(kmsg.AlterUserSCRAMCredentials), 0) // for the test itself
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("SCRAM-SHA-512", superUser, superPassword),
		kfake.TLS(&tls.Config{Certificates: []tls.Certificate{ca.Sign(t, "broker", life).Pair}}), kfake.MaxVersions(versions),
		kfake.BrokerConfigs(map[string]string{"message.max.bytes": "9437184"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	c := &cluster{ca: ca, tls: fake.ListenAddrs()}
	c.super = c.config(superUser, superPassword)
	return newCluster(t, c)
}

func newCluster(t *testing.T, c *cluster) *cluster {
	t.Helper()
	c.super.Prefix = fmt.Sprintf("t%d.", rand.Uint32())
	c.admin = client(t, c.super)
	return c
}

// config is the client of a user.
func (c *cluster) config(user, password string) kafka.Config {
	return kafka.Config{
		Brokers: c.tls, TLS: kafka.TLSFiles{CA: c.ca.File}.Load, Prefix: c.super.Prefix,
		SASL: kafka.SASL{Mechanism: kafka.ScramSHA512, User: user, Password: func() (string, error) { return password, nil }},
	}
}

func (c *cluster) names() schemas.Names { return c.super.Names() }

// user adds a user with the password <name>-secret.
func (c *cluster) user(t *testing.T, name string) kafka.Config {
	t.Helper()
	password := name + "-secret"
	made, err := kadm.NewClient(c.admin).AlterUserSCRAMs(t.Context(), nil, []kadm.UpsertSCRAM{{User: name, Mechanism: kadm.ScramSha512, Iterations: 4096, Password: password}})
	if err == nil {
		err = made.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	return c.config(name, password)
}

// grant gives a user rights.
func (c *cluster) grant(t *testing.T, user string, rights ...acls.Right) {
	t.Helper()
	req := kmsg.NewPtrCreateACLsRequest()
	for _, r := range rights {
		for _, o := range r.Operations {
			a := kmsg.NewCreateACLsRequestCreation()
			a.ResourceType, a.ResourceName, a.ResourcePatternType = r.Type, r.Name, kmsg.ACLResourcePatternTypeLiteral
			if r.Prefix {
				a.ResourcePatternType = kmsg.ACLResourcePatternTypePrefixed
			}
			a.Principal, a.Host, a.Operation, a.PermissionType = "User:"+user, "*", o, kmsg.ACLPermissionTypeAllow
			req.Creations = append(req.Creations, a)
		}
	}
	resp, err := req.RequestWith(t.Context(), c.admin)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range resp.Results {
		if r.ErrorCode != 0 {
			t.Fatalf("grant rights to %s: %d %v", user, r.ErrorCode, r.ErrorMessage)
		}
	}
}

// rights are those of a role.
func (c *cluster) rights(t *testing.T, role string, s acls.Scope) []acls.Right {
	t.Helper()
	s.Names = c.names()
	rights, err := acls.Rights(role, s)
	if err != nil {
		t.Fatal(err)
	}
	return rights
}

func client(t *testing.T, cfg kafka.Config, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(cfg.Options(slog.New(slog.DiscardHandler)), opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// request sends a request and returns its answer.
func request[R kmsg.Response](ctx context.Context, cl *kgo.Client, req kmsg.Request) (R, error) {
	resp, err := cl.Request(ctx, req)
	if err != nil {
		var none R
		return none, err
	}
	return resp.(R), nil
}
