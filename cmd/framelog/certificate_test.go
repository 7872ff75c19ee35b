package main

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/app/config"
)

func overNetwork(dir string) *config.Config {
	return &config.Config{Listen: "10.0.0.7:8443", Data: dir, Access: config.Access{Enabled: true}}
}

// TestMakeCertificate: a certificate is made once, for the names of this host, and only where
// passwords would go over a network.
func TestMakeCertificate(t *testing.T) {
	dir := t.TempDir()
	cfg := overNetwork(dir)
	if err := makeCertificate(cfg); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cfg.TLS.Cert, cfg.TLS.Key)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"localhost", "10.0.0.7"} {
		if err := pair.Leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	roots := x509.NewCertPool()
	roots.AddCert(pair.Leaf)
	for after, ok := range map[time.Duration]bool{0: true, 819 * 24 * time.Hour: true, 821 * 24 * time.Hour: false} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "localhost", CurrentTime: time.Now().Add(after)}); (err == nil) != ok {
			t.Errorf("after %v: %v", after, err)
		}
	}
	if info, err := os.Stat(cfg.TLS.Key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v %v", info.Mode(), err)
	}
	first, err := fingerprint(cfg.TLS.Cert)
	if err != nil {
		t.Fatal(err)
	}
	again := overNetwork(dir)
	if err := makeCertificate(again); err != nil {
		t.Fatal(err)
	}
	if second, err := fingerprint(again.TLS.Cert); err != nil || first != second {
		t.Errorf("made again: %s, %s, %v", first, second, err)
	}
	if !lasts(cfg.TLS.Cert, cfg.TLS.Key, time.Now().Add(819*24*time.Hour)) || lasts(cfg.TLS.Cert, cfg.TLS.Key, time.Now().Add(820*24*time.Hour)) {
		t.Error("it is not renewed in time")
	}
	for name, change := range map[string]func(c *config.Config){
		"loopback":       func(c *config.Config) { c.Listen = "127.0.0.1:8080" },
		"without access": func(c *config.Config) { c.Access.Enabled = false },
		"insecure":       func(c *config.Config) { c.Insecure = true },
	} {
		c := overNetwork(t.TempDir())
		if change(c); makeCertificate(c) != nil || c.TLS.Cert != "" {
			t.Errorf("%s: %q", name, c.TLS.Cert)
		}
	}
	given := overNetwork(t.TempDir())
	given.TLS.Cert, given.TLS.Key = "given.pem", "given.key"
	if makeCertificate(given) != nil || given.TLS.Cert != "given.pem" {
		t.Errorf("given: %q", given.TLS.Cert)
	}
}

// TestCertificateChanges: files that change are read again; if they cannot be, the last
// certificate stays.
func TestCertificateChanges(t *testing.T) {
	dir := t.TempDir()
	cfg := overNetwork(dir)
	write := func() {
		t.Helper()
		if err := writeCertificate(cfg, dir, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")); err != nil {
			t.Fatal(err)
		}
	}
	write()
	c := &certificate{cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), log: slog.New(slog.DiscardHandler)}
	if err := c.read(); err != nil {
		t.Fatal(err)
	}
	first, now := c.loaded, time.Now()
	write()
	later := now.Add(time.Second)
	if err := os.Chtimes(c.cert, later, later); err != nil { // a coarse clock of the file system
		t.Fatal(err)
	}
	if c.get(now) != first {
		t.Error("the files are looked at for each connection")
	}
	second := c.get(now.Add(2 * lookAgain))
	if second == first {
		t.Error("the new files were not read")
	}
	if err := os.WriteFile(c.cert, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c.get(now.Add(4*lookAgain)) != second {
		t.Error("the last certificate did not stay")
	}
}
