// Package upgrade holds what earlier versions have written, and tests that this version reads
// it. testdata has a folder for each version: the data directory of its `framelog up`, what
// that served, and a configuration file with every key. The bytes of single records stand in
// schemas/testdata.
//
// A version is added when it is released:
//
//	go test ./tests/upgrade -run TestFreeze -freeze v0.2.0
//	go test ./cmd/framelog -run TestConfigurationOfVersions -freeze v0.2.0
//
// Then the hashes that TestFrozen prints go into the table below.
package upgrade

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/framelog/framelog/tests/testenv"
)

// frozen has the SHA-256 of each file of each version. No line of a version that was released
// ever changes: users have data like these. What a later version must read in addition is
// another file.
var frozen = map[string]map[string]string{
	"v0.1.0-rc.1": {
		"tests/upgrade/testdata/v0.1.0-rc.1/data.tar.gz":   "29f7a25d5db5159472c06a215f278abcc53c617665003fdb6e70e24401d6215e",
		"tests/upgrade/testdata/v0.1.0-rc.1/defaults.yaml": "e0be6b3189777f203ce71bbc89f28b99458cfbf2d17b56d517afa3cf42f6416f",
		"tests/upgrade/testdata/v0.1.0-rc.1/framelog.yaml": "71e5ff7ca3f44e0c49ae6a170b514e94c6f7ec9a8b0f7a0e2de49ea931cf7f06",
		"tests/upgrade/testdata/v0.1.0-rc.1/served.json":   "e8a708d24b099ea53494e0adebbb644d014165635f5f524ef76e485cfa6ea32a",
		"tests/upgrade/testdata/v0.1.0-rc.1/values.yaml":   "42c01d311b80553b288f59269e492477927545adc0647e35fd38120e749bb1d1",
		"schemas/testdata/camera.v1.golden":                "94fd7bdc87c1c8384f55972c2c2d3bfa6f2e997ec519b6de50913f2719850421",
		"schemas/testdata/chunk-data.v1.golden":            "e888520f4959db819f6c3a7fdfa49951a278753799ea58ec3d1abcb0b2e9a6a3",
		"schemas/testdata/chunk-derived.v1.golden":         "fb7b605bc736eeddb466afb07347ca0a6d392d0bcf83fa9f9202f9c63dfb0701",
		"schemas/testdata/chunk-first.v1.golden":           "7f466e0817129a88f0eb81e6359745633f2f800f1c23b25adcf900d9e8382d38",
		"schemas/testdata/chunk-last.v1.golden":            "13056a4f86b99973b477bd21130e12429162ed0b1c7920697d9342eed056cd25",
		"schemas/testdata/chunk-open-gop.v1.golden":        "f906ca939b9ef8ad8eae77d0072a6d7c77ae6aa01f73bf398fad699252bdca18",
		"schemas/testdata/entry-derived.v1.golden":         "13779a9c499753e97b362d5aa2172addfc23d3d6264798afbac06383a7e8bab0",
		"schemas/testdata/entry-gap-run.v1.golden":         "445dd4bba1be052931018d0fc7280d8e1b9b3ea57732e4af50d9d3f9120deecc",
		"schemas/testdata/entry-gap.v1.golden":             "75750f9bc3dac83f3b48ff8ae836bef2feff83dc074c40cf7061e264da84a4d9",
		"schemas/testdata/entry-left.v1.golden":            "e42534985a04ba0f9ac6bbe326d39ed9e1584dd14a5e25a79dc7cc117b10b2e9",
		"schemas/testdata/entry-open-derived.v1.golden":    "d8959571a7c50ac0c6c45628aa6dfe73280421ca12d9f0a22582301d39f3dde8",
		"schemas/testdata/entry-open-from.v1.golden":       "609a99447a1b6d65248c3909fb9606f87117d845cf490aa5bb2fa8cf51993eef",
		"schemas/testdata/entry-open-gop.v1.golden":        "3f025e9acf08a79750e2424982e8e3dcb7e88ee0c8dc997bbabe2b0c0b7757e5",
		"schemas/testdata/entry-open.v1.golden":            "b39e375a062895bcc612a03bc73f432f89f04a81b73a49ab2a03a1e4838f4f69",
		"schemas/testdata/entry-truncated.v1.golden":       "79c3d360e4a66fc74dae3441115cdf177e658e1b0db546e9c5aea3847dc70665",
		"schemas/testdata/entry-whole.v1.golden":           "bc9d51fd371f90b7e20754d20ee921f04e670c94de8eac08934ab55ed1135a85",
		"schemas/testdata/purge.v1.golden":                 "8c035d747e2a00e7c6e3339f9e13f0a898efc91ef1bbfb290e7fe8d6676b18d2",
		"schemas/testdata/sign-out.v1.golden":              "922af30514de759b73bd41bffc3d3ade5474f4b59cfab3e56faa36fe70c5bc2a",
		"schemas/testdata/signing-key.v1.golden":           "a834b95d49e11defc9b44a20ea1f8206223c398213cb9dbd20844db14a452815",
		"schemas/testdata/status-stands.v1.golden":         "24341ac1869d1b59394ee4df4e94e724fac25940e71e9d62e8f0071e6f382647",
		"schemas/testdata/status.v1.golden":                "2403970487b92ed22155d522736cc668b943eee64e565032f9027ca8cc383114",
		"schemas/testdata/user.v1.golden":                  "9c9743a85e8fce63a35781fa5d6e48e075af134d53787944e8a63278449b0149",
	},
}

// Files of versions that were released never change, and each has a hash.
func TestFrozen(t *testing.T) {
	root := testenv.Root(t)
	there := map[string]bool{}
	err := filepath.WalkDir(filepath.Join(root, "tests/upgrade/testdata"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(root, path)
			there[filepath.ToSlash(name)] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for version, files := range frozen {
		for _, name := range slices.Sorted(maps.Keys(files)) {
			delete(there, name)
			if got := hashOf(t, filepath.Join(root, name)); got != files[name] {
				t.Errorf("%s is of version %s, and was changed: its hash is %s", name, version, got)
			}
		}
	}
	for name := range there {
		t.Errorf("%s is of no version; add\n\t%q: %q,", name, name, hashOf(t, filepath.Join(root, name)))
	}
}

func hashOf(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return hash(b)
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
