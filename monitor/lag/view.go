package lag

import (
	"time"

	"github.com/framelog/framelog/schemas"
)

// View is what one reading of the log has found.
type View struct {
	At time.Time
	// Retention is how long the log keeps footage; 0: for ever, or not known.
	Retention time.Duration
	Cameras   map[string]schemas.Camera // the registry
	Status    map[string]schemas.Status
	Topics    map[schemas.Topic]Topic
	Groups    []Group
	// Shown is the public time up to which a playlist shows a camera, of the cameras that an
	// egress follows.
	Shown map[string]time.Time
	// Brokers tells of each broker, by its node id, whether it is in the cluster.
	Brokers map[string]bool
	// Leaderless is how many partitions have no leader, by kind of topic.
	Leaderless map[string]int
}

// Topic is what is known of a camera's topic.
type Topic struct {
	// Unread: its index was not read to its end yet, so Newest and Letters are not known.
	Unread bool
	Newest *schemas.Entry // that takes a seq; nil: it has no footage
	// Oldest is the oldest entry whose footage can be read; nil: there is none, or it is not
	// known.
	Oldest *schemas.Entry
	// Trimmed: retention has removed footage of it.
	Trimmed bool
	// Processor is what makes a rendition, as its `open` says; "" if that is not known.
	Processor string
	Bytes     int64 // of one copy; -1: not known
	Letters   int   // dead letters
	Gaps      map[string]time.Duration
}

// Group is how far a consumer group is in a topic.
type Group struct {
	Name  string
	Topic schemas.Topic
	// Records is the number of records from its committed offset to the end of the index.
	Records int64
	// Expired: entries that it has not done were removed.
	Expired bool
	// At is the oldest fragment that it has not done; nil: it has done all.
	At *Position
}
