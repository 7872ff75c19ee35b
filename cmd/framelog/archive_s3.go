package main

import (
	"net"
	"regexp"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/internal/archive/s3"
	"github.com/framelog/framelog/internal/secrets"
)

// archiveS3 is the settings of an archive in an S3 store.
type archiveS3 struct {
	Endpoint  string      `yaml:"endpoint" default:"" doc:"Host, or host:port, of an S3 store that has the archive. Empty: the archive is in archive.dir."`
	Bucket    string      `yaml:"bucket" default:"" doc:"Bucket of the archive. It must exist. Needed with an endpoint."`
	Prefix    string      `yaml:"prefix" default:"" doc:"What the keys of all files begin with, as cameras/north. A slash comes behind it. Empty: nothing."`
	Region    string      `yaml:"region" default:"us-east-1" doc:"Region of the store."`
	AccessKey string      `yaml:"access_key" default:"" doc:"Access key of this process: ${FRAMELOG_SECRET_X} (an environment variable), ${file:NAME} (a file in secrets_dir, with the key in its only line), or the key itself. A new one needs no restart. Needed with an endpoint."`
	SecretKey string      `yaml:"secret_key" default:"" doc:"Secret key of this process, given like access_key. Needed with an endpoint."`
	PathStyle bool        `yaml:"path_style" default:"true" doc:"The bucket is a part of the path of URLs. false: it is a part of the host, as Amazon wants it for new buckets."`
	Insecure  bool        `yaml:"insecure" default:"false" doc:"Connect without TLS. Footage can then be read and changed on its way."`
	CA        string      `yaml:"ca" default:"" doc:"File with the certificates of authorities (PEM) that the store's certificate may be signed by. Empty: those that the system trusts."`
	Cache     config.Size `yaml:"cache" default:"64MiB" min:"1MiB" doc:"Memory for what was read from the store, in blocks of 1 MiB. The oldest read are dropped first."`
}

// isBucket accepts the names of buckets.
var isBucket = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// isPrefix accepts prefixes.
var isPrefix = regexp.MustCompile(`^([0-9A-Za-z_.-]+(/[0-9A-Za-z_.-]+)*)?$`)

// Check implements config.Checker.
func (a *archiveS3) Check(c *config.Config) error {
	const secret = "want ${FRAMELOG_SECRET_X}, ${file:NAME} or the key itself"
	if a.Endpoint == "" {
		if a.Bucket != "" || a.AccessKey != "" || a.SecretKey != "" {
			return c.Errorf("archive.s3.endpoint", "name the host of the store, or remove archive.s3", "it is empty, so the rest of archive.s3 has no effect")
		}
		return nil
	}
	host := a.Endpoint
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	switch {
	case host == "" || strings.ContainsAny(host, "/@?# "):
		return c.Errorf("archive.s3.endpoint", "write a host or host:port, as s3.example.org; archive.s3.insecure is for http", "it is no host") // it may hold a password
	case !isBucket.MatchString(a.Bucket):
		return c.Errorf("archive.s3.bucket", "name a bucket that exists", "%q is no name of a bucket", a.Bucket)
	case !isPrefix.MatchString(a.Prefix) || strings.Contains("/"+a.Prefix+"/", "/../") || strings.Contains("/"+a.Prefix+"/", "/./"):
		return c.Errorf("archive.s3.prefix", "write letters, digits, '.', '_', '-' and slashes between them, as cameras/north", "%q is no prefix", a.Prefix)
	case a.AccessKey == "":
		return c.Errorf("archive.s3.access_key", secret, "it is empty")
	case a.SecretKey == "":
		return c.Errorf("archive.s3.secret_key", secret, "it is empty")
	}
	for key, text := range map[string]string{"archive.s3.access_key": a.AccessKey, "archive.s3.secret_key": a.SecretKey} {
		if err := secrets.CheckText(text); err != nil {
			return c.Errorf(key, "", "%v", err)
		}
	}
	return nil
}

// s3Config returns the settings of the archive's S3 store; ok is false if it has none.
func s3Config(cfg *config.Config) (c s3.Config, ok bool) {
	a := config.Get[archiveConfig](cfg).S3
	if a.Endpoint == "" {
		return c, false
	}
	key := func(text string) func() (string, error) {
		return func() (string, error) { return secrets.Lookup(cfg.SecretsDir, text) }
	}
	return s3.Config{
		Endpoint: a.Endpoint, Bucket: a.Bucket, Prefix: a.Prefix, Region: a.Region, PathStyle: a.PathStyle, Insecure: a.Insecure, CA: a.CA,
		AccessKey: key(a.AccessKey), SecretKey: key(a.SecretKey), Cache: int64(a.Cache),
	}, true
}

// archiveOf returns the archive of the configuration. The metrics of an S3 store go to reg (nil:
// nowhere).
func archiveOf(cfg *config.Config, reg prometheus.Registerer) (archive.Dir, error) {
	dir := config.Get[archiveConfig](cfg).Dir
	c, ok := s3Config(cfg)
	if !ok {
		return archive.Local(dir), nil
	}
	store, err := s3.New(c, dir, reg)
	if err != nil {
		return archive.Dir{}, err
	}
	return archive.In(store), nil
}
