package kafkasec

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/internal/app/brokers"
	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/tests/testenv"
)

// ports are the ways to connect to a broker.
type ports struct {
	ca                       *testenv.CA
	open, tls, clear, mutual string
}

// eachPorts runs f on fake brokers, and in make test-long on Apache Kafka. All have the user
// "known" with the password "known-secret" for SCRAM-SHA-512.
func eachPorts(t *testing.T, f func(t *testing.T, p ports)) {
	t.Run("embedded kind", func(t *testing.T) {
		p := ports{ca: testenv.NewCA(t)}
		own := p.ca.Sign(t, "broker", life).Pair
		users := []kfake.Opt{
			kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "known", "known-secret"), kfake.Superuser("SCRAM-SHA-256", "known", "known-secret"),
			kfake.Superuser("PLAIN", testenv.PlainUser, testenv.PlainPassword),
		}
		encrypted := kfake.TLS(&tls.Config{Certificates: []tls.Certificate{own}})
		strict := kfake.ListenFn(func(network, address string) (net.Listener, error) {
			var lc net.ListenConfig
			ln, err := lc.Listen(context.Background(), network, address)
			return listener{ln}, err
		})
		p.open, p.clear = fakeBroker(t, strict), fakeBroker(t, slices.Concat(users, []kfake.Opt{strict})...)
		p.tls = fakeBroker(t, slices.Concat(users, []kfake.Opt{encrypted})...)
		p.mutual = fakeBroker(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{own}, ClientCAs: p.ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert}))
		f(t, p)
	})
	t.Run("Apache Kafka", func(t *testing.T) {
		c := apacheCluster(t)
		c.user(t, "known")
		k := c.kafka
		f(t, ports{ca: c.ca, open: k.Open[0], tls: k.TLS[0], clear: k.Clear[0], mutual: k.Mutual[0]})
	})
}

func fakeBroker(t *testing.T, opts ...kfake.Opt) string {
	t.Helper()
	c, err := kfake.NewCluster(append(opts, kfake.NumBrokers(1))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.ListenAddrs()[0]
}

// listener ends connections as Kafka does that begin with no request: a fake broker would
// wait for the rest of it.
type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &conn{Conn: c}, err
}

type conn struct {
	net.Conn
	begun bool
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if !c.begun && n > 0 && b[0] != 0 { // the first of four bytes of a request's length
		return 0, errors.New("the request is too long")
	}
	c.begun = c.begun || n > 0
	return n, err
}

// settings are a configuration: keys below kafka.
type settings map[string]string

// load reads the configuration with an address of a broker.
func (s settings) load(t *testing.T, address, secrets string) *config.Config {
	t.Helper()
	env := []string{"FRAMELOG_BROKERS=" + address, "FRAMELOG_SECRETS_DIR=" + secrets}
	for k, v := range s {
		env = append(env, config.EnvName("kafka."+k)+"="+v)
	}
	cfg, err := config.Loader{}.Load("", env, nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// with returns the settings with others.
func (s settings) with(more ...string) settings {
	out := settings{}
	for k, v := range s {
		out[k] = v
	}
	for i := 0; i < len(more); i += 2 {
		out[more[i]] = more[i+1]
	}
	return out
}

// TestReasons: a process that the brokers do not accept says why, and what to do. No
// message has a password.
func TestReasons(t *testing.T) {
	const canary = "c4n4ry"
	eachPorts(t, func(t *testing.T, p ports) {
		secrets, stranger := t.TempDir(), testenv.NewCA(t)
		write := func(name, text string) {
			if err := os.WriteFile(filepath.Join(secrets, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("good", "known-secret\n")
		write("wrong", canary+"\n")
		write("two", canary+"\n"+canary+"\n")
		write("none.pem", "")
		t.Setenv("FRAMELOG_SECRET_KNOWN", "known-secret")
		known := settings{"sasl.mechanism": "scram-sha-512", "sasl.user": "known", "sasl.password": "${file:good}"}
		trusting := settings{"tls.enabled": "true", "tls.ca": p.ca.File}
		both := known.with("tls.enabled", "true", "tls.ca", p.ca.File)
		mine, late := p.ca.Sign(t, "mine", life), p.ca.Sign(t, "late", -time.Hour)
		foreign := stranger.Sign(t, "foreign", life)
		for _, tt := range []struct {
			name, at string
			with     settings
			why      string // "": it is accepted
			remedy   string
		}{
			{"open", p.open, nil, "", ""},
			{"a user", p.clear, known, "", ""},
			{"a user over TLS", p.tls, both, "", ""},
			{"a password in a variable", p.tls, both.with("sasl.password", "${FRAMELOG_SECRET_KNOWN}"), "", ""},
			{"a password as it is", p.tls, both.with("sasl.password", "known-secret"), "", ""},
			{"PLAIN", p.tls, both.with("sasl.mechanism", "plain", "sasl.user", testenv.PlainUser, "sasl.password", testenv.PlainPassword), "", ""},
			{"a client certificate", p.mutual, trusting.with("tls.cert", mine.Cert, "tls.key", mine.Key), "", ""},
			{"another name of the server", p.tls, both.with("tls.server_name", "127.0.0.1"), "", ""},

			{"wrong password", p.tls, both.with("sasl.password", "${file:wrong}"), "the brokers do not accept the user known with this password", "kafka.sasl"},
			{"wrong password, PLAIN", p.tls, both.with("sasl.mechanism", "plain", "sasl.user", testenv.PlainUser, "sasl.password", canary), "the brokers do not accept the user plain with this password", "kafka.sasl"},
			{"unknown user", p.clear, known.with("sasl.user", "nobody"), "the brokers do not accept the user nobody", "add the user"},
			{"no user", p.tls, trusting, "the brokers ask for a user and a password", "kafka.sasl"},
			{"no user, without TLS", p.clear, nil, "the brokers ask for a user and a password", "kafka.sasl"},
			{"password of a missing variable", p.tls, both.with("sasl.password", "${FRAMELOG_SECRET_NONE}"), "${FRAMELOG_SECRET_NONE}: this environment variable is not set", "kafka.sasl.password"},
			{"password of a missing file", p.tls, both.with("sasl.password", "${file:none}"), "${file:none}: no such file", "kafka.sasl.password"},
			{"password of two lines", p.tls, both.with("sasl.password", "${file:two}"), "more than one line", "kafka.sasl.password"},

			{"no TLS", p.tls, known, "the brokers answer with TLS alone", "kafka.tls.enabled: true"},
			{"no TLS, client certificates", p.mutual, nil, "the brokers answer with TLS alone", "kafka.tls.enabled: true"},
			{"TLS on a port without", p.open, trusting, "the brokers answer without TLS", "kafka.tls.enabled: false"},
			{"TLS on a port without, for users", p.clear, both, "the brokers answer without TLS", "kafka.tls.enabled: false"},
			{"unknown authority", p.tls, both.with("tls.ca", stranger.File), "not signed by an authority", "kafka.tls.ca"},
			{"authority of the system", p.tls, known.with("tls.enabled", "true"), "not signed by an authority", "kafka.tls.ca"},
			{"another host", p.tls, both.with("tls.server_name", "kafka.example"), "not for kafka.example", "kafka.tls.server_name"},
			{"no certificate", p.mutual, trusting, "the brokers refuse the TLS connection", "kafka.tls.cert"},
			{"certificate of a stranger", p.mutual, trusting.with("tls.cert", foreign.Cert, "tls.key", foreign.Key), "the brokers refuse the TLS connection", "kafka.tls.cert"},
			{"expired certificate", p.mutual, trusting.with("tls.cert", late.Cert, "tls.key", late.Key), "late.pem expired at", "replace it"},
			{"key of another certificate", p.mutual, trusting.with("tls.cert", mine.Cert, "tls.key", late.Key), "does not match", "kafka.tls.key"},
			{"missing authority", p.tls, both.with("tls.ca", "/none.pem"), "kafka.tls.ca cannot be read: open /none.pem: no such file", "kafka.tls.ca"},
			{"empty authority", p.tls, both.with("tls.ca", filepath.Join(secrets, "none.pem")), "holds no certificate", "kafka.tls.ca"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				cfg := tt.with.load(t, tt.at, secrets)
				err := brokers.Check(t.Context(), cfg)
				if tt.why == "" {
					if err != nil {
						t.Fatal(err)
					}
					return
				}
				e, ok := errors.AsType[*config.Error](err)
				if !ok || !strings.Contains(e.What, tt.why) || !strings.Contains(e.Remedy, tt.remedy) {
					t.Errorf("%v\nwant %q; %q", err, tt.why, tt.remedy)
				}
				if err != nil && strings.Contains(err.Error(), canary) {
					t.Errorf("the error has the password: %v", err)
				}
			})
		}
	})
}

// TestReasonsOfBrokers: a broker whose certificate has expired; one that lacks the mechanism,
// and one that has no users.
func TestReasonsOfBrokers(t *testing.T) {
	ca := testenv.NewCA(t)
	user := settings{"sasl.mechanism": "scram-sha-256", "sasl.user": "known", "sasl.password": "x"}
	answers := func(err *kerr.Error) string {
		c, e := kfake.NewCluster(kfake.NumBrokers(1))
		if e != nil {
			t.Fatal(e)
		}
		t.Cleanup(c.Close)
		c.ControlKey(int16(kmsg.SASLHandshake), func(req kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			resp := req.ResponseKind().(*kmsg.SASLHandshakeResponse)
			resp.ErrorCode = err.Code
			return resp, nil, true
		})
		return c.ListenAddrs()[0]
	}
	for _, tt := range []struct {
		at   string
		with settings
		why  string
	}{
		{fakeBroker(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{ca.Sign(t, "broker", -time.Hour).Pair}})), settings{"tls.enabled": "true", "tls.ca": ca.File}, "the brokers' certificate has expired"},
		{answers(kerr.UnsupportedSaslMechanism), user, "the brokers do not offer the mechanism scram-sha-256"},
		{answers(kerr.IllegalSaslState), user, "the brokers ask for no user at this port"},
	} {
		err := brokers.Check(t.Context(), tt.with.load(t, tt.at, t.TempDir()))
		if err == nil || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%v, want %q", err, tt.why)
		}
	}
}

// TestReplacedFiles: a client goes on when its certificate, the authority and the password
// are replaced, without being made again.
func TestReplacedFiles(t *testing.T) {
	eachPorts(t, func(t *testing.T, p ports) {
		secrets := t.TempDir()
		password := filepath.Join(secrets, "password")
		if err := os.WriteFile(password, []byte("wrong"), 0o600); err != nil {
			t.Fatal(err)
		}
		mine := p.ca.Sign(t, "mine", -time.Hour)
		stranger := testenv.NewCA(t)
		authority := filepath.Join(secrets, "ca.pem")
		link := func(to string) {
			_ = os.Remove(authority)
			if err := os.Symlink(to, authority); err != nil {
				t.Fatal(err)
			}
		}
		link(stranger.File)
		with := settings{"tls.enabled": "true", "tls.ca": authority}
		mutual := brokers.Kafka(with.with("tls.cert", mine.Cert, "tls.key", mine.Key).load(t, p.mutual, secrets), "test")
		user := brokers.Kafka(with.with("sasl.mechanism", "scram-sha-512", "sasl.user", "known", "sasl.password", "${file:password}").load(t, p.tls, secrets), "test")
		clients := map[string]func() error{}
		for name, cfg := range map[string]kafka.Config{"certificate": mutual, "password": user} {
			cl := client(t, cfg)
			clients[name] = func() error { return cl.Ping(t.Context()) }
		}
		for name, ping := range clients {
			if err := ping(); err == nil {
				t.Errorf("%s: accepted before anything is right", name)
			}
		}
		link(p.ca.File)
		for name, ping := range clients {
			if err := ping(); err == nil || strings.Contains(err.Error(), "not signed by") {
				t.Errorf("%s: with the right authority alone: %v", name, err)
			}
		}
		p.ca.Sign(t, "mine", life)
		if err := os.WriteFile(password, []byte("known-secret\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for name, ping := range clients {
			if err := ping(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
