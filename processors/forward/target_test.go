package forward

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestSettings(t *testing.T) {
	for _, tt := range []struct {
		s    Settings
		want string // of the error; "": there is none
	}{
		{Settings{URL: "rtsp://h/{camera}"}, ""},
		{Settings{URL: "RTSPS://u:${FRAMELOG_SECRET_P}@h:8322/a/b", Transport: "tcp"}, ""},
		{Settings{URL: "rtsp://h/a", Transport: "udp", MaxDelay: time.Second}, ""},
		{Settings{URL: "rtmp://h/live/${FRAMELOG_SECRET_KEY}"}, ""},
		{Settings{URL: "rtmps://h/app/{camera}?key=${FRAMELOG_SECRET_KEY}", InsecureTLS: true}, ""},
		{Settings{}, "url: want a URL that begins with rtsp://"},
		{Settings{URL: "http://h/a"}, "url: want a URL that begins with rtsp://"},
		{Settings{URL: "rtsp://u:canary@h/a"}, "url: it has a password in plain text"},
		{Settings{URL: "rtmp://h/a?password=canary"}, "url: it has a password in plain text"},
		{Settings{URL: "rtsp://u:${PASSWORD}@h/a"}, "url: a reference must be ${FRAMELOG_SECRET_NAME}"},
		{Settings{URL: "rtmp://u@h/a"}, "url: RTMP has no user and password"},
		{Settings{URL: "rtmp://h"}, "url: RTMP needs a path"},
		{Settings{URL: "rtmp://h:x/a"}, "url: host or port is malformed"},
		{Settings{URL: "rtmp://h/a", Transport: "udp"}, "transport: only rtsp:// can use udp"},
		{Settings{URL: "rtsps://h/a", Transport: "udp"}, "transport: only rtsp:// can use udp"},
		{Settings{URL: "rtsp://h/a", Transport: "sctp"}, `transport: "sctp" is neither tcp nor udp`},
		{Settings{URL: "rtsp://h/a", MaxDelay: time.Millisecond}, "max_delay: 1ms; give 500ms to 60s"},
	} {
		p, err := New("push", tt.s)
		switch {
		case tt.want == "" && (err != nil || p.Validate() != nil):
			t.Errorf("%+v: %v, %v", tt.s, err, p.Validate())
		case tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want) || strings.Contains(err.Error(), "canary")):
			t.Errorf("%+v: %v, want %s", tt.s, err, tt.want)
		}
	}
}

// References are filled in at each connection, for the camera that is pushed.
func TestResolve(t *testing.T) {
	target, err := newTarget(Settings{URL: "rtmp://h/live/{camera}?key=${FRAMELOG_SECRET_KEY}"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := target.resolve(t.Context(), "door"); err == nil || !strings.Contains(err.Error(), "${FRAMELOG_SECRET_KEY}: this environment variable is not set") {
		t.Errorf("without the variable: %v", err)
	}
	t.Setenv("FRAMELOG_SECRET_KEY", "a b&c")
	u, err := target.resolve(t.Context(), "door")
	if err != nil || u.String() != "rtmp://h/live/door?key=a%20b%26c" {
		t.Errorf("%v, %v", u, err)
	}
}

// What a library or server says of a connection may repeat a secret in any form.
func TestErrorsHoldNoSecret(t *testing.T) {
	t.Setenv("FRAMELOG_SECRET_LOGIN", "pusher:ca na/ry")
	target, err := newTarget(Settings{URL: "rtsp://${FRAMELOG_SECRET_LOGIN}@h/{camera}"})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"pusher:ca na/ry", "ca na/ry", "ca%20na%2Fry", "ca+na%2Fry", "rtsp://pusher:ca%20na%2Fry@h/a"} {
		if got := target.hide(errors.New("refused: " + text)).Error(); strings.Contains(got, "na") || !strings.HasPrefix(got, "refused: ") {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}

func TestNames(t *testing.T) {
	for raw, want := range map[string][2]string{
		"rtmp://h/live/key":        {"live", "key"},
		"rtmp://h/app/instance/k":  {"app/instance", "k"},
		"rtmp://h/live/key?a=b&c":  {"live", "key?a=b&c"},
		"rtmp://h/live":            {"live", ""},
		"rtmp://h//live/a%20b/":    {"live", "a%20b"},
		"rtmp://h/live?user=a&p=b": {"live", "?user=a&p=b"},
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if app, stream := names(u); app != want[0] || stream != want[1] {
			t.Errorf("%s: %q, %q, want %q", raw, app, stream, want)
		}
	}
}
