package medialog

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/schemas"
)

// ErrRemoved ends a writer whose camera has no topics and is not in the registry any
// more: it was removed, and its footage purged.
var ErrRemoved = errors.New("medialog: the camera was removed and its footage purged")

// Purge deletes all footage of a camera: its topics and those of its renditions. It
// returns their names. A process that does not know yet that the camera was removed may
// create them again, unless it asks first (OpenOptions.Create): so call PurgeLate later.
func (l *Log) Purge(ctx context.Context, camera string) ([]string, error) {
	return l.PurgeLate(ctx, func(c string) (bool, error) { return c == camera, nil })
}

// PurgeLate deletes all footage of the cameras that have topics and for which purged
// returns true. It returns the names of the topics.
func (l *Log) PurgeLate(ctx context.Context, purged func(camera string) (bool, error)) ([]string, error) {
	all, err := l.admin.ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("medialog: purge: %w", err)
	}
	topics := map[string][]string{} // by camera
	for _, name := range all.Names() {
		if t, _, ok := l.names.Parse(name); ok {
			topics[t.Camera] = append(topics[t.Camera], name)
		}
	}
	var deleted []string
	var errs []error
	for camera, names := range topics {
		yes, err := purged(camera)
		if err == nil && yes {
			names, err = l.deleteTopics(ctx, names)
			deleted = append(deleted, names...)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("medialog: purge %s: %w", camera, err))
		}
	}
	slices.Sort(deleted)
	return deleted, errors.Join(errs...)
}

// deleteTopics returns the names of the topics that do not exist any more.
func (l *Log) deleteTopics(ctx context.Context, names []string) (deleted []string, err error) {
	res, err := l.admin.DeleteTopics(ctx, names...)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, r := range res {
		// A broker may list a topic for a moment after another broker deleted it.
		if r.Err != nil && !errors.Is(r.Err, kerr.UnknownTopicOrPartition) {
			errs = append(errs, fmt.Errorf("delete %s: %w", r.Topic, kafka.NeedsRight("DELETE", r.Err)))
			continue
		}
		deleted = append(deleted, r.Topic)
	}
	l.producer.PurgeTopicsFromClient(deleted...)
	return deleted, errors.Join(errs...)
}

// Life returns the life of t's footage; "" if no record at the end of its index has one.
// Errors: ErrNoTopic; ctx's; Kafka's.
func (l *Log) Life(ctx context.Context, t schemas.Topic) (string, error) {
	index := l.names.Index(t)
	s, err := l.spans(ctx, index)
	if err != nil {
		return "", fmt.Errorf("medialog: life of %s: %w", t, err)
	}
	n, err := l.newestBefore(ctx, index, s[0].end)
	if err != nil {
		return "", fmt.Errorf("medialog: life of %s: %w", t, err)
	}
	return n.life, nil
}

// admit returns when the writer may open the topics, or create them if they are missing.
// It deletes topics of a purged life: the writer begins a new one. Errors: ErrRemoved;
// ctx's.
func (w *Writer) admit(ctx context.Context) error {
	if w.opt.Life != nil {
		return w.admitBeside(ctx)
	}
	if w.opt.Create == nil && len(w.opt.Purged) == 0 {
		return nil
	}
	removed := false
	err := w.log.retryTold(ctx, func() error {
		err := w.admitOnce(ctx)
		if removed = errors.Is(err, ErrRemoved); removed {
			return nil
		}
		return err
	}, func(err error) {
		w.logger.Warn("cannot find out whether the camera's topics may be opened; trying again", "topic", w.media, "err", err)
	})
	if removed {
		return ErrRemoved
	}
	return err
}

// admitBeside is admit for a rendition that has the life of the camera's footage. It waits
// until that is known, and deletes topics of the rendition that are of another life.
func (w *Writer) admitBeside(ctx context.Context) error {
	w.step.Store("the life of the camera's footage")
	removed := false
	err := retry(ctx, func() (err error) {
		if w.life, err = w.opt.Life(ctx); err != nil {
			return err
		}
		err = w.admitLife(ctx)
		if removed = errors.Is(err, ErrRemoved); removed {
			return nil
		}
		w.log.logMissingRight(err)
		return err
	})
	if removed {
		return ErrRemoved
	}
	return err
}

func (w *Writer) admitLife(ctx context.Context) error {
	life, err := w.log.Life(ctx, w.topic)
	switch {
	case errors.Is(err, ErrNoTopic):
		return w.mayCreate(ctx)
	case err != nil || life == "" || life == w.life:
		return err
	}
	names, err := w.log.deleteTopics(ctx, []string{w.media, w.index})
	if err != nil {
		return fmt.Errorf("medialog: open %s: %w", w.topic, err)
	}
	w.logger.Info("deleted footage of a life that the camera does not have any more", "topics", names, "life", life)
	return w.mayCreate(ctx)
}

func (w *Writer) admitOnce(ctx context.Context) error {
	life, err := w.oldLife(ctx)
	switch {
	case errors.Is(err, ErrNoTopic):
		return w.mayCreate(ctx)
	case err != nil || !slices.Contains(w.opt.Purged, life):
		return err
	}
	names, err := w.log.Purge(ctx, w.topic.Camera)
	if len(names) > 0 {
		w.logger.Info("deleted footage that was purged before", "topics", names, "life", life)
	}
	if err != nil {
		return err
	}
	return w.mayCreate(ctx)
}

// oldLife returns the life of the footage if some was purged before. The error is
// ErrNoTopic if one of the two topics is missing.
func (w *Writer) oldLife(ctx context.Context) (life string, err error) {
	for _, topic := range []string{w.index, w.media} {
		if _, err := w.log.spans(ctx, topic); err != nil {
			return "", err
		}
	}
	if len(w.opt.Purged) > 0 {
		life, err = w.log.Life(ctx, w.topic)
	}
	return life, err
}

func (w *Writer) mayCreate(ctx context.Context) error {
	if w.opt.Create == nil {
		return nil
	}
	may, err := w.opt.Create(ctx)
	if err == nil && !may {
		return ErrRemoved
	}
	return err
}
