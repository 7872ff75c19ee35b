package processors

import (
	"context"
	"errors"
	"time"

	"github.com/framelog/framelog/schemas"
)

// Func processes a fragment. It gives its output to out, and returns nil if the
// fragment is done. It returns soon after ctx ends. An error or a panic is a failed
// attempt, except the errors of in and out: return them as they are.
type Func func(ctx context.Context, in *Fragment, out *Output) error

// ErrUnavailable is in the error of a [Func] that cannot work now, whatever the fragment
// is: a program does not start, or all are busy. A [Runner] waits and calls it again. This
// is no failed attempt.
var ErrUnavailable = errors.New("processors: the processor cannot work now")

// Policy says what a processor does if it is behind by more than MaxLag.
type Policy string

// The policies.
const (
	// Lossless: it processes everything, in order.
	Lossless Policy = "lossless"
	// Latest: it goes on with the newest fragment. What it leaves out is a gap with the
	// reason "skipped".
	Latest Policy = "latest"
	// Keyframes: it gets only the first picture of each fragment
	// (Fragment.KeyframeOnly) until it is no longer behind.
	Keyframes Policy = "keyframes"
)

// Processor is a function with all that a [Runner] has to know about it. The zero value
// of each field but Name and Process means its default.
type Processor struct {
	// Name is the name of the processor: of its consumer group, of its dead letters
	// (the rendition dlq-<name>), and of its output if Outputs is empty. The rules are
	// those of a rendition's name, with at most 59 characters.
	Name string
	// Version stands in each output. Change it if the same input gives another output.
	Version string
	Process Func
	// Close ends what Process keeps between fragments, such as child processes. A
	// [Runner] calls it once, after the last call of Process. May be nil.
	Close func() error

	// Outputs are the renditions that it writes. Default: one of role data with the
	// processor's name.
	Outputs []Rendition
	// Input is the rendition that it reads. Default: raw.
	Input string
	// Cameras are patterns of the ids of cameras (path.Match). Default: all.
	Cameras []string

	// Concurrency is how many fragments of a camera may be processed at a time.
	// Default 1. What they give goes out in order.
	Concurrency int
	// Policy is what it does when it is behind. Default: Lossless.
	Policy Policy
	// MaxLag is how far it may be behind before the policy applies. Default 10 s.
	MaxLag time.Duration
	// Attempts is how often a fragment is tried before it becomes a dead letter.
	// Default 3.
	Attempts int
	// Deadline is how long the work on a fragment may take once the fragment is
	// complete. Then its context ends. If the function does not return within
	// HangTimeout after that, the process ends: it hangs. Default 60 s.
	Deadline time.Duration
	// HangTimeout: see Deadline. Default 10 s.
	HangTimeout time.Duration
}

// Renditions returns Outputs, or the default.
func (p *Processor) Renditions() []Rendition {
	if len(p.Outputs) == 0 {
		return []Rendition{Data(p.Name)}
	}
	return p.Outputs
}

// Rendition is an output of a processor.
type Rendition struct {
	Name string
	Role schemas.Role // RoleVariant, RoleAlternative or RoleData
}

// Variant is an output with the same content as the source, for players to choose.
func Variant(name string) Rendition { return Rendition{name, schemas.RoleVariant} }

// Alternative is an output with other content, or for other viewers, than its source.
func Alternative(name string) Rendition { return Rendition{name, schemas.RoleAlternative} }

// Data is an output of timed metadata: events and what is seen in pictures.
func Data(name string) Rendition { return Rendition{name, schemas.RoleData} }
