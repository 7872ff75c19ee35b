package people

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
)

// What a signed text is for. A text for one purpose is not valid for another.
const (
	forSession = "session"
	forShare   = "share"
	forOIDC    = "oidc"
)

// maxSealed is the longest signed text that is read, in bytes.
const maxSealed = 2048

var errSeal = errors.New("people: it is not signed by this Framelog")

// seal returns v as a signed text of letters, digits, "-", "_" and one ".".
func seal(key []byte, purpose string, v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(b)
	return text + "." + base64.RawURLEncoding.EncodeToString(mac(key, purpose, text)), nil
}

// unseal reads what seal has written with the same key for the same purpose.
func unseal(key []byte, purpose, sealed string, v any) error {
	text, sum, _ := strings.Cut(sealed, ".")
	got, err := base64.RawURLEncoding.Strict().DecodeString(sum)
	if err != nil || len(key) == 0 || len(sealed) > maxSealed || !hmac.Equal(got, mac(key, purpose, text)) {
		return errSeal
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return errSeal
	}
	return json.Unmarshal(b, v)
}

func mac(key []byte, purpose, text string) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte(purpose + "." + text)) // never fails
	return h.Sum(nil)
}

// randomID returns 128 random bits as text.
func randomID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
