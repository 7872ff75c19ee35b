package exec

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
)

// module is the module framelog, so that it need not be installed.
//
//go:embed python/framelog/__init__.py
var module []byte

// pythonModule writes the module into the user's cache, and returns the folder for
// PYTHONPATH. The folder is named after the content, so no process changes what another
// one uses.
func pythonModule() (dir string, err error) {
	cache, err := os.UserCacheDir()
	if err == nil {
		sum := sha256.Sum256(module)
		dir = filepath.Join(cache, "framelog", "python-"+hex.EncodeToString(sum[:8]))
		err = writeOnce(filepath.Join(dir, "framelog", "__init__.py"), module)
	}
	if err != nil {
		return "", fmt.Errorf("exec: write Python module: %w", err)
	}
	return dir, nil
}

// writeOnce writes a file, unless it is there. Nobody sees a part of it.
func writeOnce(path string, b []byte) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "unfinished-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails where all went well
	_, err = f.Write(b)
	if err := cmp.Or(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
