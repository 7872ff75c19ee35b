package testenv

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CA is an authority that signs certificates for a test.
type CA struct {
	File string // its certificate, in PEM
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
}

// Certificate is a certificate with its key.
type Certificate struct {
	Cert, Key string // files in PEM; both are in Both too
	Both      string
	Pair      tls.Certificate
}

// NewCA makes an authority.
func NewCA(t testing.TB) *CA {
	t.Helper()
	ca := &CA{dir: t.TempDir()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Framelog test authority"},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var der []byte
	ca.key, der = sign(t, template, nil)
	var err error
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatalf("testenv: make authority: %v", err)
	}
	ca.File = filepath.Join(ca.dir, "ca.pem")
	write(t, ca.File, block("CERTIFICATE", der))
	return ca
}

// Pool holds the authority's certificate.
func (ca *CA) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca.cert)
	return p
}

// Sign makes a certificate of 127.0.0.1 for servers and clients, with name as its common
// name. It ends after life, which may be negative. The files are called after name: another
// call with the same name replaces them.
func (ca *CA) Sign(t testing.TB, name string, life time.Duration) Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	key, der := sign(t, template, ca)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatalf("testenv: make key: %v", err)
	}
	c := Certificate{
		Cert: filepath.Join(ca.dir, name+".pem"), Key: filepath.Join(ca.dir, name+".key"), Both: filepath.Join(ca.dir, name+".both.pem"),
		Pair: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
	}
	cert, secret := block("CERTIFICATE", der), block("PRIVATE KEY", pkcs8)
	write(t, c.Cert, cert)
	write(t, c.Key, secret)
	write(t, c.Both, append(secret, cert...))
	return c
}

// sign makes a key, and its certificate: signed by ca, or by itself.
func sign(t testing.TB, template *x509.Certificate, ca *CA) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("testenv: make key: %v", err)
	}
	parent, signer := template, key
	if ca != nil {
		parent, signer = ca.cert, ca.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatalf("testenv: make certificate: %v", err)
	}
	return key, der
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// write replaces a file in one step.
func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		t.Fatalf("testenv: %v", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatalf("testenv: %v", err)
	}
}
