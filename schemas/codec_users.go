package schemas

import "fmt"

type versionedUser struct {
	V int `msgpack:"v"`
	User
}

type versionedSigningKey struct {
	V int `msgpack:"v"`
	SigningKey
}

type versionedSignOut struct {
	V int `msgpack:"v"`
	SignOut
}

// EncodeUser encodes u as the value of a record with the key [UserKey].
func EncodeUser(u *User) ([]byte, error) { return encode(&versionedUser{Version, *u}, 512) }

// DecodeUser decodes the value of a record with the key [UserKey].
func DecodeUser(b []byte) (User, error) {
	var w versionedUser
	if err := decode(b, &w.V, &w); err != nil {
		return User{}, fmt.Errorf("schemas: decode user: %w", err)
	}
	return w.User, nil
}

// EncodeSigningKey encodes k as the value of a record with the key [SigningKeyKey].
func EncodeSigningKey(k *SigningKey) ([]byte, error) {
	return encode(&versionedSigningKey{Version, *k}, 64)
}

// DecodeSigningKey decodes the value of a record with the key [SigningKeyKey].
func DecodeSigningKey(b []byte) (SigningKey, error) {
	var w versionedSigningKey
	if err := decode(b, &w.V, &w); err != nil {
		return SigningKey{}, fmt.Errorf("schemas: decode signing key: %w", err)
	}
	return w.SigningKey, nil
}

// EncodeSignOut encodes s as the value of a record with the key [SignOutKey].
func EncodeSignOut(s *SignOut) ([]byte, error) { return encode(&versionedSignOut{Version, *s}, 64) }

// DecodeSignOut decodes the value of a record with the key [SignOutKey].
func DecodeSignOut(b []byte) (SignOut, error) {
	var w versionedSignOut
	if err := decode(b, &w.V, &w); err != nil {
		return SignOut{}, fmt.Errorf("schemas: decode sign-out: %w", err)
	}
	return w.SignOut, nil
}
