package processors

import (
	"log/slog"

	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/internal/archive/s3"
)

// ArchiveS3 is an archive in an S3 store. All but Prefix, PathStyle, Insecure, CA and Cache are
// needed.
type ArchiveS3 struct {
	Endpoint string // host, or host:port
	Bucket   string
	Prefix   string // of all keys; it ends without a slash
	Region   string
	// PathStyle puts the bucket's name into the path of URLs, else it is a part of the host.
	PathStyle bool
	// Insecure is HTTP without TLS.
	Insecure bool
	// CA is a file of certificates (PEM) of authorities that the store's certificate may be signed
	// by. Default: those that the system trusts.
	CA string
	// AccessKey and SecretKey are the user of this process. They are called again from time to
	// time, so that new keys need no restart.
	AccessKey, SecretKey func() (string, error)
	// Cache is how many bytes of files are kept in memory. Default: 1 MiB.
	Cache int64
}

// archive returns the archive of the settings; nil if they name none.
func (c *Config) archive(log *slog.Logger) (*archive.Set, error) {
	switch {
	case c.ArchiveS3 != nil:
		store, err := s3.New(s3.Config(*c.ArchiveS3), "", nil) // it writes nothing there
		if err != nil {
			return nil, err
		}
		return archive.NewSet(archive.In(store), log, nil), nil
	case c.Archive != "":
		return archive.NewSet(archive.Local(c.Archive), log, nil), nil
	}
	return nil, nil
}
