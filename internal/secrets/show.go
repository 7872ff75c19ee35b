package secrets

import (
	"regexp"
	"strings"

	"github.com/framelog/framelog/schemas"
)

// masked is shown in place of a secret.
const masked = "***"

// secretName matches the name of a value that is a password, in the path or the
// query of a URL, with the = after it, which may be encoded: "…&password=",
// "/login_pwd=", "%26passwd%3D".
var secretName = regexp.MustCompile(`(?i)(?:^|[^a-z0-9]|%[0-9a-f]{2})` +
	`(?:[a-z]*(?:password|passwd|passphrase|passwort|pwd)|(?:login|user|auth|admin|rtsp|cam)?(?:pass|pswd|psw|pw)|loginpas|token|secret|auth)` +
	`(=|%3d)`)

// nextName matches the end of a value if _ separates the values, as in
// user=admin_password=…_channel=1.
var nextName = regexp.MustCompile(`^_[A-Za-z]+=`)

// value is the position of the value of a secretName in a path or query.
type value struct{ from, to int }

// userInfo matches up to the last @ of a word, since a password may hold an @.
// It may hide too much, but never too little.
var userInfo = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)\S*@`)

// literals finds the passwords in plain text in a path and query: values of
// secretNames that are neither empty nor one reference.
func literals(s string) (found []value) {
	query := strings.IndexByte(s, '?')
	for at := 0; ; {
		m := secretName.FindStringSubmatchIndex(s[at:])
		if m == nil {
			return found
		}
		v := value{from: at + m[1]}
		v.to = valueEnd(s, v.from, query >= 0 && query < v.from, m[3]-m[2] > 1)
		if text := s[v.from:v.to]; text != "" && !isReference(text) {
			found = append(found, v)
		}
		at = v.to
	}
}

// valueEnd returns where the value that begins at from ends. query: it is in
// the query, where / and ? are part of a value; encoded: the text around it is
// percent-encoded.
func valueEnd(s string, from int, query, encoded bool) int {
	for i := from; i < len(s); i++ {
		switch c := s[i]; {
		case c == '&' || c == ';' || c == '#',
			(c == '/' || c == '?') && !query,
			c == '_' && nextName.MatchString(s[i:]),
			encoded && strings.HasPrefix(s[i:], "%26"):
			return i
		}
	}
	return len(s)
}

// Redact returns text without the possible credentials of URLs in it: user
// info, and values with the name of a password. References in a path or query
// stay.
func Redact(text string) string {
	hidden := make([]bool, len(text))
	hide := func(from, to int) {
		for i := from; i < to; i++ {
			hidden[i] = true
		}
	}
	for _, m := range userInfo.FindAllStringSubmatchIndex(text, -1) {
		hide(m[3], m[1]-1)
	}
	for _, m := range secretName.FindAllStringIndex(text, -1) {
		end := len(text)
		// Up to a certain end of the value. This may hide too much.
		if n := strings.IndexAny(text[m[1]:], "& \t\r\n\v\f"); n >= 0 {
			end = m[1] + n
		}
		if !isReference(text[m[1]:end]) {
			hide(m[1], end)
		}
	}
	var b strings.Builder
	for i := range len(text) {
		switch {
		case !hidden[i]:
			b.WriteByte(text[i])
		case i == 0 || !hidden[i-1]:
			b.WriteString(masked)
		}
	}
	return b.String()
}

// Public returns a camera with its URLs for everybody: *** stands for user and
// password, references in path and query stay. Split accepts them. A URL that Check
// refuses becomes the result of Redact.
func Public(cam schemas.Camera) schemas.Camera {
	public := cam
	public.URL = publicURL(cam)
	if sub, ok := cam.Sub(); ok {
		public.Substream = publicURL(sub)
	}
	return public
}

func publicURL(cam schemas.Camera) string {
	switch {
	case check(cam) != nil:
		return Redact(cam.URL)
	case cam.User+cam.Password == "":
		return cam.URL
	}
	return strings.Replace(cam.URL, "://", "://"+masked+"@", 1)
}

// Shown returns the URL of a camera for messages: host and path with
// references, without query and fragment. It is empty if Check refuses the
// camera.
func Shown(cam schemas.Camera) string {
	if check(cam) != nil {
		return ""
	}
	_, text, _ := strings.Cut(cam.URL, "://")
	if i := strings.IndexAny(text, "?#"); i >= 0 {
		text = text[:i]
	}
	return text
}
