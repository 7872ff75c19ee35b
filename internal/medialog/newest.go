package medialog

import (
	"context"
	"fmt"

	"github.com/framelog/framelog/schemas"
)

// Newest returns t's newest entry that takes a seq. It reads the end of the index alone, and
// does not look whether the media are there. Errors: ErrNotFound if there is none;
// ErrNoTopic; ctx's.
func (l *Log) Newest(ctx context.Context, t schemas.Topic) (schemas.Entry, error) {
	ctx, cancel := l.bound(ctx)
	defer cancel()
	var n newest
	err := l.inIndex(ctx, t, func(s span) (err error) {
		n, err = l.newestBefore(ctx, l.names.Index(t), s.end)
		return err
	})
	if err == nil && n.entry == nil {
		err = ErrNotFound
	}
	if err != nil {
		return schemas.Entry{}, fmt.Errorf("medialog: newest entry of %s: %w", t, err)
	}
	return *n.entry, nil
}
