package exec

import (
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
	if err != nil {
		return "", fmt.Errorf("exec: write Python module: %w", err)
	}
	sum := sha256.Sum256(module)
	dir = filepath.Join(cache, "framelog", "python-"+hex.EncodeToString(sum[:8]))
	file := filepath.Join(dir, "framelog", "__init__.py")
	if _, err := os.Stat(file); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", fmt.Errorf("exec: write Python module: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(file), "unfinished-*")
	if err != nil {
		return "", fmt.Errorf("exec: write Python module: %w", err)
	}
	defer os.Remove(f.Name()) // fails where all went well
	defer f.Close()
	if _, err := f.Write(module); err != nil {
		return "", fmt.Errorf("exec: write Python module: %w", err)
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return "", fmt.Errorf("exec: write Python module: %w", err)
	}
	return dir, nil
}
