// Package peopletest has users in memory, for tests.
package peopletest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/framelog/framelog/schemas"
)

// Users are users in memory. It implements people.Users. A user's password is the user's
// Password itself: see Verify.
type Users struct {
	Key []byte

	mu   sync.Mutex
	all  map[string]schemas.User
	out  map[string]time.Time // until when a session that was ended is known
	fail bool
}

// New makes users with a signing key.
func New(all ...schemas.User) *Users {
	u := &Users{Key: []byte(strings.Repeat("k", 32)), all: map[string]schemas.User{}, out: map[string]time.Time{}}
	for _, one := range all {
		u.Set(one)
	}
	return u
}

// Viewer returns a viewer of cameras and renditions, with the password "secret of NAME" and
// the token "token of NAME".
func Viewer(name string, cameras, renditions []string) schemas.User {
	return schemas.User{Name: name, Role: schemas.Viewer, Cameras: cameras, Renditions: renditions, Password: "secret of " + name, Stamp: "1"}
}

// Set adds or replaces a user.
func (u *Users) Set(one schemas.User) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.all[one.Name] = one
}

// Drop removes a user.
func (u *Users) Drop(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.all, name)
}

// Fail makes writes fail.
func (u *Users) Fail() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.fail = true
}

// User is people.Users.
func (u *Users) User(name string) (schemas.User, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	one, ok := u.all[name]
	return one, ok
}

// Token is people.Users.
func (u *Users) Token(text string) (schemas.User, bool) {
	name, ok := strings.CutPrefix(text, "token of ")
	if !ok {
		return schemas.User{}, false
	}
	return u.User(name)
}

// SignedOut is people.Users. The record of a sign-out may be gone from its Until on.
func (u *Users) SignedOut(session string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return time.Now().Before(u.out[session])
}

// SigningKey is people.Users.
func (u *Users) SigningKey() []byte { return u.Key }

var errAway = errors.New("the brokers are away")

// Put is people.Users.
func (u *Users) Put(_ context.Context, one schemas.User) error {
	u.mu.Lock()
	fail := u.fail
	u.mu.Unlock()
	if fail {
		return errAway
	}
	u.Set(one)
	return nil
}

// SignOut is people.Users.
func (u *Users) SignOut(_ context.Context, session string, o schemas.SignOut) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.out[session] = o.Until
	if u.fail {
		return errAway
	}
	return nil
}

// Verify is people.Deps.Verify.
func Verify(_ context.Context, hash, password string) (bool, error) {
	return hash != "" && hash == password, nil
}
