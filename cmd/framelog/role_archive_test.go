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

// TestArchivePatterns: a role that is none is refused, and not taken for a name that nothing has.
func TestArchivePatterns(t *testing.T) {
	for text, ok := range map[string]bool{
		"archive: {renditions: [raw, 'role:data', 'v*']}\n": true,
		"archive: {renditions: ['role:variant']}\n":         false,
		"archive: {renditions: ['role:Data']}\n":            false,
		"archive: {cameras: ['role:data']}\n":               false,
		"archive: {cameras: ['[']}\n":                       false,
	} {
		if _, err := loadText(t, text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}
