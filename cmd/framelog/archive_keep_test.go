package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/archive"
)

// The section archive becomes the settings of retention.
func TestArchiveKeep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "framelog.yaml")
	for text, want := range map[string]archive.KeepConfig{
		"archive: {disk_reserve: 4GiB}":                                 {Reserve: 4 << 30, Delay: time.Minute},
		"archive: {limit: 2GiB, delete_delay: 5m, disk_reserve: 10GiB}": {Limit: 2 << 30, Reserve: 10 << 30, Delay: 5 * time.Minute},
		"archive:\n  max_age: 720h\n  disk_reserve: 1GiB\n  keep:\n    - {cameras: [gate-*], max_age: 48h}\n    - {renditions: [raw], limit: 5GiB}": {
			MaxAge: 720 * time.Hour, Reserve: 1 << 30, Delay: time.Minute,
			Rules: []archive.KeepRule{{Cameras: []string{"gate-*"}, MaxAge: 48 * time.Hour}, {Renditions: []string{"raw"}, Limit: 5 << 30}},
		},
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := loadConfig(path, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		want.Dir, want.Newest = archive.Local("x"), 25*time.Hour
		if got := keepOf(cfg).config(archive.Local("x"), 24*time.Hour); !reflect.DeepEqual(got, want) {
			t.Errorf("%s gives\n%+v, want\n%+v", text, got, want)
		}
	}
	if err := os.WriteFile(path, []byte("archive:\n  keep:\n    - cameras: [yard, '[']\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadConfig(path, nil, nil); err == nil || !strings.Contains(err.Error(), `archive.keep[0].cameras[1]: "[" is no pattern`) {
		t.Errorf("a pattern that is none: %v", err)
	}
}
