package schemas

import "fmt"

type versionedCamera struct {
	V int `msgpack:"v"`
	Camera
}

type versionedStatus struct {
	V int `msgpack:"v"`
	Status
}

type versionedPurge struct {
	V int `msgpack:"v"`
	Purge
}

// EncodeCamera encodes c as the value of a registry record.
func EncodeCamera(c *Camera) ([]byte, error) {
	return encode(&versionedCamera{Version, *c}, 256)
}

// DecodeCamera decodes the value of a registry record.
func DecodeCamera(b []byte) (Camera, error) {
	var w versionedCamera
	if err := decode(b, &w.V, &w); err != nil {
		return Camera{}, fmt.Errorf("schemas: decode camera: %w", err)
	}
	return w.Camera, nil
}

// EncodePurge encodes p as the value of a registry record.
func EncodePurge(p *Purge) ([]byte, error) {
	return encode(&versionedPurge{Version, *p}, 256)
}

// DecodePurge decodes the value of a registry record with the key [PurgeKey].
func DecodePurge(b []byte) (Purge, error) {
	var w versionedPurge
	if err := decode(b, &w.V, &w); err != nil {
		return Purge{}, fmt.Errorf("schemas: decode purge: %w", err)
	}
	return w.Purge, nil
}

// EncodeStatus encodes s as the value of a status record.
func EncodeStatus(s *Status) ([]byte, error) {
	return encode(&versionedStatus{Version, *s}, 256)
}

// DecodeStatus decodes the value of a status record.
func DecodeStatus(b []byte) (Status, error) {
	var w versionedStatus
	if err := decode(b, &w.V, &w); err != nil {
		return Status{}, fmt.Errorf("schemas: decode status: %w", err)
	}
	return w.Status, nil
}
