// Package secrets keeps camera passwords out of the log.
//
// Split takes apart a URL that a person has typed, once, at the place where it
// comes in: a configuration file, the API, the command line. From then on a
// camera is a record (schemas.Camera) whose URL has no user and password; they
// are in separate fields. The record holds references in place of passwords:
// ${FRAMELOG_SECRET_X} is an environment variable, ${file:NAME} a file of the
// secrets directory. References may also stand in the path and the query of the
// URL, where many cameras want their password; never in the host or the port.
//
// Only Resolver replaces references, at each connection attempt. It gives a
// secret only to the host and port that this machine's own files name for it.
//
// Errors of this package repeat no part of a URL except references.
package secrets

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/framelog/framelog/schemas"
)

// schemes are the schemes that the URL of a camera may have. Each further kind
// of URL is one more line.
var schemes = map[string]struct {
	port string // if the URL has none
	tls  bool
}{
	"rtsp":  {"554", false}, // RFC 7826 section 4.2
	"rtsps": {"322", true},
	// A replay. It reads the log, and no secret goes there.
	schemas.ReplayScheme: {},
}

var (
	errScheme    = errors.New("want a URL that begins with " + strings.Join(slices.Sorted(maps.Keys(schemes)), ":// or ") + "://")
	errReference = errors.New("a reference must be ${FRAMELOG_SECRET_NAME} (A-Z, 0-9 and _) " +
		"or ${file:NAME} (letters, digits, '.', '_' and '-')")
	errElsewhere = errors.New("a reference ${…} may only stand for the user or the password, before the @, or in the path or the query")
	errMixed     = errors.New("user and password must each be one reference or plain text, not both mixed")
	errInPath    = errors.New("holds a password in plain text, in its path or query: write a reference in its place, " +
		"${FRAMELOG_SECRET_NAME} with that environment variable set for ingest, " +
		"or ${file:NAME} with the password in that file of the secrets directory")
	errLiteral = errors.New("holds a user or a password in plain text, which must not be in the registry")
	errTwo     = errors.New("holds two passwords, but only one can be kept for a camera: write one of them to a file NAME " +
		"of the secrets directory, and ${file:NAME} in its place")
	errMasked = errors.New("holds ***, which only hides a password: write user and password again")
	errMoved  = errors.New("holds ***, which stands for a user and password of another host or port: write both again")
	errAt     = errors.New("holds an @ after the first /, ? or #, so a password may end at that @: percent-encode the password, " +
		"%2F for /, %3F for ?, %23 for #, %3A for :, %40 for @ and %25 for %; an @ of the path is %40")
	errReplay = errors.New("a replay has neither user nor password")
	errSub    = errors.New("a replay has no second stream and is none")
	errHost   = errors.New("host or port is malformed")
	errSpace  = errors.New("holds a space or a control character")
)

// reference is one ${…}. It holds none of : / ? # @ except the colon of
// "file:".
var reference = regexp.MustCompile(`\$\{(?:FRAMELOG_SECRET_[A-Z0-9_]{1,128}|file:[A-Za-z0-9][A-Za-z0-9._-]{0,127})\}`)

// own is the reference to the file that holds the password of camera id.
func own(id string) string { return "${file:" + id + "}" }

// isReference reports whether s is one reference and nothing else.
func isReference(s string) bool { return s != "" && reference.FindString(s) == s }

// references returns the references in a camera's record, without those of its second
// stream.
func references(cam schemas.Camera) []string {
	return reference.FindAllString(cam.User+" "+cam.Password+" "+cam.URL, -1)
}

// blank returns s with each reference replaced by as many x, so that positions
// stay the same.
func blank(s string) string {
	return reference.ReplaceAllStringFunc(s, func(ref string) string { return strings.Repeat("x", len(ref)) })
}

// cut splits a URL: authority ends at the first of / ? #, and path is the rest.
// If err is nil, all references are well formed.
func cut(rawURL string) (scheme, authority, path string, err error) {
	scheme, rest, ok := strings.Cut(rawURL, "://")
	scheme = strings.ToLower(scheme)
	if _, known := schemes[scheme]; !ok || !known {
		return "", "", "", errScheme
	}
	text := blank(rest)
	if strings.Contains(text, "${") {
		return "", "", "", errReference
	}
	end := strings.IndexAny(text, "/?#")
	if end < 0 {
		end = len(rest)
	}
	return scheme, rest[:end], rest[end:], nil
}

func hasSpace(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || r == unicode.ReplacementChar
	})
}

// checkURL checks a URL without user and password. It does not repeat the error
// of url.Parse, which quotes its input.
func checkURL(scheme, host, path string) error {
	if hasSpace(host + path) {
		return errSpace
	}
	if reference.MatchString(host) {
		return errElsewhere
	}
	if _, fragment, _ := strings.Cut(path, "#"); reference.MatchString(fragment) {
		return errElsewhere
	}
	u, err := url.Parse(scheme + "://" + host + blank(path))
	if err != nil || u.Hostname() == "" || u.User != nil || strings.HasSuffix(u.Host, ":") {
		return errHost
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return errHost
		}
	}
	return nil
}

// Check returns why cam may not be in the registry: a URL of it has an unknown
// scheme, a password is in plain text, or a reference is malformed or in a
// wrong place. A camera of the API may only refer to ${file:<its id>}.
func Check(cam schemas.Camera) error {
	streams := cam.Streams()
	for i, stream := range streams {
		err := checkStream(stream)
		if err == nil && len(streams) > 1 && schemas.IsReplay(stream.URL) {
			err = errSub
		}
		if err != nil {
			return fmt.Errorf("%s: %w", fields[i], err)
		}
	}
	return nil
}

// fields are the settings with the URLs of a camera's streams.
var fields = [...]string{"url", "substream"}

func checkStream(cam schemas.Camera) error {
	if err := check(cam); err != nil || cam.Source == schemas.SourceFile {
		return err
	}
	for _, ref := range references(cam) {
		if ref != own(cam.ID) {
			return fmt.Errorf("refers to %s: a camera of the API may refer to %s only", ref, own(cam.ID))
		}
	}
	return nil
}

func check(cam schemas.Camera) error {
	scheme, host, path, err := cut(cam.URL)
	switch {
	case err != nil:
		return err
	case strings.Contains(host, "@"):
		return errLiteral
	case strings.Contains(path, "@") && cam.User+cam.Password == "" && !authorityEnds("", host, host):
		return errAt
	case strings.Contains(cam.User, "${") && !isReference(cam.User):
		return errMixed
	case strings.ContainsFunc(cam.User, unicode.IsControl):
		return errSpace
	case cam.Password != "" && !isReference(cam.Password):
		return errLiteral
	}
	if err := checkURL(scheme, host, path); err != nil {
		return err
	}
	if len(literals(path)) > 0 {
		return errInPath
	}
	if scheme == schemas.ReplayScheme {
		return checkReplay(cam)
	}
	return nil
}

// checkReplay checks the record of a replay.
func checkReplay(cam schemas.Camera) error {
	if cam.User+cam.Password != "" {
		return errReplay
	}
	_, err := schemas.ParseReplay(cam.URL)
	return err
}

// Typed is a password that a person has typed into a URL.
type Typed struct {
	For      schemas.Camera // the camera with the stream of that URL alone
	Password string
}

// Split splits the URLs of cam, as a person has typed them: user and password go
// into their fields. It returns the passwords in plain text and puts ${file:<id>}
// in their place. A password stands before the @, or is a value in the path or the
// query with a name such as "password". Two different passwords of a URL are an error,
// and so are those of two URLs with the same host and port. A URL that has none, or has
// a reference already, gives none.
//
// *** before the @, which Public writes, stands for user and password of old; in a
// second stream that old does not have, for those of the first. It is an error if the
// URL goes to another host or port.
//
// A password before the @ may hold @ and :, and percent-encoded / ? #. If user
// or password look percent-encoded, they are decoded.
func Split(cam *schemas.Camera, old schemas.Camera) (typed []Typed, err error) {
	if err := schemas.ValidateCameraID(cam.ID); err != nil {
		return nil, err
	}
	streams := cam.Streams()
	for i := range streams {
		before := old.Main()
		if i > 0 {
			var had bool
			if before, had = old.Sub(); !had {
				before = streams[0]
			}
		}
		password, err := split(&streams[i], before)
		if err == nil && slices.ContainsFunc(typed, func(t Typed) bool {
			return password != "" && password != t.Password && targets(t.For)[0] == targets(streams[i])[0]
		}) {
			err = errTwo
		}
		if err == nil && len(streams) > 1 && schemas.IsReplay(streams[i].URL) {
			err = errSub
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", fields[i], err)
		}
		if password != "" {
			typed = append(typed, Typed{streams[i], password})
		}
	}
	*cam = streams[0]
	if len(streams) > 1 {
		*cam = cam.WithSub(streams[1])
	}
	return typed, nil
}

func split(cam *schemas.Camera, old schemas.Camera) (password string, err error) {
	scheme, authority, path, err := cut(cam.URL)
	if err != nil {
		return "", err
	}
	info, host := "", authority
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		info, host = authority[:at], authority[at+1:]
	}
	if strings.Contains(path, "@") && !authorityEnds(info, authority, host) {
		return "", errAt
	}
	if err := checkURL(scheme, host, ""); err != nil {
		return "", err
	}
	cam.URL = scheme + "://" + host
	user, pass, _ := cutColon(info)
	switch {
	case hasSpace(user):
		return "", errSpace
	case info == masked && old.User+old.Password != "":
		if site(cam.URL) != site(old.URL) {
			return "", errMoved
		}
		cam.User, cam.Password = old.User, old.Password
	case user == masked || pass == masked:
		return "", errMasked
	case strings.Contains(user, "${") && !isReference(user), strings.Contains(pass, "${") && !isReference(pass):
		return "", errMixed
	default:
		cam.User, cam.Password = plain(user), pass
	}
	found := literals(path)
	literal := pass != "" && info != masked && !isReference(pass)
	if (literal || len(found) > 0) && strings.Contains(cam.User+cam.Password+path, own(cam.ID)) {
		return "", errTwo // the password of that reference must not be replaced
	}
	if literal {
		password, cam.Password = plain(pass), own(cam.ID)
	}
	for _, v := range slices.Backward(found) {
		text := path[v.from:v.to]
		switch {
		case text == masked:
			return "", errMasked
		case strings.Contains(text, "${"):
			return "", errMixed
		}
		if p, err := url.PathUnescape(text); err == nil {
			text = p
		}
		if password != "" && password != text {
			return "", errTwo
		}
		password = text
		path = path[:v.from] + own(cam.ID) + path[v.to:]
	}
	cam.URL = scheme + "://" + host + path
	return password, check(*cam)
}

// authorityEnds reports whether authority certainly ends at the first / ? #,
// although an @ follows. In user:12/3@host it does not: what looks like the path
// is the end of a password.
func authorityEnds(info, authority, host string) bool {
	if checkURL("rtsp", host, "") != nil {
		return false
	}
	_, password, colon := cutColon(authority)
	if !colon || info == masked || strings.HasPrefix(password, "${") {
		return true
	}
	// An address or localhost is hardly a user's name. A name with a dot may be
	// one, as in john.doe:2024/x@host.
	u, err := url.Parse("rtsp://" + host)
	if err != nil {
		return false
	}
	_, err = netip.ParseAddr(u.Hostname())
	return err == nil || strings.EqualFold(u.Hostname(), "localhost")
}

// cutColon cuts at the first colon outside of references.
func cutColon(s string) (before, after string, ok bool) {
	i := strings.IndexByte(blank(s), ':')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// plain decodes the percent-encoding of s. If s holds a character that would
// have to be encoded, or is encoded incorrectly, it was never encoded, and
// plain returns it as it is.
func plain(s string) string {
	if strings.ContainsAny(s, "@/:#?") {
		return s
	}
	if p, err := url.PathUnescape(s); err == nil {
		return p
	}
	return s
}

// Join is the inverse of Split: it returns the URL from which Split makes the first
// stream of cam.
func Join(cam schemas.Camera) string {
	info := cam.User
	if !isReference(info) {
		info = url.User(info).String()
	}
	if cam.Password != "" {
		info += ":" + cam.Password
	}
	if info == "" {
		return cam.URL
	}
	return strings.Replace(cam.URL, "://", "://"+info+"@", 1)
}

// site returns host:port of a URL that checkURL accepts, in lower case. If the
// URL has no port, it is that of the scheme.
func site(rawURL string) string {
	u, err := url.Parse(blank(rawURL))
	if err != nil {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = schemes[u.Scheme].port
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
