package secrets

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

var errText = errors.New("a reference must be all of it, and be ${FRAMELOG_SECRET_NAME} (A-Z, 0-9 and _) " +
	"or ${file:NAME} (letters, digits, '.', '_' and '-')")

// CheckText returns an error if a setting is neither one reference nor plain text. It does
// not show the setting.
func CheckText(s string) error {
	if strings.HasPrefix(s, "${") && !isReference(s) {
		return errText
	}
	return nil
}

// Lookup returns the secret that a setting of this machine refers to; a setting that is no
// reference is the secret itself. dir is the secrets directory. A file must hold the secret
// alone, in one line. It is read at each call. Errors name the reference, never a value.
func Lookup(dir, setting string) (string, error) {
	if err := CheckText(setting); err != nil {
		return "", err
	}
	if !isReference(setting) {
		return setting, nil
	}
	v, err := lookup(dir, strings.Trim(setting, "${}"))
	if err == nil {
		v, err = checked(v)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", setting, err)
	}
	return v, nil
}

func lookup(dir, name string) (string, error) {
	file, isFile := strings.CutPrefix(name, "file:")
	if isFile {
		text, err := readText(dir, file)
		return strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r"), err
	}
	v, ok := os.LookupEnv(name)
	if !ok {
		return "", errors.New("this environment variable is not set in this process")
	}
	return v, nil
}
