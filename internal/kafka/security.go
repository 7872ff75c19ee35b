package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// SASL is the user of a client, for brokers that ask for one. The zero value: none.
type SASL struct {
	// Mechanism is "plain" (RFC 4616), "scram-sha-256" or "scram-sha-512" (RFC 5802,
	// RFC 7677). "": the client has no user.
	Mechanism string
	User      string
	// Password is called for each authentication, so that a new password needs no
	// restart. Its error must not hold the password.
	Password func() (string, error)
}

// Mechanisms are the values of SASL.Mechanism.
const (
	Plain       = "plain"
	ScramSHA256 = "scram-sha-256"
	ScramSHA512 = "scram-sha-512"
)

// validate returns an error if the settings are wrong.
func (s SASL) validate() error {
	if s.Mechanism == "" {
		return nil
	}
	if _, err := s.mechanism(); err != nil {
		return err
	}
	if s.User == "" || s.Password == nil {
		return errors.New("sasl: user and password are needed")
	}
	return nil
}

// mechanism returns the mechanism for the client.
func (s SASL) mechanism() (sasl.Mechanism, error) {
	password := func() (string, error) {
		p, err := s.Password()
		if err != nil {
			return "", &RefusedError{Cause: "the password of the user " + s.User + " cannot be read: " + err.Error(), Remedy: "correct kafka.sasl.password"}
		}
		return p, nil
	}
	ofScram := func(context.Context) (scram.Auth, error) {
		p, err := password()
		return scram.Auth{User: s.User, Pass: p}, err
	}
	switch s.Mechanism {
	case Plain:
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			p, err := password()
			return plain.Auth{User: s.User, Pass: p}, err
		}), nil
	case ScramSHA256:
		return scram.Sha256(ofScram), nil
	case ScramSHA512:
		return scram.Sha512(ofScram), nil
	}
	return nil, fmt.Errorf("sasl: mechanism %q: want %s, %s or %s", s.Mechanism, Plain, ScramSHA256, ScramSHA512)
}

// TLSFiles are files in PEM from which the settings of connections are read. An empty
// field means that there is no such file.
type TLSFiles struct {
	CA         string // certificates of authorities; "": those of the system
	Cert, Key  string // of the client
	ServerName string // in the brokers' certificates; "": the host of each broker
}

// Load reads the files. Call it for each connection: then files that are replaced need
// no restart. Errors: *RefusedError.
func (f TLSFiles) Load() (*tls.Config, error) {
	c := &tls.Config{ServerName: f.ServerName, MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, &RefusedError{Cause: "kafka.tls.ca cannot be read: " + err.Error(), Remedy: "correct kafka.tls.ca"}
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &RefusedError{Cause: f.CA + " holds no certificate in PEM", Remedy: "correct kafka.tls.ca"}
		}
	}
	if f.Cert == "" {
		return c, nil
	}
	cert, err := tls.LoadX509KeyPair(f.Cert, f.Key) // its errors hold names of files, and nothing of the key
	if err != nil {
		return nil, &RefusedError{Cause: "the client certificate cannot be read: " + err.Error(), Remedy: "correct kafka.tls.cert and kafka.tls.key"}
	}
	if end := cert.Leaf.NotAfter; time.Now().After(end) {
		return nil, &RefusedError{Cause: "the client certificate " + f.Cert + " expired at " + end.UTC().Format(time.RFC3339), Remedy: "replace it; no restart is needed"}
	}
	// Certificates alone would be left out if the brokers do not name their authority,
	// and the brokers could not say what is wrong with it.
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	return c, nil
}

// RefusedError means that a broker was reached, and that this process and the broker do
// not accept each other. It holds no secret.
type RefusedError struct{ Cause, Remedy string }

func (e *RefusedError) Error() string { return e.Cause + "; " + e.Remedy }

// connectLimit is how long a connection may take, with its TLS.
const connectLimit = 5 * time.Second

// dialer returns the function that connects to a broker.
func (c Config) dialer() func(ctx context.Context, network, address string) (net.Conn, error) {
	dial := c.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: connectLimit}).DialContext
	}
	if c.TLS == nil {
		return dial
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, connectLimit)
		defer cancel()
		settings, err := c.TLS()
		if err != nil {
			return nil, dialError(network, nil, err)
		}
		if settings = settings.Clone(); settings.ServerName == "" {
			settings.ServerName, _, _ = net.SplitHostPort(address) // Validate has checked it
		}
		raw, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		over := tls.Client(raw, settings)
		if err := over.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, dialError(network, raw.RemoteAddr(), explain(err, settings.ServerName))
		}
		return secured{over}, nil
	}
}

// secured is a connection with TLS. With TLS 1.3 a broker that refuses the client's
// certificate says so after the handshake, in place of its first answer.
type secured struct{ *tls.Conn }

func (s secured) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == remoteError {
		err = dialError("tcp", s.RemoteAddr(), explain(err, ""))
	}
	return n, err
}

// dialError makes an error of connecting. The client takes it for an outage: it tries
// again, and keeps its records meanwhile.
func dialError(network string, addr net.Addr, err error) error {
	return &net.OpError{Op: "dial", Net: network, Addr: addr, Err: err}
}

// remoteError is the operation of an error that the other side has sent (crypto/tls).
const remoteError = "remote error"

// explain returns a *RefusedError for an error of TLS with a broker, and other errors as
// they are.
func explain(err error, host string) error {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return &RefusedError{
			Cause:  "the brokers' certificate is not signed by an authority that this process trusts",
			Remedy: "name the authority's certificate in kafka.tls.ca",
		}
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return &RefusedError{
			Cause:  "the brokers' certificate is not for " + host,
			Remedy: "name the brokers as their certificate does, or set kafka.tls.server_name",
		}
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if invalid.Reason == x509.Expired {
			return &RefusedError{Cause: "the brokers' certificate has expired, or is not valid yet", Remedy: "renew it, or set the clock of this host"}
		}
		return &RefusedError{Cause: "the brokers' certificate is not valid: " + invalid.Error(), Remedy: "replace it"}
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == remoteError {
		return &RefusedError{
			Cause:  "the brokers refuse the TLS connection: " + op.Err.Error(),
			Remedy: "check kafka.tls.cert and kafka.tls.key, and whether the brokers trust their authority",
		}
	}
	return err
}

// security returns the options for TLS and SASL.
func (c Config) security() []kgo.Opt {
	opts := []kgo.Opt{kgo.Dialer(c.dialer())}
	if m, err := c.SASL.mechanism(); err == nil && c.SASL.Mechanism != "" { // Validate has checked it
		opts = append(opts, kgo.SASL(m))
	}
	return opts
}
