package secrets

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLookup: what a setting stands for, and no error shows a secret.
func TestLookup(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"one": "s3cret\r\n", "two": canary + "\n" + canary, "empty": "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("FRAMELOG_SECRET_X", "s3cret")
	for _, tt := range []struct{ setting, want, fails string }{
		{setting: "s3cret", want: "s3cret"},
		{setting: "$s3cret", want: "$s3cret"},
		{setting: "${FRAMELOG_SECRET_X}", want: "s3cret"},
		{setting: "${file:one}", want: "s3cret"},
		{setting: "${FRAMELOG_SECRET_NONE}", fails: "${FRAMELOG_SECRET_NONE}: this environment variable is not set"},
		{setting: "${file:none}", fails: "${file:none}: no such file"},
		{setting: "${file:two}", fails: "more than one line"},
		{setting: "${file:empty}", fails: "it is empty"},
		{setting: "${file:../one}", fails: "a reference must be"},
		{setting: "${file:one}" + canary, fails: "a reference must be"},
		{setting: "${HOME}", fails: "a reference must be"},
	} {
		got, err := Lookup(dir, tt.setting)
		if got != tt.want || (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
			t.Errorf("%s: %q, %v, want %q, %q", tt.setting, got, err, tt.want, tt.fails)
		}
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("%s: the error has the secret: %v", tt.setting, err)
		}
	}
}
