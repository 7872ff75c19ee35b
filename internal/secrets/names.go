package secrets

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// masked is shown in place of what is secret.
const masked = "***"

// secretName is the name of a value that is a password by its name, in the path
// or the query of a URL, up to the = after it, which may be encoded:
// "…&password=", "/login_pwd=", "%26passwd%3D".
var secretName = regexp.MustCompile(`(?i)(?:^|[^a-z0-9]|%[0-9a-f]{2})` +
	`(?:[a-z]*(?:password|passwd|passphrase|passwort|pwd)|(?:login|user|auth|admin|rtsp|cam)?(?:pass|pswd|psw|pw)|loginpas|token|secret|auth)` +
	`(=|%3d)`)

// nextName is where a value ends whose neighbours are set off by _, as in
// user=admin_password=…_channel=1.
var nextName = regexp.MustCompile(`^_[A-Za-z]+=`)

// value is where the value of a secretName stands in a path or query.
type value struct{ from, to int }

// literals finds the passwords in the clear of a path and query: values of
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

// valueEnd is where the value that begins at from ends. query: it stands in
// the query, where / and ? end nothing; encoded: what is about it is
// percent-encoded.
func valueEnd(s string, from int, query, encoded bool) int {
	for i := from; i < len(s); i++ {
		switch c := s[i]; {
		case strings.HasPrefix(s[i:], "${"):
			if n := strings.IndexByte(s[i:], '}'); n > 0 {
				i += n
			}
		case c == '&' || c == ';' || c == '#',
			(c == '/' || c == '?') && !query,
			c == '_' && nextName.MatchString(s[i:]),
			encoded && strings.HasPrefix(s[i:], "%26"):
			return i
		}
	}
	return len(s)
}

// isReference says whether s is one reference and nothing else.
func isReference(s string) bool {
	p, err := parsePart(s)
	return err == nil && p.ref != nil
}

// Redact is text without what might be credentials of URLs in it: user info,
// and values that are passwords by their name. References to secrets in a path
// or query stay, since they are none.
func Redact(text string) string {
	var hide []value
	for _, m := range userInfo.FindAllStringSubmatchIndex(text, -1) {
		hide = append(hide, value{m[3], m[1] - 1})
	}
	for _, m := range secretName.FindAllStringIndex(text, -1) {
		v := value{m[1], len(text)}
		// Up to what ends a value for certain: rather too much.
		if n := strings.IndexAny(text[v.from:], "& \t\r\n\v\f"); n >= 0 {
			v.to = v.from + n
		}
		if in := text[v.from:v.to]; in != "" && !isReference(in) {
			hide = append(hide, v)
		}
	}
	slices.SortFunc(hide, func(a, b value) int { return a.from - b.from })
	var b strings.Builder
	at := 0
	for _, v := range hide {
		switch {
		case v.to <= at: // within what is hidden already
		case v.from < at:
			at = v.to
		default:
			b.WriteString(text[at:v.from])
			b.WriteString(masked)
			at = v.to
		}
	}
	b.WriteString(text[at:])
	return b.String()
}

// Public is a camera's URL as everybody may see it: with *** in place of its user
// info, and references in path and query as they are. Unlike Redact it knows an
// @ of the path; where Check refuses the URL it is what Redact gives.
func Public(rawURL string) string {
	if Check(rawURL) != nil {
		return Redact(rawURL)
	}
	scheme, rest, _ := strings.Cut(rawURL, "://")
	info, host, path, err := cutHost(rest)
	if err != nil || info == "" {
		return rawURL
	}
	return scheme + "://" + masked + "@" + host + path
}

// Restore gives shown, which somebody may have made of what Public shows of old,
// with the user info of old in place of ***. It is an error where it goes to
// another host or port than old, for which nobody has given the password. Where
// there is nothing to restore, it is shown as it is.
func Restore(shown, old string) (string, error) {
	scheme, rest, err := cutScheme(shown)
	if err != nil {
		return shown, nil //nolint:nilerr // for Extract to refuse
	}
	info, host, path, err := cutHost(rest)
	if err != nil || info != masked || Public(old) == old {
		return shown, nil //nolint:nilerr // the same
	}
	was, err := Site(old)
	if err != nil {
		return "", err
	}
	if is, err := Site(scheme + "://" + host + "/"); err != nil {
		return "", err
	} else if is != was {
		return "", fmt.Errorf("url: %w", errMoved)
	}
	_, oldRest, _ := strings.Cut(old, "://")
	if info, _, _, err = cutHost(oldRest); err != nil {
		return "", fmt.Errorf("url: %w", err)
	}
	return scheme + "://" + info + "@" + host + path, nil
}

// Site is where a camera's URL goes, as host:port in lower case, with the port
// that is the scheme's where it names none (RFC 7826 section 4.2).
func Site(rawURL string) (string, error) {
	c, err := split(rawURL)
	if err != nil {
		return "", fmt.Errorf("url: %w", err)
	}
	u, err := url.Parse(c.site)
	if err != nil {
		return "", fmt.Errorf("url: %w", errHost) // split has seen it
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"rtsp": "554", "rtsps": "322"}[u.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port), nil
}

// Shown is how a camera's URL may be named in messages: host and path, with
// references as they are, and without user info, query and fragment. It is
// empty where Check refuses the URL.
func Shown(rawURL string) string {
	c, err := split(rawURL)
	if err != nil {
		return ""
	}
	_, text, _ := strings.Cut(c.site, "://")
	for _, p := range c.rest {
		if p.ref != nil {
			text += p.ref.String()
			continue
		}
		if i := strings.IndexAny(p.text, "?#"); i >= 0 {
			return text + p.text[:i]
		}
		text += p.text
	}
	return text
}
