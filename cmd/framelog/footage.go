package main

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/internal/medialog"
)

// footage is the log with the archive behind it. Ranges, fragments and chunks come from both,
// all else from the log.
type footage struct {
	*archive.Joined
	logOnly
}

// logOnly lies deeper in footage than Joined, so methods that both have are those of Joined.
type logOnly struct{ *medialog.Log }

// withArchive returns l with the archive of the configuration behind it.
func withArchive(cfg *config.Config, l *medialog.Log, log *slog.Logger, reg prometheus.Registerer) (footage, error) {
	where, err := archiveOf(cfg, reg)
	if err != nil {
		return footage{}, err
	}
	return footage{archive.NewJoined(l, archive.NewSet(where, log, reg)), logOnly{l}}, nil
}
