package hlscheck

import (
	"slices"
	"testing"
)

// A server may withdraw the hint at a part that will not come, and only then.
func TestHintWithdrawn(t *testing.T) {
	const (
		hint  = "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"2.1.m4s\"\n"
		other = "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"2.7.m4s\"\n"
		comes = "#EXT-X-PART:DURATION=0.2,URI=\"2.1.m4s\"\n"
		ends  = "#EXTINF:0.2,\n2.m4s\n#EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:2026-01-02T03:05:03Z\n#EXT-X-PART:DURATION=0.2,URI=\"3.0.m4s\",INDEPENDENT=YES\n"
	)
	for _, c := range []struct {
		name   string
		states []string // what stands behind the first part
		bad    bool
	}{
		{"comes", []string{hint, comes}, false},
		{"withdrawn, and ends", []string{hint, "", "", ends}, false},
		{"withdrawn, and comes", []string{hint, "", comes}, true},
		{"withdrawn, given again, and comes", []string{hint, "", hint, comes}, false},
		{"another", []string{hint, other}, true},
		{"withdrawn, and another", []string{hint, "", other}, true},
	} {
		h := newHistory(true)
		var rules []Rule
		for _, state := range c.states {
			m, err := ParseMedia(`#EXTM3U
#EXT-X-VERSION:9
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.66
#EXT-X-PART-INF:PART-TARGET=0.22
#EXT-X-MEDIA-SEQUENCE:1
#EXT-X-MAP:URI="init.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-01-02T03:05:00Z
#EXTINF:2,
1.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-01-02T03:05:02Z
#EXT-X-PART:DURATION=0.2,URI="2.0.m4s",INDEPENDENT=YES
` + state)
			if err != nil {
				t.Fatal(err)
			}
			h.take(m, false, func(r Rule, format string, args ...any) {
				rules = append(rules, r)
				if r != HintRule {
					t.Errorf("%s: %s: "+format, append([]any{c.name, r}, args...)...)
				}
			})
		}
		if slices.Contains(rules, HintRule) != c.bad {
			t.Errorf("%s: %v", c.name, rules)
		}
	}
}
