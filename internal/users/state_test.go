package users

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/schemas"
)

// topic is a topic of users in memory.
type topic struct {
	t       *testing.T
	records []*kgo.Record
}

func (x *topic) add(key string, value []byte, err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
	x.records = append(x.records, &kgo.Record{Offset: int64(len(x.records)), Key: []byte(key), Value: value})
}

func (x *topic) user(u schemas.User) {
	x.t.Helper()
	value, err := schemas.EncodeUser(&u)
	x.add(schemas.UserKey(u.Name), value, err)
}

func (x *topic) key(id string) {
	x.t.Helper()
	value, err := schemas.EncodeSigningKey(&schemas.SigningKey{Key: []byte(strings.Repeat(id, keyBytes))})
	x.add(schemas.SigningKeyKey(id), value, err)
}

func (x *topic) out(session string, until time.Time) {
	x.t.Helper()
	value, err := schemas.EncodeSignOut(&schemas.SignOut{User: "anna", Until: until})
	x.add(schemas.SignOutKey(session), value, err)
}

// read returns the state after all records, and the first error. compacted leaves out records
// that a later one with the same key replaces, as Kafka does.
func (x *topic) read(compacted bool) (*State, error) {
	last := map[string]int64{}
	for _, r := range x.records {
		last[string(r.Key)] = r.Offset
	}
	s := newState()
	var first error
	for _, r := range x.records {
		if compacted && last[string(r.Key)] != r.Offset {
			continue
		}
		if err := s.apply(r); err != nil && first == nil {
			first = err
		}
	}
	return s, first
}

// TestState: a state is the same before and after compaction.
func TestState(t *testing.T) {
	now := time.Now()
	x := &topic{t: t}
	anna := schemas.User{Name: "anna", Role: schemas.Admin, Stamp: "1"}
	text, token := NewToken("wall", now, now.Add(time.Hour))
	gone, removed := NewToken("old", now, time.Time{})
	anna.Tokens = []schemas.Token{removed, token}
	x.user(anna)
	x.key("a")
	x.out("one", now.Add(-time.Second))
	x.key("b")
	anna.Tokens = anna.Tokens[1:]
	x.user(anna)
	bert, ofBert := NewToken("", now, time.Time{})
	x.user(schemas.User{Name: "bert", Role: schemas.Admin, Stamp: "1", Tokens: []schemas.Token{ofBert}})
	x.add(schemas.UserKey("bert"), nil, nil)
	x.out("two", now.Add(time.Hour))
	for _, compacted := range []bool{false, true} {
		s, err := x.read(compacted)
		if err != nil {
			t.Fatal(err)
		}
		if all := s.Users(); len(all) != 1 || all[0].Name != "anna" || !s.HasAdmin() {
			t.Errorf("users %+v", all)
		}
		if k := s.signingKey(); string(k) != strings.Repeat("a", keyBytes) {
			t.Errorf("compacted %v: the key that counts is %q", compacted, k)
		}
		for name, c := range map[string]struct {
			text string
			at   time.Time
			ok   bool
		}{
			"valid": {text, now, true}, "at its end": {text, now.Add(time.Hour), false}, "removed": {gone, now, false}, "of a removed user": {bert, now, false},
			"another secret": {text[:len(text)-1] + "x", now, false}, "no secret": {strings.Join(strings.Split(text, "_")[:2], "_") + "_", now, false}, "none": {"", now, false},
		} {
			if u, ok := s.token(c.text, c.at); ok != c.ok || ok && u.Name != "anna" {
				t.Errorf("token, %s: %v %v", name, u.Name, ok)
			}
		}
		if past := s.past(now, 10); len(past) != 1 || past[0] != "one" {
			t.Errorf("past sessions %v", past)
		}
		if s.next != int64(len(x.records)) {
			t.Errorf("next %d", s.next)
		}
	}
}

// TestBadRecords: a record that cannot be read changes nothing.
func TestBadRecords(t *testing.T) {
	anna := schemas.User{Name: "anna", Role: schemas.Admin, Stamp: "1"}
	good, err := schemas.EncodeUser(&anna)
	if err != nil {
		t.Fatal(err)
	}
	noRights, _ := schemas.EncodeUser(&schemas.User{Name: "anna", Role: schemas.Viewer, Stamp: "2"})
	short, _ := schemas.EncodeSigningKey(&schemas.SigningKey{Key: []byte("short")})
	for name, r := range map[string]*kgo.Record{
		"no msgpack":        {Key: []byte("user/anna"), Value: []byte("x")},
		"another name":      {Key: []byte("user/bert"), Value: good},
		"no user that may":  {Key: []byte("user/anna"), Value: noRights},
		"a short key":       {Key: []byte("key/a"), Value: short},
		"sign-out, no time": {Key: []byte("out/a"), Value: []byte("x")},
	} {
		s := newState()
		if err := s.apply(&kgo.Record{Key: []byte("user/anna"), Value: good}); err != nil {
			t.Fatal(err)
		}
		if err := s.apply(r); err == nil {
			t.Errorf("%s: no error", name)
		}
		if u, ok := s.User("anna"); !ok || u.Stamp != "1" || len(s.users) != 1 || s.signingKey() != nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
	s := newState()
	if err := s.apply(&kgo.Record{Key: []byte("later/x"), Value: []byte("x")}); err != nil {
		t.Errorf("a kind of a later version: %v", err)
	}
	x := &topic{t: t}
	x.key("a")
	x.out("one", time.Now().Add(time.Hour))
	x.add(schemas.SigningKeyKey("a"), short, nil)
	x.add(schemas.SignOutKey("one"), []byte("x"), nil)
	if s, err := x.read(false); err == nil || len(s.out) != 1 || s.signingKey() == nil {
		t.Errorf("behind good records: %+v, %v", s, err)
	}
}

func TestPassword(t *testing.T) {
	ctx := t.Context()
	hash, err := HashPassword(ctx, "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	again, _ := HashPassword(ctx, "correct horse")
	if hash == again || strings.Contains(hash, "horse") {
		t.Errorf("%s and %s", hash, again)
	}
	for _, c := range []struct {
		hash, password string
		ok, bad        bool
	}{
		{hash, "correct horse", true, false},
		{hash, "correct hors", false, false},
		{hash, "", false, false},
		{"", "correct horse", false, false},
		{"", "", false, false},
		{"secret", "secret", false, true},
		{strings.Replace(hash, "argon2id", "argon2i", 1), "correct horse", false, true},
		{strings.Replace(hash, "m=19456", "m=9999999", 1), "correct horse", false, true},
		{strings.Replace(hash, "t=2", "t=0", 1), "correct horse", false, true},
	} {
		ok, err := VerifyPassword(ctx, c.hash, c.password)
		if ok != c.ok || (err != nil) != c.bad || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q %q: %v, %v", c.hash, c.password, ok, err)
		}
	}
	if p := NewPassword(); CheckPassword(p) != nil || p == NewPassword() {
		t.Errorf("made: %q", p)
	}
	if CheckPassword("short") == nil || CheckPassword(strings.Repeat("x", MaxPassword+1)) == nil {
		t.Error("a password that is too short or too long")
	}
}
