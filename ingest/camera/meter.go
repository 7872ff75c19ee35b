package camera

import "time"

// meterSeconds is how far back a meter looks.
const meterSeconds = 10

// meter measures what arrives, over the last ten seconds.
type meter struct {
	first time.Time
	slots [meterSeconds + 1]struct {
		second        int64 // since first
		frames, bytes int
	}
}

func (m *meter) add(now time.Time, video bool, size int) {
	if m.first.IsZero() {
		m.first = now
	}
	second := int64(max(now.Sub(m.first), 0) / time.Second)
	s := &m.slots[second%int64(len(m.slots))]
	if s.second != second {
		s.second, s.frames, s.bytes = second, 0, 0
	}
	if video {
		s.frames++
	}
	s.bytes += size
}

// rates returns frames and bits per second over the complete seconds so far; 0
// before the first has passed.
func (m *meter) rates(now time.Time) (fps float64, bitrate uint64) {
	if m.first.IsZero() {
		return 0, 0
	}
	second := int64(max(now.Sub(m.first), 0) / time.Second)
	n := min(second, meterSeconds)
	if n == 0 {
		return 0, 0
	}
	frames, bytes := 0, 0
	for _, s := range m.slots {
		if s.second >= second-n && s.second < second {
			frames += s.frames
			bytes += s.bytes
		}
	}
	return float64(frames) / float64(n), uint64(bytes) * 8 / uint64(n)
}
