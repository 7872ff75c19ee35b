package program

import (
	"io"
	"strings"
	"testing"

	"github.com/framelog/framelog/internal/app/config"
)

// A setting cannot have the name of a flag that all programs have.
func TestNamesOfSettings(t *testing.T) {
	for flag, settings := range map[string]any{
		"c": new(struct {
			C int `yaml:"c"`
		}),
		"from": new(struct {
			From int `yaml:"from"`
		}),
	} {
		ld := config.Loader{Kinds: []config.Kind{{Name: "x", Settings: func() any { return settings }}}, Only: "x", OnlyKind: "x"}
		if _, _, err := Load(ld, Usage{Name: "x"}, nil, nil, io.Discard); err == nil || !strings.Contains(err.Error(), `"`+flag+`" has the name of another flag`) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

func TestFind(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, ""},
		{[]string{"exec", "--config", "a.yaml"}, "a.yaml"},
		{[]string{"-c", "a.yaml", "--x"}, "a.yaml"},
		{[]string{"--config=a.yaml"}, "a.yaml"},
		{[]string{"--config=a.yaml", "-c=b.yaml"}, "b.yaml"}, // the last one holds, as in package flag
		{[]string{"--config"}, ""},
		{[]string{"--", "--config", "a.yaml"}, ""},
		{[]string{"config", "a.yaml"}, ""},
	} {
		if got := Find(tt.args, "config", "c"); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.args, got, tt.want)
		}
	}
}
