package archive

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/internal/archive/s3"
	"github.com/framelog/framelog/tests/testenv"
)

// onStores runs a test with an archive of each kind that is new. The S3 server keeps an object as
// a file (see root), so that tests can look at them and damage them.
func onStores(t *testing.T, test func(t *testing.T, d Dir)) {
	t.Helper()
	t.Run("disk", func(t *testing.T) { test(t, Local(t.TempDir())) })
	t.Run("s3", func(t *testing.T) { test(t, s3Of(t, testenv.StartS3(t), nil)) })
}

// roots are the directories of the archives in S3 servers.
var roots sync.Map

// root is the directory in which an archive's files are.
func root(d Dir) string {
	if dir, ok := roots.Load(d.store); ok {
		return dir.(string)
	}
	return d.String()
}

// prefix is that of the keys in the S3 servers.
const prefix = "cameras/all"

func s3Config(server *testenv.S3) s3.Config {
	given := func(s string) func() (string, error) { return func() (string, error) { return s, nil } }
	return s3.Config{
		Endpoint: server.Endpoint, Bucket: testenv.S3Bucket, Prefix: prefix, Region: testenv.S3Region, PathStyle: true,
		Insecure: server.CA == "", CA: server.CA, AccessKey: given(testenv.S3Access), SecretKey: given(testenv.S3Secret),
		Cache: 8 << 20,
	}
}

// s3Of is the archive in an S3 server. Its metrics go to reg (nil: nowhere).
func s3Of(t testing.TB, server *testenv.S3, reg prometheus.Registerer) Dir {
	t.Helper()
	store, err := s3.New(s3Config(server), t.TempDir(), reg)
	if err != nil {
		t.Fatal(err)
	}
	roots.Store(store, filepath.Join(server.Dir, prefix))
	return In(store)
}
