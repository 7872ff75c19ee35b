package schemas

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// UserRole is what a user may do with their cameras.
type UserRole string

// The roles of users. Each may do what the one before may.
const (
	Viewer   UserRole = "viewer"   // see the cameras and watch them
	Operator UserRole = "operator" // add, change and remove them
	Admin    UserRole = "admin"    // everything, with all cameras and renditions
)

// User is one record of the topic of users: a person or a program that may use this
// Framelog. Its key is [UserKey]; a tombstone removes the user.
type User struct {
	Name string   `msgpack:"name" json:"name"`
	Role UserRole `msgpack:"role" json:"role"`
	// Cameras and Renditions are patterns as path.Match has them: "yard", "gate-*", "*".
	// An administrator has none, and may see all.
	Cameras    []string `msgpack:"cameras,omitempty" json:"cameras,omitempty"`
	Renditions []string `msgpack:"renditions,omitempty" json:"renditions,omitempty"`
	// Password is the hash of the password (argon2id, RFC 9106) in PHC format. Empty: the
	// user cannot sign in with a password.
	Password string `msgpack:"password,omitempty" json:"-"`
	// Subject is the issuer and the subject of a user who signs in with OpenID Connect.
	// Empty: the user does not.
	Subject string `msgpack:"subject,omitempty" json:"subject,omitempty"`
	// Stamp is random, and changes with the password and with the rights. Sessions and
	// share links name it, so those from before the change are refused.
	Stamp   string    `msgpack:"stamp" json:"-"`
	Tokens  []Token   `msgpack:"tokens,omitempty" json:"tokens,omitempty"`
	Updated time.Time `msgpack:"updated" json:"updated"`
}

// MaxTokens is the most tokens of a user.
const MaxTokens = 32

// Token is an API token of a user. It has the rights that the user has when it is used.
type Token struct {
	ID string `msgpack:"id" json:"id"`
	// Hash is the SHA-256 of the secret part. The secret is 256 random bits, so a slow
	// hash is not needed.
	Hash    []byte    `msgpack:"hash" json:"-"`
	Label   string    `msgpack:"label,omitempty" json:"label,omitempty"`
	Created time.Time `msgpack:"created" json:"created"`
	Until   time.Time `msgpack:"until,omitempty" json:"until,omitzero"` // zero: no end
}

// Is reports whether secret is the secret part of the token.
func (t Token) Is(secret string) bool {
	sum := sha256.Sum256([]byte(secret))
	return subtle.ConstantTimeCompare(sum[:], t.Hash) == 1
}

// SigningKey is a record of the topic of users: a key with which egress signs sessions
// and share links. Its key is [SigningKeyKey] with a random id. Of several records the one
// with the lowest offset counts, so two processes that write one at the same time use the
// same key. Each has a record key of its own, because compaction would keep the last one.
type SigningKey struct {
	Key  []byte    `msgpack:"key"`
	Made time.Time `msgpack:"made"`
}

// SignOut is a record of the topic of users: a session that was ended. Its key is
// [SignOutKey].
type SignOut struct {
	User string `msgpack:"user"`
	// Until is when the newest cookie of the session expires. After that the record is
	// not needed.
	Until time.Time `msgpack:"until"`
}

// What stands before the first slash of a record's key in the topic of users.
const (
	KindUser       = "user"
	KindSigningKey = "key"
	KindSignOut    = "out"
)

// UserKey returns the record key of a user.
func UserKey(name string) string { return KindUser + "/" + name }

// SigningKeyKey returns the record key of a signing key.
func SigningKeyKey(id string) string { return KindSigningKey + "/" + id }

// SignOutKey returns the record key of a session that was ended.
func SignOutKey(session string) string { return KindSignOut + "/" + session }

// SplitUsersKey splits the key of a record of the topic of users.
func SplitUsersKey(key []byte) (kind, id string) {
	kind, id, _ = strings.Cut(string(key), "/")
	return kind, id
}

var (
	userPattern    = regexp.MustCompile(`^[a-z0-9][a-z0-9._@+-]{0,127}$`)
	patternPattern = regexp.MustCompile(`^[a-z0-9*?-]{1,63}$`)
)

// Validate returns an error if u cannot be a record.
func (u *User) Validate() error {
	if !userPattern.MatchString(u.Name) {
		return fmt.Errorf("user %q: want 1 to 128 of a-z, 0-9 and ._@+-, beginning with a letter or a digit", u.Name)
	}
	switch u.Role {
	case Viewer, Operator:
		if len(u.Cameras) == 0 || len(u.Renditions) == 0 {
			return fmt.Errorf("user %s: a %s needs patterns of cameras and of renditions", u.Name, u.Role)
		}
	case Admin:
		if len(u.Cameras) > 0 || len(u.Renditions) > 0 {
			return fmt.Errorf("user %s: an admin may see all cameras and renditions, so it has no patterns", u.Name)
		}
	default:
		return fmt.Errorf("user %s: role %q: want %s, %s or %s", u.Name, u.Role, Viewer, Operator, Admin)
	}
	for _, patterns := range [][]string{u.Cameras, u.Renditions} {
		for _, p := range patterns {
			if !patternPattern.MatchString(p) {
				return fmt.Errorf("user %s: pattern %q: want a-z, 0-9, -, and * or ? for any of them", u.Name, p)
			}
		}
	}
	if u.Stamp == "" {
		return fmt.Errorf("user %s: it has no stamp", u.Name)
	}
	if len(u.Tokens) > MaxTokens {
		return fmt.Errorf("user %s: it has more than %d tokens", u.Name, MaxTokens)
	}
	return nil
}
