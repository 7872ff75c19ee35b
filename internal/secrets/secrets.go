// Package secrets keeps camera passwords out of the log: what a camera's URL
// holds in the registry is references, which are replaced at each connection
// attempt and nowhere else. A reference may stand for the user or the password
// before the @, and anywhere in the path and the query, where many cameras want
// their password; never in the host or the port.
//
// A reference is ${FRAMELOG_SECRET_X}, an environment variable, or
// ${file:NAME}, a file of the secrets directory. It stands for plain text:
// since it is cut out before the URL is parsed, a password may hold any
// character and is never percent-encoded. In a path or a query it is encoded
// when it is put in, so that it cannot be more than one value there.
//
// No error of this package repeats any part of a URL but a reference's name.
package secrets

import (
	"errors"
	"fmt"
	"net/netip"
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
)

// reference is one ${…}: exactly one field is set.
type reference struct{ env, file string }

func (r reference) String() string {
	if r.file != "" {
		return "${file:" + r.file + "}"
	}
	return "${" + r.env + "}"
}

// part is literal text or one reference.
type part struct {
	text string
	ref  *reference
}

// camera is a camera's URL taken apart.
type camera struct {
	site           string // scheme://host:port
	user, password part
	rest           []part // path, query and fragment
}

func (c camera) refs() []reference {
	var out []reference
	for _, p := range append([]part{c.user, c.password}, c.rest...) {
		if p.ref != nil {
			out = append(out, *p.ref)
		}
	}
	return out
}

// bare is the URL without its user info, with what value gives for each
// reference of the path and the query.
func (c camera) bare(value func(ref reference, query bool) (string, error)) (string, error) {
	var b strings.Builder
	b.WriteString(c.site)
	query := false
	for _, p := range c.rest {
		text := p.text
		if p.ref != nil {
			var err error
			if text, err = value(*p.ref, query); err != nil {
				return "", err
			}
		}
		b.WriteString(text)
		query = query || strings.Contains(p.text, "?")
	}
	return b.String(), nil
}

var (
	errScheme  = errors.New("want a URL that begins with rtsp:// or rtsps://")
	errLiteral = errors.New("holds a password in the clear: write a reference instead, " +
		"rtsp://user:${FRAMELOG_SECRET_NAME}@host/ with that environment variable set for ingest, " +
		"or ${file:NAME} with the password in that file of the secrets directory")
	errInPath = errors.New("holds a password in the clear, in its path or query: write a reference in its place, " +
		"${FRAMELOG_SECRET_NAME} with that environment variable set for ingest, " +
		"or ${file:NAME} with the password in that file of the secrets directory")
	errElsewhere = errors.New("a reference ${…} may only stand for the user or the password, before the @, or in the path or the query")
	errTwo       = errors.New("holds two passwords, and one is kept for a camera: write one of them to a file NAME " +
		"of the secrets directory, and ${file:NAME} in its place")
	errMasked = errors.New("holds ***, which is shown in place of a password: write user and password anew")
	errMoved  = errors.New("holds ***, which stands for a user and password of another host or port: write both anew")
	errAt     = errors.New("holds an @ after the first /, ? or # behind which a password may end: percent-encode the password, " +
		"%2F for /, %3F for ?, %23 for #, %3A for :, %40 for @ and %25 for %; an @ of the path is %40")
	errHost   = errors.New("host or port is malformed")
	errSpace  = errors.New("holds a space or a control character")
	errMixed  = errors.New("user and password must each be one reference or plain text, not both mixed")
	errOpen   = errors.New("a reference ${ is not closed by }")
	errNoName = errors.New("a reference must be ${FRAMELOG_SECRET_NAME} (A-Z, 0-9 and _) " +
		"or ${file:NAME} (letters, digits, '.', '_' and '-')")
)

// split takes rawURL apart by these rules: references are known by ${ and end
// at the first }; the authority ends at the first of / ? # (see cutHost); the user
// info ends at the last @ of the authority.
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
	info, host, path, err := cutHost(rest)
	if err != nil {
		return camera{}, err
	}
	if strings.Contains(host, "${") {
		return camera{}, errElsewhere
	}
	c := camera{site: scheme + "://" + host}
	if c.rest, err = parseRest(path); err != nil {
		return camera{}, err
	}
	bare, err := c.bare(func(reference, bool) (string, error) { return "x", nil })
	if err != nil {
		return camera{}, err
	}
	if err := checkBare(bare); err != nil {
		return camera{}, err
	}
	if len(literals(path)) > 0 {
		return camera{}, errInPath
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

// cutHost takes apart what follows the scheme: the user info, the host with its
// port, and path, query and fragment. An @ of the latter is one of the path
// where what stands before is whole without it; where that may as well be the
// beginning of a password, as in user:12/3@host, the URL is refused, for what is
// taken for the path is no secret.
func cutHost(s string) (info, host, rest string, err error) {
	end := authorityEnd(s)
	host, rest = s[:end], s[end:]
	if at := strings.LastIndexByte(host, '@'); at >= 0 {
		info, host = host[:at], host[at+1:]
	}
	if !strings.Contains(rest, "@") {
		return info, host, rest, nil
	}
	if checkBare("rtsp://"+host) != nil {
		return "", "", "", errAt
	}
	// Of a password nothing may come before its colon, and no reference; *** is
	// nobody's name.
	if _, password, colon := cutColon(s[:end]); colon && info != masked && !strings.HasPrefix(password, "${") && !surelyHost(host) {
		return "", "", "", errAt
	}
	return info, host, rest, nil
}

// surelyHost says whether a host with its port can hardly be a user with the
// beginning of a password: it is an address or localhost. A name with a dot is
// a user's as well, as in john.doe:2024/x@host.
func surelyHost(host string) bool {
	u, err := url.Parse("rtsp://" + host)
	if err != nil {
		return false
	}
	_, err = netip.ParseAddr(u.Hostname())
	return err == nil || strings.EqualFold(u.Hostname(), "localhost")
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
	ref, err := parseReference(s[2:end])
	if err != nil {
		return part{}, err
	}
	return part{ref: &ref}, nil
}

// parseReference reads what stands between ${ and }.
func parseReference(name string) (reference, error) {
	if f, ok := strings.CutPrefix(name, "file:"); ok {
		if !fileName.MatchString(f) {
			return reference{}, errNoName
		}
		return reference{file: f}, nil
	}
	if !envName.MatchString(name) {
		return reference{}, errNoName
	}
	return reference{env: name}, nil
}

// parseRest reads a path with its query and fragment; there are no references
// in a fragment, which no camera is told.
func parseRest(s string) (parts []part, err error) {
	for s != "" {
		at := strings.Index(s, "${")
		if at < 0 {
			return append(parts, part{text: s}), nil
		}
		if strings.Contains(s[:at], "#") {
			return nil, errElsewhere
		}
		end := strings.IndexByte(s[at:], '}')
		if end < 0 {
			return nil, errOpen
		}
		ref, err := parseReference(s[at+2 : at+end])
		if err != nil {
			return nil, err
		}
		parts = append(parts, part{text: s[:at]}, part{ref: &ref})
		s = s[at+end+1:]
	}
	return parts, nil
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
// password in the clear, references well formed and where they may stand.
func Check(rawURL string) error {
	if _, err := split(rawURL); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	return nil
}

// CheckAPI is Check for a camera that came over the API: it may refer to
// ${file:<its own id>} only, so that no caller can have another camera's
// password sent to a host of their choice.
func CheckAPI(id, rawURL string) error {
	c, err := split(rawURL)
	if err != nil {
		return fmt.Errorf("url: %w", err)
	}
	for _, r := range c.refs() {
		if r.file != id {
			return fmt.Errorf("url: refers to %v: a camera of the API may refer to ${file:%s} only", r, id)
		}
	}
	return nil
}

// Extract takes a password in the clear out of rawURL and puts ${file:id} in
// its place: that of the user info, and values of the path and the query whose
// name says that they are one. password is empty where there is none, or a
// reference already; then clean is rawURL. Passwords that differ are an error.
// A password of the user info may hold @ and :, and any of / ? # percent-encoded;
// percent-encoding is undone where the password looks encoded.
func Extract(rawURL, id string) (clean, password string, err error) {
	if err := schemas.ValidateCameraID(id); err != nil {
		return "", "", err
	}
	scheme, rest, err := cutScheme(rawURL)
	if err != nil {
		return "", "", fmt.Errorf("url: %w", err)
	}
	info, host, after, err := cutHost(rest)
	if err != nil {
		return "", "", fmt.Errorf("url: %w", err)
	}
	user, pass, _ := cutColon(info)
	if user == masked || pass == masked {
		return "", "", fmt.Errorf("url: %w", errMasked)
	}
	site := rest[:len(rest)-len(after)]
	if pass != "" && !strings.Contains(pass, "${") {
		password = plain(pass)
		site = user + ":${file:" + id + "}@" + host
	}
	own := "${file:" + id + "}"
	found := literals(after)
	if (len(found) > 0 || password != "") && strings.Contains(rest, own) {
		return "", "", fmt.Errorf("url: %w", errTwo) // its file is not to be written over
	}
	for i := len(found) - 1; i >= 0; i-- {
		text := after[found[i].from:found[i].to]
		if text == masked {
			return "", "", fmt.Errorf("url: %w", errMasked)
		}
		if strings.Contains(text, "${") {
			return "", "", fmt.Errorf("url: %w", errMixed)
		}
		if p, err := url.PathUnescape(text); err == nil {
			text = p
		}
		if password != "" && password != text {
			return "", "", fmt.Errorf("url: %w", errTwo)
		}
		password = text
		after = after[:found[i].from] + own + after[found[i].to:]
	}
	if password != "" {
		rawURL = scheme + "://" + site + after
	}
	if _, err := split(rawURL); err != nil {
		return "", "", fmt.Errorf("url: %w", err)
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
