package secrets

import (
	"strings"
	"testing"

	"github.com/framelog/framelog/schemas"
)

func TestPublic(t *testing.T) {
	for url, want := range map[string]string{
		"rtsp://u:${file:x}@10.0.0.5:554/a?b=c#e": "rtsp://***@10.0.0.5:554/a?b=c#e",
		"rtsp://u:${file:x}@10.0.0.5/live@main":   "rtsp://***@10.0.0.5/live@main",
		"rtsp://10.0.0.5:554/live@main?x=a:b@c":   "rtsp://10.0.0.5:554/live@main?x=a:b@c",
		"rtsps://h/user=a&password=${file:x}&c=1": "rtsps://h/user=a&password=${file:x}&c=1",
		"rtsp://u:" + canary + "@h/p":             "rtsp://***@h/p",
		"rtsp://u@h/p":                            "rtsp://***@h/p",
		"rtsp://10.0.0.5/?pwd=" + canary:          "rtsp://10.0.0.5/?pwd=${file:door}",
	} {
		if got := Public(ofFile(t, url)).URL; got != want {
			t.Errorf("Public(%q) = %q, want %q", url, got, want)
		}
	}
	for url, want := range map[string]string{ // which no record may have
		"rtsp://u:" + canary + "@h/p":                "rtsp://***@h/p",
		"rtsp://u:" + canary + "/@10.0.0.5/p":        "rtsp://***@10.0.0.5/p",
		"rtsp://10.0.0.5/?pwd=" + canary:             "rtsp://10.0.0.5/?pwd=***",
		"rtsp://u:1/" + canary + "@camera/live@main": "rtsp://***@main",
		"rtsp://john.doe:1/" + canary + "@10.0.0.5/": "rtsp://***@10.0.0.5/",
	} {
		if got := Public(schemas.Camera{URL: url}).URL; got != want {
			t.Errorf("Public of a bad record, %q: %q, want %q", url, got, want)
		}
		if got := Shown(schemas.Camera{URL: url}); got != "" {
			t.Errorf("Shown of a bad record, %q: %q", url, got)
		}
	}
}

func TestShown(t *testing.T) {
	for url, want := range map[string]string{
		"rtsp://u:${file:x}@10.0.0.5:554/a/b?c=d#e":          "10.0.0.5:554/a/b",
		"rtsps://h/user=a&password=${file:x}&c=1?y${file:z}": "h/user=a&password=${file:x}&c=1",
		"rtsp://h":                        "h",
		"rtsp://10.0.0.5:554/live@main":   "10.0.0.5:554/live@main",
		"rtsp://h?a=${FRAMELOG_SECRET_X}": "h",
	} {
		if got := Shown(ofFile(t, url)); got != want {
			t.Errorf("Shown(%q) = %q, want %q", url, got, want)
		}
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"nothing here":                          "nothing here",
		"rtsp://host/p":                         "rtsp://host/p",
		"dial rtsp://u:c4n4ry@host/p: refused":  "dial rtsp://***@host/p: refused",
		"RTSPS://u:c4n@4ry/x@host/p and a@b":    "RTSPS://***@host/p and a@b",
		`{"url":"rtsp://u:c4n4ry@host/p"}`:      `{"url":"rtsp://***@host/p"}`,
		"rtsp://host/user=a&password=c4n4ry&x=": "rtsp://host/user=a&password=***&x=",
		"rtsp://a:c4n4ry@h rtsp://b:c4n4ry@i":   "rtsp://***@h rtsp://***@i",
		"rtsp://h/user=a_password=c4n4ry_c=1 x": "rtsp://h/user=a_password=*** x",
		"rtsp://h/u%3Da%26passwd%3Dc4n4ry%26":   "rtsp://h/u%3Da%26passwd%3D***",
		"GET /?loginpas=c4n4ry&token=c4n4ry ok": "GET /?loginpas=***&token=*** ok",
		"rtsp://h/user=a&password=c4n@4ry&x":    "rtsp://***&x",
		"rtsp://u:p@h/?pwd=c4n4ry":              "rtsp://***@h/?pwd=***",
		"rtsp://h/?pwd=${file:door}&a":          "rtsp://h/?pwd=${file:door}&a",
		"pwd=":                                  "pwd=",
		"pwd=c4n4ry":                            "pwd=***",
	} {
		if got := Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
}

// FuzzRedact: nothing between :// and the last @ of a word is left.
func FuzzRedact(f *testing.F) {
	f.Add("u", "c4n4ry", "host/path")
	f.Add("u", "p@s/s", "h")
	f.Fuzz(func(t *testing.T, user, password, rest string) {
		if strings.ContainsFunc(user+password, func(r rune) bool { return strings.ContainsRune(" \t\n\v\f\r", r) }) {
			return
		}
		secret := "⟦" + password + "⟧"
		if got := Redact("error of rtsp://" + user + ":" + secret + "@" + rest); strings.Contains(got, secret) && !strings.Contains(rest, secret) {
			t.Errorf("left in %q", got)
		}
	})
}
