package testenv

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// SecuredKafka is Apache Kafka with users, TLS and ACLs. It has a port for each way to
// connect. SCRAM users are added by a client of Open.
type SecuredKafka struct {
	*KafkaBroker
	Open   []string // no TLS, no user: whoever connects here may do everything
	TLS    []string // SASL over TLS
	Clear  []string // SASL without TLS
	Mutual []string // TLS with a client's certificate, which is the user
}

// The one user of SecuredKafka for the mechanism PLAIN.
const (
	PlainUser     = "plain"
	PlainPassword = "plain-secret"
)

// KafkaSecured starts Apache Kafka with a certificate of ca.
func KafkaSecured(t testing.TB, ca *CA) *SecuredKafka {
	t.Helper()
	own := ca.Sign(t, "broker", time.Hour)
	tls, noTLS, mutual := FreePort(t), FreePort(t), FreePort(t)
	listeners := fmt.Sprintf("PLAINTEXT://127.0.0.1:{port},TLS://127.0.0.1:%d,CLEAR://127.0.0.1:%d,MUTUAL://127.0.0.1:%d", tls, noTLS, mutual)
	properties := []string{
		"listeners=" + listeners + ",CONTROLLER://127.0.0.1:{controller}",
		"advertised.listeners=" + listeners,
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SASL_SSL,CLEAR:SASL_PLAINTEXT,MUTUAL:SSL",
		"listener.name.mutual.ssl.client.auth=required",
		"ssl.keystore.type=PEM", "ssl.keystore.location=" + own.Both,
		"ssl.truststore.type=PEM", "ssl.truststore.location=" + ca.File,
		"sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
		"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users=User:ANONYMOUS",
	}
	for _, l := range []string{"tls", "clear"} {
		properties = append(properties,
			fmt.Sprintf(`listener.name.%s.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_%s="%s";`, l, PlainUser, PlainPassword),
			fmt.Sprintf("listener.name.%s.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;", l),
			fmt.Sprintf("listener.name.%s.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;", l))
	}
	k := OwnKafka(t, properties...)
	at := func(port int) []string { return []string{fmt.Sprintf("127.0.0.1:%d", port)} }
	return &SecuredKafka{KafkaBroker: k, Open: k.Brokers, TLS: at(tls), Clear: at(noTLS), Mutual: at(mutual)}
}

//go:embed testdata/kafka-tools.pom.xml
var kafkaToolsPOM []byte

// KafkaACLs returns the path of Kafka's program kafka-acls.sh.
func KafkaACLs(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kafka-acls.sh")
	script := fmt.Sprintf("#!/bin/sh\nexec %s -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp '%s' org.apache.kafka.tools.AclCommand \"$@\"\n",
		Tool(t, "java", "openjdk-17-jre-headless"), filepath.Join(jars(t, kafkaToolsPOM), "*"))
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatalf("testenv: write kafka-acls.sh: %v", err)
	}
	return path
}
