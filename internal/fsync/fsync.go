// Package fsync makes files outlive a power cut.
package fsync

import (
	"errors"
	"os"
)

// Dir makes sure that the names in a directory are on disk.
func Dir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
