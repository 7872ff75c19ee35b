package medialog

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/framelog/framelog/schemas"
)

// Turn waits until seq is Next. Errors: ErrDone if it is before Next; those of Err; ctx's.
func (f *Follower) Turn(ctx context.Context, seq uint64) error {
	return f.wait(ctx, func() (bool, error) {
		if seq < f.core.next {
			return true, ErrDone
		}
		return seq == f.core.next, nil
	})
}

// SkipTo makes seq the next one, whatever comes before. The fragments between get gaps
// with the reason (schemas.ReasonSkipped, ReasonExpired); gaps of the source keep theirs.
// What the source has no entry of is a hole. If the rendition has no entry, it begins with seq.
// Works on fragments before seq end with ErrDone; none may be begun meanwhile.
//
// The source must have an entry of seq or of the seq before it. One entry of the rendition
// stands for up to schemas.MaxGapRun gaps. Errors: ErrDone if seq is before Next; those of
// Err; ctx's, after which a part of the gaps may be there.
func (f *Follower) SkipTo(ctx context.Context, reason string, seq uint64) error {
	source, err := f.log.waitForSource(ctx, f.opt.Source, f.opt.Life)
	switch {
	case err != nil:
		return err
	case source.elsewhere:
	case source.newest == nil || source.newest.Seq+1 < seq:
		return fmt.Errorf("medialog: skip to %d: %s does not have what comes before", seq, f.opt.Source)
	}
	err = f.wait(ctx, func() (bool, error) {
		if f.core.writing != nil {
			return false, nil
		}
		f.core.dropBefore(seq)
		return true, nil
	})
	for next, _ := f.Next(); err == nil && next != 0 && next < seq; next, _ = f.Next() {
		var sources []schemas.Entry
		if sources, err = f.log.sources(ctx, f.opt.Source, next, seq); len(sources) == 0 {
			break
		}
		err = f.gaps(ctx, reason, sources)
	}
	if err != nil {
		return err
	}
	return f.Jump(ctx, seq)
}

// gaps writes gaps for sources, in order. Between them there may be holes.
func (f *Follower) gaps(ctx context.Context, reason string, sources []schemas.Entry) error {
	for len(sources) > 0 {
		n, own := 1, sources[0].Kind == schemas.KindGap
		for n < len(sources) && sources[n].Seq == sources[n-1].Seq+1 && (sources[n].Kind == schemas.KindGap) == own {
			n++
		}
		r := reason
		if own {
			r = ""
		}
		if err := f.Jump(ctx, sources[0].Seq); err != nil {
			return err
		}
		if err := f.Gaps(ctx, r, sources[:n]...); err != nil {
			return err
		}
		sources = sources[n:]
	}
	return nil
}

// sources returns the entries of a source from a seq up to another one, exclusive, but at
// most MaxGapRun.
func (l *Log) sources(ctx context.Context, t schemas.Topic, from, to uint64) (out []schemas.Entry, err error) {
	retryErr := retry(ctx, func() error {
		err = l.inIndex(ctx, t, func(s span) (err error) {
			out, err = l.sourcesIn(ctx, l.names.Index(t), s, from, to)
			return err
		})
		if errors.Is(err, ErrNoTopic) {
			return nil
		}
		return err
	})
	return out, cmp.Or(retryErr, err)
}

func (l *Log) sourcesIn(ctx context.Context, index string, s span, from, to uint64) (out []schemas.Entry, err error) {
	at, err := l.rangeStart(ctx, index, s, Range{FromSeq: from})
	if err != nil {
		return nil, err
	}
	for e, err := range l.walk(ctx, index, at, s.end) {
		switch {
		case err != nil:
			return nil, err
		case !e.Footage() || e.Seq < from:
			continue
		case e.Seq >= to || len(out) == schemas.MaxGapRun:
			return out, nil
		}
		out = append(out, e)
	}
	return out, nil
}
