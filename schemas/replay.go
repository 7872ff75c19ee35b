package schemas

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// ReplayScheme is the scheme in the URL of a camera that is a replay.
const ReplayScheme = "framelog"

// ReplayProcessor is [Lineage.Processor] in chunks that a replay wrote.
const ReplayProcessor = "replay"

// Bounds of [Replay.Speed].
const (
	MinReplaySpeed = 0.01
	MaxReplaySpeed = 1000
)

// Replay is the source of a camera that repeats footage of the log: the fragments of a
// topic that overlap [From, To) in public time. The camera's URL is
//
//	framelog://CAMERA/RENDITION?from=TIME&to=TIME&speed=N&loop=true&run=NAME
//
// with times as in RFC 3339. RENDITION may be missing: raw. speed is a number or "fast",
// and 1 if it is missing.
type Replay struct {
	Of       Topic
	From, To time.Time
	Speed    float64 // 1: as fast as it was recorded; 0: as fast as the log takes it
	Loop     bool    // it begins again at its end
	// Run distinguishes this replay from another one of the same range. A replay goes on
	// only behind footage of its own run. Empty: RunName makes a name of the URL.
	Run string
}

var runPattern = regexp.MustCompile(`^[a-z0-9]{1,32}$`)

// IsReplay reports whether the URL of a camera is that of a replay.
func IsReplay(rawURL string) bool {
	scheme, _, _ := strings.Cut(rawURL, ":")
	return strings.EqualFold(scheme, ReplayScheme)
}

// ParseReplay parses the URL of a camera that is a replay.
func ParseReplay(rawURL string) (Replay, error) {
	r, err := parseReplay(rawURL)
	if err != nil {
		return Replay{}, fmt.Errorf("replay: %w; want framelog://CAMERA/RENDITION?from=TIME&to=TIME, with times such as 2026-01-31T08:00:00Z", err)
	}
	return r, nil
}

func parseReplay(rawURL string) (r Replay, err error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Opaque != "" || u.Fragment != "" || !IsReplay(rawURL) {
		return r, errors.New("the URL is malformed")
	}
	if u.User != nil || u.Port() != "" {
		return r, errors.New("a URL of a replay has no user and no port")
	}
	r.Of = Topic{Camera: u.Hostname(), Rendition: cmp.Or(strings.Trim(u.Path, "/"), Raw)}
	if err := ValidateCameraID(r.Of.Camera); err != nil {
		return r, err
	}
	if err := ValidateRendition(r.Of.Rendition); err != nil {
		return r, err
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return r, errors.New("the query of the URL is malformed")
	}
	r.Speed = 1
	for key, values := range query {
		if len(values) != 1 {
			return r, fmt.Errorf("%q is there %d times", key, len(values))
		}
		if err := r.set(key, values[0]); err != nil {
			return r, err
		}
	}
	return r, r.check()
}

// set sets a parameter of the URL.
func (r *Replay) set(key, value string) (err error) {
	switch key {
	case "from":
		r.From, err = time.Parse(time.RFC3339Nano, value)
	case "to":
		r.To, err = time.Parse(time.RFC3339Nano, value)
	case "speed":
		if value == "fast" {
			r.Speed = 0
			return nil
		}
		if r.Speed, err = strconv.ParseFloat(value, 64); err == nil && r.Speed == 0 {
			err = errors.New("no speed") // it would mean "fast"
		}
	case "loop":
		r.Loop, err = strconv.ParseBool(value)
	case "run":
		if r.Run = value; !runPattern.MatchString(value) {
			err = errors.New("no name of a run")
		}
	default:
		return fmt.Errorf("%q is no parameter", key)
	}
	if err != nil {
		return fmt.Errorf("%s %q is malformed", key, value)
	}
	return nil
}

func (r *Replay) check() error {
	switch {
	case r.From.IsZero() || r.To.IsZero():
		return errors.New("from or to is missing")
	case !r.From.Before(r.To):
		return errors.New("from is not before to")
	case r.Speed != 0 && !(r.Speed >= MinReplaySpeed && r.Speed <= MaxReplaySpeed): // also not for NaN
		return fmt.Errorf("the speed is %v, want %v to %v", r.Speed, MinReplaySpeed, MaxReplaySpeed)
	case r.Speed == 0 && r.Loop:
		return errors.New("a replay as fast as the log takes it cannot be repeated without end")
	}
	return nil
}

// URL returns the URL from which ParseReplay makes r.
func (r Replay) URL() string {
	query := "from=" + r.From.UTC().Format(time.RFC3339Nano) + "&to=" + r.To.UTC().Format(time.RFC3339Nano)
	switch r.Speed {
	case 0:
		query += "&speed=fast"
	case 1:
	default:
		query += "&speed=" + strconv.FormatFloat(r.Speed, 'g', -1, 64)
	}
	if r.Loop {
		query += "&loop=true"
	}
	if r.Run != "" {
		query += "&run=" + r.Run
	}
	return ReplayScheme + "://" + r.Of.Camera + "/" + r.Of.Name() + "?" + query
}

// RunName returns Run, or a name that is made of the URL.
func (r Replay) RunName() string {
	if r.Run != "" {
		return r.Run
	}
	h := sha256.Sum256([]byte(r.URL()))
	return hex.EncodeToString(h[:8])
}

// Lineage returns the lineage of a copy of fragment seq in a round of the replay. The
// first round is 0; a replay without Loop has no other. media is the Kafka name of the
// topic that is repeated.
func (r Replay) Lineage(media string, seq, round uint64) *Lineage {
	return &Lineage{Source: media, Seq: seq, Processor: ReplayProcessor, Version: fmt.Sprintf("%s/%d", r.RunName(), round)}
}

// Round returns the round in which this replay wrote a chunk with lineage l. ok is false
// if another run, or no replay, wrote it.
func (r Replay) Round(l *Lineage) (round uint64, ok bool) {
	if l == nil || l.Processor != ReplayProcessor {
		return 0, false
	}
	run, n, _ := strings.Cut(l.Version, "/")
	round, err := strconv.ParseUint(n, 10, 64)
	return round, err == nil && run == r.RunName()
}
