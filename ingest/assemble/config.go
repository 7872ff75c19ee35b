package assemble

import (
	"cmp"
	"time"
)

// maxChunkSamples bounds the samples of a run if time does not: a camera may send
// any number with the same timestamp.
const maxChunkSamples = 256

// Config is an assembler's settings. The zero value of each field means its
// default.
type Config struct {
	// Camera is the label of the metrics.
	Camera string
	// MinFragment is the shortest fragment: one begins at the first keyframe
	// that comes at least so long after the last one's start. Default and
	// minimum 1s.
	MinFragment time.Duration
	// ChunkDuration is how long a chunk is at most before PART-TARGET's
	// allowance (see schemas.PartTarget); a chunk has at least one frame.
	// Default 200ms.
	ChunkDuration time.Duration
	// MaxFragmentDuration and MaxFragmentBytes close a fragment without a
	// keyframe: it is truncated with schemas.ReasonCap and what follows, up to
	// the next keyframe, is a gap. Default 60s and 64 MiB.
	MaxFragmentDuration time.Duration
	MaxFragmentBytes    int64
	// MaxChunkBytes closes a chunk before it is full, so that it fits in a
	// Kafka record. One access unit larger than that is a chunk alone. It also
	// bounds what is kept while a session's frame rate is found out. Default
	// 4 MiB.
	MaxChunkBytes int
	// KeyframeTimeout is how long a camera may send no keyframe before this
	// becomes a problem of the camera. Default 20s.
	KeyframeTimeout time.Duration
	// LongInterval is the longest time between keyframes that is no problem of the
	// camera. Default 10s.
	LongInterval time.Duration
	// ClockStep is the smallest jump of the camera's timestamps, compared with the
	// order of its units and their arrival, that counts as a set clock. Default
	// 3s.
	ClockStep time.Duration
	// Live: Unit.Captured and Tick are the wall clock. Then a session ends if
	// public time and wall clock differ: if the smallest difference within
	// DriftWindow (default 10s) is above MaxDrift (default 500ms). And a long time
	// between two ticks means that this process stood still.
	Live        bool
	MaxDrift    time.Duration
	DriftWindow time.Duration
	// AudioSilence is how long a session's sound may be missing. Default 2s.
	AudioSilence time.Duration
	// AudioQueue and AudioQueueBytes bound the sound that waits for the pictures
	// of the same time; beyond them the oldest sound is dropped and counted.
	// Default 1024 frames and 2 MiB.
	AudioQueue      int
	AudioQueueBytes int
	// FrameTime is the duration of a picture as the camera's SDP has it; 0 if it
	// does not say. The first units of a session confirm this value or the SPS's,
	// or show another one.
	FrameTime time.Duration
	// ProblemHold is how long a problem is reported after it was last seen.
	// Default 15s.
	ProblemHold time.Duration
	// Problem, if set, is called with what is wrong with the camera's stream, and
	// with "" when that is over. It is called from the goroutine that calls the
	// assembler.
	Problem func(problem string)
}

// withDefaults fills in what is not set.
func (c Config) withDefaults() Config {
	c.MinFragment = max(c.MinFragment, time.Second)
	c.ChunkDuration = or(c.ChunkDuration, 200*time.Millisecond)
	c.MaxFragmentDuration = or(c.MaxFragmentDuration, time.Minute)
	c.MaxFragmentBytes = or(c.MaxFragmentBytes, 64<<20)
	c.MaxChunkBytes = or(c.MaxChunkBytes, 4<<20)
	c.KeyframeTimeout = or(c.KeyframeTimeout, 20*time.Second)
	c.LongInterval = or(c.LongInterval, 10*time.Second)
	c.ClockStep = or(c.ClockStep, 3*time.Second)
	c.MaxDrift = or(c.MaxDrift, 500*time.Millisecond)
	c.DriftWindow = or(c.DriftWindow, 10*time.Second)
	c.AudioSilence = or(c.AudioSilence, 2*time.Second)
	c.AudioQueue = or(c.AudioQueue, 1024)
	c.AudioQueueBytes = or(c.AudioQueueBytes, 2<<20)
	c.ProblemHold = or(c.ProblemHold, 15*time.Second)
	return c
}

// or returns v, or the default if v is not positive.
func or[T cmp.Ordered](v, def T) T {
	var zero T
	return cmp.Or(max(v, zero), def)
}
