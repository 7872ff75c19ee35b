package assemble

import (
	"fmt"
	"time"
)

// keyframes records when a connection's keyframes came, by the source's clock.
type keyframes struct {
	latest time.Time     // of the newest keyframe; zero: none came, and no wait has begun
	apart  time.Duration // between keyframes: an average in which newer ones count more
	good   int           // pictures since the latest
	bad    int           // unusable units since the latest
}

// came records a keyframe.
func (k *keyframes) came(now time.Time) {
	k.apart = max(now.Sub(k.latest), k.apart*3/4)
	k.latest, k.good, k.bad = now, 0, 0
}

// watch notices that keyframes are missing or far apart. If they come, but far
// apart, it reports only that: otherwise the two texts would alternate in every
// interval.
func (k *keyframes) watch(now time.Time, cfg *Config, recording bool, s *starts, p *problems) {
	if k.latest.IsZero() || now.Before(k.latest) {
		k.latest = now
	}
	since := now.Sub(k.latest)
	limit := cfg.KeyframeTimeout
	if recording {
		limit = max(limit, k.apart*3/2)
	}
	if since > limit {
		p.notice(problemKeyframe, fmt.Sprintf("no keyframe for %v: %s", cfg.KeyframeTimeout, k.remedy(s)), now)
	}
	if since > cfg.LongInterval && recording {
		p.notice(problemInterval, fmt.Sprintf("keyframes are more than %v apart, so viewers wait long for a first picture: %s",
			cfg.LongInterval, k.remedy(s)), now)
	}
}

// remedy returns what to do about missing keyframes. It depends on what the
// camera sends instead.
func (k *keyframes) remedy(s *starts) string {
	switch {
	case k.bad > k.good:
		return "most of what the camera sends as pictures is damaged"
	case s.refresh || s.refreshed:
		return "the camera uses intra refresh, and players can begin at keyframes (IDR) only: turn intra refresh off and IDR on in the camera"
	case max(s.intra, s.intraBefore) > 1:
		return "the camera sends I-frames that are no IDR, and players cannot begin there: turn IDR on in the camera"
	}
	return "set a shorter keyframe (I-frame, IDR) interval in the camera, and turn intra refresh off if it is on"
}
