package users

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/sync/semaphore"

	"github.com/framelog/framelog/schemas"
)

// Parameters of argon2id for new passwords: those that OWASP's cheat sheet on password
// storage names. One hash takes 19 MiB and some 30 ms of one core.
const (
	argonMemory  = 19 << 10 // KiB
	argonTime    = 2
	argonThreads = 1
	saltBytes    = 16
	hashBytes    = 32
)

// The shortest and longest passwords, in bytes.
const (
	MinPassword = 12
	MaxPassword = 256
)

const (
	keyBytes = 32 // of a signing key: as many as HMAC-SHA-256 gives
	// maxMemory bounds the memory of one hash, in KiB, since records tell the parameters.
	maxMemory = 256 << 10
	maxTime   = 16
)

// hashing bounds how many hashes are computed at the same time, and so their memory.
// Others wait.
var hashing = semaphore.NewWeighted(2)

// CheckPassword returns why a password is not good enough; nil if it is.
func CheckPassword(password string) error {
	if n := len(password); n < MinPassword || n > MaxPassword {
		return fmt.Errorf("a password has %d to %d bytes, and this one has %d", MinPassword, MaxPassword, n)
	}
	return nil
}

// HashPassword returns the hash of a password, as in schemas.User. It waits for its turn;
// the error is ctx's.
func HashPassword(ctx context.Context, password string) (string, error) {
	if err := hashing.Acquire(ctx, 1); err != nil {
		return "", fmt.Errorf("users: hash password: %w", err)
	}
	defer hashing.Release(1)
	salt := random(saltBytes)
	sum := argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonThreads, hashBytes)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads, b64.EncodeToString(salt), b64.EncodeToString(sum)), nil
}

// nobody is the hash that VerifyPassword compares with if there is none. So an unknown
// name takes as long as a wrong password.
var nobody = fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads,
	base64.RawStdEncoding.EncodeToString(make([]byte, saltBytes)), base64.RawStdEncoding.EncodeToString(make([]byte, hashBytes)))

// VerifyPassword reports whether hash, of HashPassword, is that of password. With an empty
// hash it takes as long as with another one. It waits for its turn; the error is ctx's, or
// says that the hash cannot be read.
func VerifyPassword(ctx context.Context, hash, password string) (bool, error) {
	if err := hashing.Acquire(ctx, 1); err != nil {
		return false, fmt.Errorf("users: verify password: %w", err)
	}
	defer hashing.Release(1)
	known := hash != ""
	if !known {
		hash = nobody
	}
	var version int
	var memory, time uint32
	var threads uint8
	fields := strings.Split(hash, "$")
	if len(fields) != 6 || fields[1] != "argon2id" {
		return false, errors.New("users: verify password: the hash is not argon2id")
	}
	_, err1 := fmt.Sscanf(fields[2], "v=%d", &version)
	_, err2 := fmt.Sscanf(fields[3], "m=%d,t=%d,p=%d", &memory, &time, &threads)
	salt, err3 := base64.RawStdEncoding.DecodeString(fields[4])
	want, err4 := base64.RawStdEncoding.DecodeString(fields[5])
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return false, fmt.Errorf("users: verify password: %w", err)
	}
	if version != argon2.Version || memory > maxMemory || time == 0 || time > maxTime || threads == 0 || len(want) == 0 {
		return false, errors.New("users: verify password: the hash has parameters that are not supported")
	}
	sum := argon2.IDKey([]byte(password), salt, time, memory, threads, uint32(len(want)))
	return subtle.ConstantTimeCompare(sum, want) == 1 && known, nil
}

// NewPassword returns a random password of 98 bits, as "7k3f-9q2x-…", that people can type.
func NewPassword() string {
	const letters = "abcdefghjkmnpqrstuvwxyz23456789z" // 31 that do not look alike, and z again: 32
	var b strings.Builder
	for i, x := range random(20) {
		if i > 0 && i%4 == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(letters[x%32])
	}
	return b.String()
}

// NewStamp returns a schemas.User's Stamp.
func NewStamp() string { return hex.EncodeToString(random(16)) }

// tokenPrefix stands before every token, so that scanners of secrets find tokens.
const tokenPrefix = "fl_"

// NewToken makes a token. text is the token itself, which nothing keeps.
func NewToken(label string, created, until time.Time) (text string, t schemas.Token) {
	id, secret := hex.EncodeToString(random(8)), base64.RawURLEncoding.EncodeToString(random(32))
	sum := sha256.Sum256([]byte(secret))
	return tokenPrefix + id + "_" + secret, schemas.Token{ID: id, Hash: sum[:], Label: label, Created: created, Until: until}
}

// parseToken splits the text of a token.
func parseToken(text string) (id, secret string, ok bool) {
	rest, ok := strings.CutPrefix(text, tokenPrefix)
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, "_")
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}
