package answer

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
)

// Away answers that footage cannot be read now, and whether that is because of the archive or of the
// log. The errors of an archive's store are *fs.PathError (archive.Store), those of Kafka are none.
func Away(w http.ResponseWriter, err error) {
	what, remedy := "the log does not answer", "try again; if it goes on, look at the brokers"
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		what, remedy = "the archive does not answer", "try again; if it goes on, look at archive.dir or archive.s3"
	} else if errors.Is(err, context.DeadlineExceeded) {
		what = "the footage could not be read in time"
		remedy = "try again, or ask for a shorter range; if it goes on, look at the brokers, and at archive.dir or archive.s3 if there is an archive"
	}
	Fail(w, http.StatusServiceUnavailable, what, remedy)
}
