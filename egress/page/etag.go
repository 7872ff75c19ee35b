package page

import (
	"crypto/sha256"
	"encoding/hex"
)

// etag is a strong validator that depends on the content only, so all replicas
// of one build return the same.
func etag(b []byte) string {
	sum := sha256.Sum256(b)
	return `"` + hex.EncodeToString(sum[:8]) + `"`
}
