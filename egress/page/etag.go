package page

import (
	"crypto/sha256"
	"encoding/hex"
)

// etag is a strong validator made of the content alone, so that every replica
// of one build gives the same.
func etag(b []byte) string {
	sum := sha256.Sum256(b)
	return `"` + hex.EncodeToString(sum[:8]) + `"`
}
