package main

import (
	"slices"
	"testing"
)

// TestArchiveInUp: up runs an archiver unless archive.enabled is false.
func TestArchiveInUp(t *testing.T) {
	for text, want := range map[string]bool{"": true, "archive: {enabled: false}\n": false} {
		cfg, err := loadText(t, text)
		if err != nil {
			t.Fatal(err)
		}
		all := roles()
		r := all[slices.IndexFunc(all, func(r role) bool { return r.name == "archive" })]
		if got := r.inUp(&up{cfg: cfg}); got != want {
			t.Errorf("%q: up runs an archiver: %v", text, got)
		}
	}
}
