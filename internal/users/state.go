package users

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/schemas"
)

// State is what the topic of users holds. It is built from the records, in their order.
type State struct {
	users  map[string]schemas.User
	tokens map[string]string          // user by the token's id
	out    map[string]schemas.SignOut // by session
	keys   map[string]signingKey      // by id
	next   int64                      // the offset after the last record
}

type signingKey struct {
	offset int64
	key    []byte
}

func newState() *State {
	return &State{users: map[string]schemas.User{}, tokens: map[string]string{}, out: map[string]schemas.SignOut{}, keys: map[string]signingKey{}}
}

// apply changes s to what a record tells. After an error only next has changed.
func (s *State) apply(r *kgo.Record) error {
	s.next = r.Offset + 1
	kind, id := schemas.SplitUsersKey(r.Key)
	gone := len(r.Value) == 0
	switch kind {
	case schemas.KindUser:
		var u schemas.User
		if !gone {
			var err error
			if u, err = schemas.DecodeUser(r.Value); err != nil {
				return err
			}
			if u.Name != id {
				return fmt.Errorf("key %q holds user %q", id, u.Name)
			}
			if err := u.Validate(); err != nil {
				return err
			}
		}
		for _, t := range s.users[id].Tokens {
			delete(s.tokens, t.ID)
		}
		delete(s.users, id)
		if !gone {
			s.users[id] = u
			for _, t := range u.Tokens {
				s.tokens[t.ID] = id
			}
		}
	case schemas.KindSignOut:
		if gone {
			delete(s.out, id)
			return nil
		}
		o, err := schemas.DecodeSignOut(r.Value)
		if err != nil {
			return err
		}
		s.out[id] = o
	case schemas.KindSigningKey:
		if gone {
			delete(s.keys, id)
			return nil
		}
		k, err := schemas.DecodeSigningKey(r.Value)
		if err != nil {
			return err
		}
		if len(k.Key) < keyBytes {
			return fmt.Errorf("signing key %q: it has %d bytes, want %d", id, len(k.Key), keyBytes)
		}
		s.keys[id] = signingKey{r.Offset, k.Key}
	}
	return nil
}

// User returns a user.
func (s *State) User(name string) (schemas.User, bool) {
	u, ok := s.users[name]
	return u, ok
}

// Users returns all users, by name.
func (s *State) Users() []schemas.User {
	return slices.SortedFunc(maps.Values(s.users), func(a, b schemas.User) int { return strings.Compare(a.Name, b.Name) })
}

// HasAdmin reports whether there is an administrator.
func (s *State) HasAdmin() bool {
	for _, u := range s.users {
		if u.Role == schemas.Admin {
			return true
		}
	}
	return false
}

// token returns the user of the token with this text, if the token is valid at now.
func (s *State) token(text string, now time.Time) (schemas.User, bool) {
	id, secret, ok := parseToken(text)
	if !ok {
		return schemas.User{}, false
	}
	u, ok := s.users[s.tokens[id]]
	if !ok {
		return schemas.User{}, false
	}
	i := slices.IndexFunc(u.Tokens, func(t schemas.Token) bool { return t.ID == id })
	if i < 0 || !u.Tokens[i].Is(secret) || expired(u.Tokens[i].Until, now) {
		return schemas.User{}, false
	}
	return u, true
}

func expired(until, now time.Time) bool { return !until.IsZero() && !now.Before(until) }

// signingKey returns the key that counts: the one with the lowest offset. nil: there is none.
func (s *State) signingKey() []byte {
	var first signingKey
	for _, k := range s.keys {
		if first.key == nil || k.offset < first.offset {
			first = k
		}
	}
	return first.key
}

// past returns sessions whose sign-out is not needed any more, at most n.
func (s *State) past(now time.Time, n int) (sessions []string) {
	for id, o := range s.out {
		if expired(o.Until, now) && len(sessions) < n {
			sessions = append(sessions, id)
		}
	}
	return sessions
}

// clone returns a copy that does not change.
func (s *State) clone() *State {
	return &State{users: maps.Clone(s.users), tokens: maps.Clone(s.tokens), out: maps.Clone(s.out), keys: maps.Clone(s.keys), next: s.next}
}
