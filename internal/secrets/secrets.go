// Package secrets keeps camera passwords out of the log: what a camera's URL
// holds in the registry is a reference, in its user info only, which is
// replaced at each connection attempt and nowhere else.
//
// A reference is ${FRAMELOG_SECRET_X}, an environment variable, or
// ${file:NAME}, a file of the secrets directory. It stands for plain text:
// since it is cut out before the URL is parsed, a password may hold any
// character and is never percent-encoded.
//
// No error of this package repeats any part of a URL but a reference's name.
package secrets

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/framelog/framelog/schemas"
)

var (
	envName  = regexp.MustCompile(`^FRAMELOG_SECRET_[A-Z0-9_]{1,128}$`)
	fileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	// Greedy up to the last @ of a run without spaces, since a password may
	// hold an @ itself: rather too much is taken out than too little.
	userInfo = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)\S*@`)
	// Some cameras want their password in the path or the query.
	inQuery = regexp.MustCompile(`(?i)\b(pass|password|passwd|pwd)=[^\s&]*`)
)

// Redact is text without what might be credentials of URLs in it.
func Redact(text string) string {
	text = userInfo.ReplaceAllString(text, "${1}***@")
	return inQuery.ReplaceAllString(text, "${1}=***")
}

// reference is one ${…}: exactly one field is set.
type reference struct{ env, file string }

func (r reference) String() string {
	if r.file != "" {
		return "${file:" + r.file + "}"
	}
	return "${" + r.env + "}"
}

// part is the user or the password of a URL: literal text or one reference.
type part struct {
	text string
	ref  *reference
}

// camera is a camera's URL taken apart.
type camera struct {
	bare           string // the URL without its user info
	user, password part
}

func (c camera) refs() []reference {
	var out []reference
	for _, p := range []part{c.user, c.password} {
		if p.ref != nil {
			out = append(out, *p.ref)
		}
	}
	return out
}

var (
	errScheme  = errors.New("want a URL that begins with rtsp:// or rtsps://")
	errLiteral = errors.New("holds a password in the clear: write a reference instead, " +
		"rtsp://user:${FRAMELOG_SECRET_NAME}@host/ with that environment variable set for ingest, " +
		"or ${file:NAME} with the password in that file of the secrets directory")
	errElsewhere = errors.New("a reference ${…} may only stand for the user or the password, before the @")
	errAt        = errors.New("holds an @ after the host: write %40 there; where it belongs to a password, " +
		"the password must be a reference, ${FRAMELOG_SECRET_NAME} or ${file:NAME}")
	errHost   = errors.New("host or port is malformed")
	errSpace  = errors.New("holds a space or a control character")
	errMixed  = errors.New("user and password must each be one reference or plain text, not both mixed")
	errOpen   = errors.New("a reference ${ is not closed by }")
	errNoName = errors.New("a reference must be ${FRAMELOG_SECRET_NAME} (A-Z, 0-9 and _) " +
		"or ${file:NAME} (letters, digits, '.', '_' and '-')")
)

// split takes rawURL apart by these rules: references are known by ${ and end
// at the first }; the authority ends at the first of / ? #; the user info ends
// at the last @ of the authority.
func split(rawURL string) (camera, error) {
	scheme, rest, err := cutScheme(rawURL)
	if err != nil {
		return camera{}, err
	}
	for _, r := range rest {
		if unicode.IsSpace(r) || unicode.IsControl(r) || r == unicode.ReplacementChar {
			return camera{}, errSpace
		}
	}
	end := authorityEnd(rest)
	authority, path := rest[:end], rest[end:]
	if strings.Contains(path, "${") {
		return camera{}, errElsewhere
	}
	if strings.Contains(path, "@") {
		return camera{}, errAt
	}
	info, host := "", authority
	at := strings.LastIndexByte(authority, '@')
	if at >= 0 {
		info, host = authority[:at], authority[at+1:]
	}
	if strings.Contains(host, "${") {
		return camera{}, errElsewhere
	}
	c := camera{bare: scheme + "://" + host + path}
	if err := checkBare(c.bare); err != nil {
		return camera{}, err
	}
	user, password, _ := cutColon(info)
	if c.user, err = parsePart(user); err != nil {
		return camera{}, err
	}
	if c.password, err = parsePart(password); err != nil {
		return camera{}, err
	}
	if c.password.text != "" {
		return camera{}, errLiteral
	}
	return c, nil
}

func cutScheme(rawURL string) (scheme, rest string, err error) {
	scheme, rest, ok := strings.Cut(rawURL, "://")
	scheme = strings.ToLower(scheme)
	if !ok || (scheme != "rtsp" && scheme != "rtsps") {
		return "", "", errScheme
	}
	return scheme, rest, nil
}

// authorityEnd is where the first of / ? # stands outside of references.
func authorityEnd(s string) int {
	for i := 0; i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], "${"):
			if n := strings.IndexByte(s[i:], '}'); n > 0 {
				i += n
			}
		case s[i] == '/' || s[i] == '?' || s[i] == '#':
			return i
		}
	}
	return len(s)
}

// cutColon cuts at the first colon outside of references.
func cutColon(s string) (before, after string, ok bool) {
	for i := 0; i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], "${"):
			if n := strings.IndexByte(s[i:], '}'); n > 0 {
				i += n
			}
		case s[i] == ':':
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

func parsePart(s string) (part, error) {
	at := strings.Index(s, "${")
	if at < 0 {
		return part{text: s}, nil
	}
	end := strings.IndexByte(s[at:], '}')
	if end < 0 {
		return part{}, errOpen
	}
	if at != 0 || end != len(s)-1 {
		return part{}, errMixed
	}
	name := s[2:end]
	if f, ok := strings.CutPrefix(name, "file:"); ok {
		if !fileName.MatchString(f) {
			return part{}, errNoName
		}
		return part{ref: &reference{file: f}}, nil
	}
	if !envName.MatchString(name) {
		return part{}, errNoName
	}
	return part{ref: &reference{env: name}}, nil
}

// checkBare checks a URL without user info. What url.Parse says of it is not
// repeated: it quotes its input.
func checkBare(bare string) error {
	u, err := url.Parse(bare)
	if err != nil || u.Hostname() == "" || u.User != nil {
		return errHost
	}
	if strings.HasSuffix(u.Host, ":") {
		return errHost
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return errHost
		}
	}
	return nil
}

// Check says whether rawURL may stand in the registry: rtsp or rtsps, no
// password in the clear, references well formed and in the user info only.
func Check(rawURL string) error {
	if _, err := split(rawURL); err != nil {
		return fmt.Errorf("url %w", err)
	}
	return nil
}

// CheckAPI is Check for a camera that came over the API: it may refer to
// ${file:<its own id>} only, so that no caller can have another camera's
// password sent to a host of their choice.
func CheckAPI(id, rawURL string) error {
	c, err := split(rawURL)
	if err != nil {
		return fmt.Errorf("url %w", err)
	}
	for _, r := range c.refs() {
		if r.file != id {
			return fmt.Errorf("url refers to %v: a camera of the API may refer to ${file:%s} only", r, id)
		}
	}
	return nil
}

// Extract takes a password in the clear out of rawURL and puts ${file:id} in
// its place. password is empty where there is none, or a reference already;
// then clean is rawURL. The user info ends at the last @ of all, so that a
// password may hold any of @ / : # ?; percent-encoding is undone where the
// password looks encoded.
func Extract(rawURL, id string) (clean, password string, err error) {
	if err := schemas.ValidateCameraID(id); err != nil {
		return "", "", err
	}
	scheme, rest, err := cutScheme(rawURL)
	if err != nil {
		return "", "", fmt.Errorf("url %w", err)
	}
	at := strings.LastIndexByte(rest, '@')
	if at >= 0 {
		user, pass, _ := cutColon(rest[:at])
		if pass != "" && !strings.Contains(pass, "${") {
			password = plain(pass)
			rawURL = scheme + "://" + user + ":${file:" + id + "}@" + rest[at+1:]
		}
	}
	if _, err := split(rawURL); err != nil {
		return "", "", fmt.Errorf("url %w", err)
	}
	return rawURL, password, nil
}

// plain undoes percent-encoding, where s holds nothing that would have to be
// encoded and is encoded correctly; else s was never encoded.
func plain(s string) string {
	if strings.ContainsAny(s, "@/:#?") {
		return s
	}
	if p, err := url.PathUnescape(s); err == nil {
		return p
	}
	return s
}
