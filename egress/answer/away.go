package answer

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
)

// Away answers that footage cannot be read now, and whether that is because of the archive or of the
// log.
func Away(w http.ResponseWriter, err error) {
	what, remedy := Why(err)
	Fail(w, http.StatusServiceUnavailable, what, remedy)
}

// Why tells why footage cannot be read now, and what to do.
func Why(err error) (what, remedy string) {
	switch {
	case OfArchive(err):
		return "the archive does not answer", "try again; if it goes on, look at archive.dir or archive.s3"
	case errors.Is(err, context.DeadlineExceeded):
		return "the footage could not be read in time",
			"try again, or ask for a shorter range; if it goes on, look at the brokers, and at archive.dir or archive.s3 if there is an archive"
	}
	return "the log does not answer", "try again; if it goes on, look at the brokers"
}

// OfArchive reports whether an error is one of the archive's store. Those are *fs.PathError
// (archive.Store), those of Kafka are none.
func OfArchive(err error) bool {
	_, ok := errors.AsType[*fs.PathError](err)
	return ok
}
