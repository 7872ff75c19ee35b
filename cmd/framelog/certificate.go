package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/framelog/framelog/internal/app/config"
)

const (
	// madeFor is how long a certificate that Framelog makes is valid. Some browsers take
	// none that is valid for longer than 825 days.
	madeFor = 820 * 24 * time.Hour
	// renewAt is how long before its end a certificate is made anew.
	renewAt = 30 * 24 * time.Hour
	// lookAgain is how often the files of a certificate are looked at.
	lookAgain = time.Minute
)

// certificate is a certificate in files, which is read again when they change.
type certificate struct {
	cert, key string
	log       *slog.Logger

	mu     sync.Mutex
	loaded *tls.Certificate
	at     time.Time // when the files were last looked at
	stamp  string    // of the files that loaded is of
}

// withTLS returns ln with the certificate of cfg.TLS, and HTTP/2 with it (RFC 9113). Without
// a certificate it returns ln.
func withTLS(cfg *config.Config, ln net.Listener, log *slog.Logger) (net.Listener, error) {
	if cfg.TLS.Cert == "" {
		return ln, nil
	}
	c := &certificate{cert: cfg.TLS.Cert, key: cfg.TLS.Key, log: log}
	if err := c.read(); err != nil {
		return nil, cfg.Errorf("tls.cert", "name the files of a certificate and its key in PEM, which this user may read", "%s", err)
	}
	return tls.NewListener(ln, &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get(time.Now()), nil },
	}), nil
}

// get returns the certificate. If it cannot be read any more, the last one stays.
func (c *certificate) get(now time.Time) *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.at) >= lookAgain {
		if err := c.read(); err != nil {
			c.log.Warn("the new certificate cannot be read; the old one stays", "err", err)
		}
	}
	return c.loaded
}

// read reads the files if they have changed.
func (c *certificate) read() error {
	c.at = time.Now()
	var stamp strings.Builder
	for _, name := range []string{c.cert, c.key} {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		fmt.Fprint(&stamp, info.ModTime(), info.Size())
	}
	if stamp.String() == c.stamp {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return err
	}
	c.loaded, c.stamp = &pair, stamp.String()
	return nil
}

// makeCertificate sets cfg.TLS to a certificate that Framelog makes, if people sign in over a
// network and there is none. It keeps the certificate in the data directory.
func makeCertificate(cfg *config.Config) error {
	if cfg.TLS.Cert != "" || !cfg.Access.Enabled || cfg.Insecure || config.Loopback(cfg.Listen) {
		return nil
	}
	dir := filepath.Join(cfg.Data, "tls")
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if !lasts(cert, key, time.Now().Add(renewAt)) {
		if err := writeCertificate(cfg, dir, cert, key); err != nil {
			return cfg.Errorf("data", "name a directory that you may write to", "no certificate can be kept there: %s", err)
		}
	}
	cfg.TLS.Cert, cfg.TLS.Key = cert, key
	return nil
}

// lasts reports whether the files hold a certificate that is still valid at a time.
func lasts(cert, key string, at time.Time) bool {
	pair, err := tls.LoadX509KeyPair(cert, key)
	return err == nil && pair.Leaf != nil && at.Before(pair.Leaf.NotAfter)
}

// writeCertificate makes a certificate that is signed by itself, for this host's name and
// addresses.
func writeCertificate(cfg *config.Config, dir, cert, key string) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Framelog"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(madeFor),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	t.DNSNames, t.IPAddresses = ownNames(cfg.Listen)
	der, err := x509.CreateCertificate(rand.Reader, t, t, &private.PublicKey, private)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
}

// ownNames returns the names and addresses by which browsers may reach this host.
func ownNames(listen string) (names []string, addrs []net.IP) {
	names = []string{"localhost"}
	if host, err := os.Hostname(); err == nil && host != "" {
		names = append(names, host)
	}
	host, _, _ := net.SplitHostPort(listen) // the configuration has checked it
	if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() {
		return names, []net.IP{ip}
	}
	if host != "" && net.ParseIP(host) == nil {
		return append(names, host), nil
	}
	all, _ := net.InterfaceAddrs() // without them the certificate has names alone
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() {
			addrs = append(addrs, n.IP)
		}
	}
	return names, addrs
}

// fingerprint returns the SHA-256 of a certificate file, as browsers show it.
func fingerprint(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return "", fmt.Errorf("%s holds no certificate", file)
	}
	sum := sha256.Sum256(block.Bytes)
	text := strings.ToUpper(hex.EncodeToString(sum[:]))
	var parts []string
	for i := 0; i < len(text); i += 2 {
		parts = append(parts, text[i:i+2])
	}
	return strings.Join(parts, ":"), nil
}
