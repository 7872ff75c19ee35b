package processors

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/framelog/framelog/schemas"
)

// maxName is the most characters of a processor's name: with schemas.DeadLetterPrefix it is a
// rendition's.
const maxName = 63 - len(schemas.DeadLetterPrefix)

// maxConcurrency bounds the fragments in memory.
const maxConcurrency = 64

// Validate returns an error if a [Runner] cannot run the processor. The error names the
// field and what it may be.
func (p *Processor) Validate() error {
	if err := p.validate(); err != nil {
		return fmt.Errorf("processor %q: %w", p.Name, err)
	}
	return nil
}

func (p *Processor) validate() error {
	switch {
	case len(p.Name) > maxName:
		return fmt.Errorf("name: it has %d characters, at most %d are allowed", len(p.Name), maxName)
	case schemas.ValidateRendition(p.Name) != nil, p.Name == schemas.Raw:
		return errors.New("name: want a-z, 0-9 and -, not beginning with -, and neither \"raw\" nor \"index\"")
	case p.Process == nil:
		return errors.New("process: a function is needed")
	case p.Policy != "" && !slices.Contains([]Policy{Lossless, Latest, Keyframes}, p.Policy):
		return fmt.Errorf("policy: %q is none of lossless, latest and keyframes", p.Policy)
	case p.Concurrency < 0 || p.Concurrency > maxConcurrency:
		return fmt.Errorf("concurrency: %d is not from 1 to %d", p.Concurrency, maxConcurrency)
	case p.Attempts < 0:
		return fmt.Errorf("attempts: %d is less than 1", p.Attempts)
	case p.MaxLag < 0 || p.Deadline < 0 || p.HangTimeout < 0:
		return errors.New("max_lag, deadline, hang_timeout: a time must not be below 0")
	}
	for _, pattern := range p.Cameras {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("cameras: %q is no pattern: %w", pattern, err)
		}
	}
	return p.validateRenditions()
}

func (p *Processor) validateRenditions() error {
	if p.Input != "" && schemas.ValidateRendition(p.Input) != nil {
		return fmt.Errorf("input: %w", schemas.ValidateRendition(p.Input))
	}
	names, data := map[string]bool{}, 0
	for _, o := range p.Renditions() {
		switch {
		case schemas.ValidateRendition(o.Name) != nil:
			return fmt.Errorf("outputs: %w", schemas.ValidateRendition(o.Name))
		case o.Name == schemas.Raw || o.Name == schemas.Sub || strings.HasPrefix(o.Name, schemas.DeadLetterPrefix):
			return fmt.Errorf("outputs: %q: raw, sub and names that begin with %s are reserved", o.Name, schemas.DeadLetterPrefix)
		case o.Name == p.Input:
			return fmt.Errorf("outputs: %q is the input too", o.Name)
		case names[o.Name]:
			return fmt.Errorf("outputs: %q is there twice", o.Name)
		case !slices.Contains([]schemas.Role{schemas.RoleVariant, schemas.RoleAlternative, schemas.RoleData}, o.Role):
			return fmt.Errorf("outputs: %q has the role %q: want variant, alternative or data", o.Name, o.Role)
		case o.Role == schemas.RoleVariant && p.Input == schemas.Sub:
			return fmt.Errorf("outputs: %q has the role variant, and the input sub has other segments than raw, so no player can change between them: want alternative", o.Name)
		case o.Role == schemas.RoleData:
			data++
		}
		names[o.Name] = true
	}
	if data > 1 {
		return fmt.Errorf("outputs: %d have the role data, at most one may", data)
	}
	return nil
}

// withDefaults returns the processor with all fields set.
func (p *Processor) withDefaults() Processor {
	q := *p
	q.Outputs = slices.Clone(p.Renditions())
	q.Input = cmp.Or(p.Input, schemas.Raw)
	if len(p.Cameras) == 0 {
		q.Cameras = []string{"*"}
	}
	q.Concurrency = cmp.Or(p.Concurrency, 1)
	q.Policy = cmp.Or(p.Policy, Lossless)
	q.MaxLag = cmp.Or(p.MaxLag, 10*time.Second)
	q.Attempts = cmp.Or(p.Attempts, 3)
	q.Deadline = cmp.Or(p.Deadline, time.Minute)
	q.HangTimeout = cmp.Or(p.HangTimeout, 10*time.Second)
	return q
}

// matches reports whether the processor works on a camera.
func (p *Processor) matches(camera string) bool {
	return slices.ContainsFunc(p.Cameras, func(pattern string) bool {
		ok, err := path.Match(pattern, camera)
		return ok && err == nil
	})
}
