package config

import (
	"strings"
	"testing"
)

// TestKafka: what belongs together is set together, and no error shows the password.
func TestKafka(t *testing.T) {
	const user = "  sasl: {mechanism: scram-sha-512, user: ann, password: "
	for _, tt := range []struct {
		name, yaml string
		want       []string // of the error; none: it is right
	}{
		{"a user", user + canary + "}\n", nil},
		{"a reference", user + "\"${file:kafka}\"}\n", nil},
		{"a password of digits", user + "0123}\n", nil},
		{"TLS", "  tls: {enabled: true, ca: /a, cert: /b, key: /c, server_name: kafka}\n", nil},
		{"another mechanism", "  sasl: {mechanism: gssapi, user: ann, password: " + canary + "}\n", []string{"framelog.yaml:3: kafka.sasl.mechanism", "plain or scram-sha-256 or scram-sha-512"}},
		{"no mechanism", "  sasl: {user: ann, password: " + canary + "}\n", []string{"framelog.yaml:3: kafka.sasl.user", "kafka.sasl.mechanism"}},
		{"no user", "  sasl: {mechanism: plain, password: " + canary + "}\n", []string{"kafka.sasl.user: it is empty"}},
		{"no password", "  sasl: {mechanism: plain, user: ann}\n", []string{"kafka.sasl.password: it is empty"}},
		{"half a reference", user + "\"${" + canary + "\"}\n", []string{"framelog.yaml:3: kafka.sasl.password", "${file:NAME}"}},
		{"a password that is no text", user + "[" + canary + "]}\n", []string{"kafka.sasl.password: wrong type"}},
		{"files without TLS", "  tls:\n    ca: /a\n", []string{"framelog.yaml:4: kafka.tls.ca", "kafka.tls.enabled: true"}},
		{"no key", "  tls: {enabled: true, cert: /b}\n", []string{"kafka.tls.key"}},
		{"no certificate", "  tls: {enabled: true, key: /b}\n", []string{"kafka.tls.cert"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := load(t, "brokers: [kafka:9093]\nkafka:\n"+tt.yaml, nil, nil)
			if tt.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				if tt.name == "a password of digits" && c.Kafka.SASL.Password != "0123" {
					t.Errorf("password %q", c.Kafka.SASL.Password)
				}
				return
			}
			if !IsError(err) {
				t.Fatalf("%v is no error of the configuration", err)
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q lacks %q", err, w)
				}
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("%q has the password", err)
			}
		})
	}
	_, err := load(t, "", []string{"FRAMELOG_KAFKA_TLS_ENABLED=true"}, nil)
	if !IsError(err) || !strings.Contains(err.Error(), "FRAMELOG_KAFKA_TLS_ENABLED: kafka.tls.enabled: the embedded broker has neither") {
		t.Errorf("the embedded broker: %v", err)
	}
}
