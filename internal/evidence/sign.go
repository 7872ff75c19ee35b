package evidence

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// ReadPrivateKey reads an Ed25519 key in PEM (PKCS#8, RFC 8410), as
// "openssl genpkey -algorithm ed25519" writes it.
func ReadPrivateKey(path string) (ed25519.PrivateKey, error) {
	der, err := readPEM(path, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%s: it is no private key in PKCS#8", path) // err could show some of it
	}
	k, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s: it is no key of Ed25519", path)
	}
	return k, nil
}

// ReadPublicKey reads an Ed25519 key in PEM (SubjectPublicKeyInfo, RFC 8410), as
// "openssl pkey -pubout" writes it.
func ReadPublicKey(path string) (ed25519.PublicKey, error) {
	der, err := readPEM(path, "PUBLIC KEY")
	if err != nil {
		return nil, err
	}
	k, err := parsePublic(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

func readPEM(path, kind string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("%s: it is no PEM file of the type %s", path, kind)
	}
	return block.Bytes, nil
}

func parsePublic(der []byte) (ed25519.PublicKey, error) {
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, err
	}
	k, ok := key.(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("it is no key of Ed25519")
	}
	return k, nil
}

// showPublic is a key as Manifest.PublicKey has it.
func showPublic(k ed25519.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(der), nil
}

// key returns the key of the signature; nil if there is none.
func (m *Manifest) key() (ed25519.PublicKey, error) {
	if m.PublicKey == "" {
		return nil, nil
	}
	der, err := base64.StdEncoding.DecodeString(m.PublicKey)
	if err != nil {
		return nil, err
	}
	return parsePublic(der)
}
