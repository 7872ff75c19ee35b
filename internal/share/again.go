package share

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"
)

const (
	// The pause before the cameras topic is read anew is at first againPause. It doubles
	// each time up to againMost. A group that has read for againMost is well.
	againPause, againMost = time.Second, time.Minute
	// unreadPause is the pause after a fetch with errors.
	unreadPause = 250 * time.Millisecond
	// unreadAgain is how long an error of a fetch is not logged again.
	unreadAgain = time.Minute
)

// errMadeAgain: the topic was deleted, and perhaps made again. The client never takes over a
// topic that was made again.
var errMadeAgain = errors.New("share: the cameras topic was deleted")

// runGroups joins the consumer group and reads the cameras topic until ctx ends. If somebody
// deletes the topic and makes it again, it does both anew, with another client: meanwhile the
// work on the cameras goes on, as in any other loss of the group. It returns the newest group,
// which the caller leaves.
func (s *Cameras) runGroups(ctx context.Context) (*group, error) {
	wait := againPause
	for {
		s.setConfirm(func(context.Context) error { return errNotJoined })
		g, err := newGroup(s.cfg, s, s.log)
		if err != nil {
			return nil, err
		}
		s.setConfirm(g.confirm)
		s.setPurges(g.purges)
		s.setGroup(g)
		began := time.Now()
		if g.run(ctx) == nil {
			return g, nil
		}
		if time.Since(began) >= againMost {
			wait = againPause
		}
		s.log.Warn("the cameras topic was deleted, or made again: it is read anew, and cameras that it does not have any more end", "topic", g.topic, "in", wait)
		g.lose()
		if !pause(ctx, wait) {
			return g, nil
		}
		wait = min(2*wait, againMost)
		s.setGroup(nil)
		g.makeWay(2 * time.Second)
	}
}

// lose reports all partitions as lost, and then nothing more.
func (g *group) lose() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
	g.member.Lost(slices.Sorted(maps.Keys(g.parts)))
}

// unread is the newest error of a fetch that was logged.
type unread struct {
	text string
	at   time.Time
}

// warn logs an error of a fetch, unless it was the same one a moment ago. An error is often
// that of all partitions.
func (u *unread) warn(log *slog.Logger, partition int32, err error) {
	if err.Error() == u.text && time.Since(u.at) < unreadAgain {
		return
	}
	u.text, u.at = err.Error(), time.Now()
	log.Warn("cameras topic cannot be read", "partition", partition, "err", err)
}
