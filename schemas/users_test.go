package schemas

import (
	"strings"
	"testing"
	"time"
)

func TestGoldenUsers(t *testing.T) {
	record(t, "user", &User{
		Name: "anna@example.org", Role: Viewer, Cameras: []string{"yard", "gate-*"}, Renditions: []string{"redacted"},
		Password: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA", Subject: "https://login.example#42", Stamp: "00112233445566778899aabbccddeeff",
		Tokens:  []Token{{ID: "5f3a91c2", Hash: []byte{1, 2, 3}, Label: "wall", Created: someTime, Until: someTime.Add(time.Hour)}},
		Updated: someTime,
	}, EncodeUser, func(b []byte) (User, error) {
		u, err := DecodeUser(b)
		u.Updated = u.Updated.UTC()
		for i := range u.Tokens {
			u.Tokens[i].Created, u.Tokens[i].Until = u.Tokens[i].Created.UTC(), u.Tokens[i].Until.UTC()
		}
		return u, err
	})
	record(t, "signing-key", &SigningKey{Key: []byte{7, 8, 9}, Made: someTime}, EncodeSigningKey, func(b []byte) (SigningKey, error) {
		k, err := DecodeSigningKey(b)
		k.Made = k.Made.UTC()
		return k, err
	})
	record(t, "sign-out", &SignOut{User: "anna", Until: someTime}, EncodeSignOut, func(b []byte) (SignOut, error) {
		s, err := DecodeSignOut(b)
		s.Until = s.Until.UTC()
		return s, err
	})
}

func TestValidateUser(t *testing.T) {
	all := []string{"*"}
	for _, c := range []struct {
		name string
		user User
		want string // in the error; "": none
	}{
		{"viewer", User{Name: "anna", Role: Viewer, Cameras: []string{"gate-*", "yard"}, Renditions: all, Stamp: "s"}, ""},
		{"an address", User{Name: "anna@example.org", Role: Operator, Cameras: all, Renditions: []string{"redacted", "720p"}, Stamp: "s"}, ""},
		{"admin", User{Name: "root", Role: Admin, Stamp: "s"}, ""},
		{"no name", User{Role: Admin, Stamp: "s"}, "want 1 to 128"},
		{"capitals", User{Name: "Anna", Role: Admin, Stamp: "s"}, "want 1 to 128"},
		{"slash", User{Name: "a/b", Role: Admin, Stamp: "s"}, "want 1 to 128"},
		{"no role", User{Name: "anna", Cameras: all, Renditions: all, Stamp: "s"}, `role ""`},
		{"viewer of nothing", User{Name: "anna", Role: Viewer, Renditions: all, Stamp: "s"}, "needs patterns"},
		{"admin of some", User{Name: "anna", Role: Admin, Cameras: all, Stamp: "s"}, "no patterns"},
		{"a class", User{Name: "anna", Role: Viewer, Cameras: []string{"[a-z]*"}, Renditions: all, Stamp: "s"}, "pattern"},
		{"no stamp", User{Name: "root", Role: Admin}, "no stamp"},
		{"too many tokens", User{Name: "root", Role: Admin, Stamp: "s", Tokens: make([]Token, MaxTokens+1)}, "more than 32"},
	} {
		err := c.user.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
