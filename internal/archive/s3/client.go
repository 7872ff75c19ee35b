// Package s3 keeps the files of an archive (package archive) as objects of an S3 bucket. The path
// of a file, behind a prefix, is the key of its object. The store must read its own writes, and
// must know conditional writes (If-None-Match and If-Match): Amazon S3, MinIO, Ceph and Versity's
// gateway do.
//
// The metrics of a [Store]:
//
//	framelog_archive_s3_requests_total{kind,result}  Requests: kind is read, write, list or delete; result is ok or failed.
//	framelog_archive_s3_read_bytes_total             Bytes that were read from the store.
//	framelog_archive_s3_written_bytes_total          Bytes that were written to it.
//	framelog_archive_s3_cache_hits_total             Blocks of 1 MiB, or the rest of a file, that were in memory.
//	framelog_archive_s3_cache_misses_total           Those that were read from the store.
//	framelog_archive_s3_cache_bytes                  Bytes in memory.
package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/prometheus/client_golang/prometheus"
)

// Config is the settings of a [Store]. All but Prefix, PathStyle, Insecure, CA and Cache are
// needed.
type Config struct {
	Endpoint string // host, or host:port
	Bucket   string // it must exist
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

// Store is an archive.Store in an S3 bucket. A file that is written goes into memory or a file of the
// spool directory first, and then with one request to the store: it is there as a whole or not at all.
type Store struct {
	c      Config
	spool  string
	core   minio.Core
	cache  *cache
	m      *metrics
	usable atomic.Bool // Make has worked
	lease  time.Duration
	within time.Duration // longWithin
}

const (
	attempts     = 3                // of each request
	answerWithin = 30 * time.Second // after a request was written
	briefWithin  = 20 * time.Second // all attempts of a small request together
	keepKeys     = time.Minute      // how long AccessKey and SecretKey are used
	// longWithin is for all attempts of a copy, of a page of a list, or of a batch of deletions, with the answer.
	longWithin = attempts * answerWithin
)

// New makes a Store. It connects to nothing. spool is the directory in which a file of more than
// 1 MiB is made before it is uploaded; it need not exist, and who only reads needs none. Metrics go
// to reg (nil: nowhere). Errors: the CA cannot be read, or the endpoint is none.
func New(c Config, spool string, reg prometheus.Registerer) (*Store, error) {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: false,
		MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second,
		ResponseHeaderTimeout: answerWithin, DisableCompression: true,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if c.CA != "" {
		b, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("archive.s3.ca: %w", err)
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("archive.s3.ca: %s holds no certificate in PEM", c.CA)
		}
	}
	lookup := minio.BucketLookupDNS
	if c.PathStyle {
		lookup = minio.BucketLookupPath
	}
	client, err := minio.New(c.Endpoint, &minio.Options{
		Creds: credentials.New(&keys{c: &c}), Secure: !c.Insecure, Transport: transport, Region: c.Region,
		BucketLookup: lookup, MaxRetries: attempts,
	})
	if err != nil {
		return nil, fmt.Errorf("archive.s3.endpoint: %w", err)
	}
	m := newMetrics(reg)
	return &Store{c: c, spool: spool, core: minio.Core{Client: client}, cache: newCache(c.Cache, m), m: m, lease: lease, within: longWithin}, nil
}

// keys implements credentials.Provider.
type keys struct {
	c    *Config
	read time.Time
}

// RetrieveWithCredContext implements credentials.Provider.
func (k *keys) RetrieveWithCredContext(*credentials.CredContext) (v credentials.Value, err error) {
	if v.AccessKeyID, err = k.c.AccessKey(); err != nil {
		return v, fmt.Errorf("archive.s3.access_key: %w", err)
	}
	if v.SecretAccessKey, err = k.c.SecretKey(); err != nil {
		return v, fmt.Errorf("archive.s3.secret_key: %w", err)
	}
	v.SignerType = credentials.SignatureV4
	k.read = time.Now()
	return v, nil
}

// Retrieve implements credentials.Provider.
func (k *keys) Retrieve() (credentials.Value, error) { return k.RetrieveWithCredContext(nil) }

// IsExpired implements credentials.Provider.
func (k *keys) IsExpired() bool { return time.Since(k.read) > keepKeys }

// String implements archive.Store: s3://bucket/prefix.
func (s *Store) String() string { return "s3://" + path.Join(s.c.Bucket, s.c.Prefix) }

// key is the key of a file.
func (s *Store) key(file string) string { return path.Join(s.c.Prefix, file) }

// errTimeout stands for the end of the time that a request has.
var errTimeout = errors.New("no answer in time")

// failed returns the error of a request about a file. ctx is that of the caller.
func (s *Store) failed(ctx context.Context, op, path string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	answer := minio.ToErrorResponse(err)
	switch {
	case answer.Code == minio.NoSuchBucket:
		err = fmt.Errorf("there is no bucket %s", s.c.Bucket)
	case answer.Code == minio.NoSuchKey || answer.StatusCode == http.StatusNotFound:
		err = fs.ErrNotExist
	case answer.StatusCode == http.StatusPreconditionFailed:
		err = fs.ErrExist
	case errors.Is(err, context.DeadlineExceeded):
		err = errTimeout
	}
	return &fs.PathError{Op: op, Path: s.String() + "/" + path, Err: err}
}

// pages returns a context for requests one after another. It ends when none of them is answered for a while:
// moved is called for each answer. end must be called.
func (s *Store) pages(ctx context.Context) (limited context.Context, moved, end func()) {
	limited, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(s.within, func() { cancel(errTimeout) })
	return limited, func() { timer.Reset(s.within) }, func() { timer.Stop(); cancel(nil) }
}

// pause waits before a request is made again, longer after each attempt: 200 ms, 400 ms. It reports
// whether the context has not ended.
func pause(ctx context.Context, attempt int) bool {
	select {
	case <-time.After(200 * time.Millisecond << attempt):
		return true
	case <-ctx.Done():
		return false
	}
}

// brief returns a context for a request that is small, and whose answer is.
func brief(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, briefWithin)
}
