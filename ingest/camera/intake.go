package camera

import (
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// intake follows whether the log takes a camera's chunks. Only the recorder's
// goroutine uses it.
type intake struct {
	status  *status
	trouble *troubleLog

	refused    bool          // a chunk of this fragment or the one before
	refusedFor time.Duration // footage that was refused since that was logged
}

// wrote is called after each Write of a chunk that lasts d; begins: the chunk begins
// a fragment. A camera whose footage is refused is still live, with the refusal as
// its problem.
func (n *intake) wrote(begins bool, d time.Duration, err error) {
	switch {
	case err != nil:
		n.refused = true
		text := cleanText(refusal(err))
		n.status.problem(problemRecord, notRecorded+": "+text)
		if errors.Is(err, medialog.ErrRefused) {
			n.refusedFor += d
			n.trouble.tell(slog.LevelWarn, notRecorded, slog.String("reason", text))
		}
	case begins && n.refused:
		// A chunk that is taken may still fail: Kafka may refuse it later, and then
		// the chunks after it are refused. So only a completely taken fragment
		// counts.
		n.refused = false
	case begins:
		n.status.problem(problemRecord, "")
		if n.trouble.over(notRecorded, "footage is recorded again", "not_recorded", n.refusedFor.Round(100*time.Millisecond)) {
			n.refusedFor = 0
		}
	}
	if err != nil && !errors.Is(err, medialog.ErrRefused) {
		return
	}
	if n.status.current() != schemas.StateLive {
		n.trouble.isLive()
		n.status.state(schemas.StateLive, nil)
	}
}

// refusal returns why the log does not take a chunk, in words for a status.
func refusal(err error) string {
	_, reason, ok := strings.Cut(err.Error(), medialog.ErrRefused.Error()+": ")
	if !ok {
		return err.Error()
	}
	switch reason {
	case schemas.ReasonStorage:
		return "the disk has no room left for it, free some (storage)"
	case schemas.ReasonBudget, schemas.ReasonIndexBehind:
		return "Kafka does not take it fast enough, look at the brokers and their disks (" + reason + ")"
	case schemas.ReasonProduce:
		return "Kafka refuses it, the log of ingest tells why (produce)"
	case schemas.ReasonTooLarge:
		return "Kafka takes no chunks of this size, lower the camera's bit rate (too-large)"
	}
	return reason
}
