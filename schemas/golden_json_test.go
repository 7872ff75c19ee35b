package schemas

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// jsonOf writes a msgpack value as JSON, with its keys in the order in which they stand.
// JSON has no bytes and no time: they become {"hex": …} and {"time": …}.
func jsonOf(b []byte) ([]byte, error) {
	var out bytes.Buffer
	if err := writeJSON(&out, msgpack.NewDecoder(bytes.NewReader(b)), ""); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

func writeJSON(out *bytes.Buffer, d *msgpack.Decoder, indent string) error {
	code, err := d.PeekCode()
	if err != nil {
		return err
	}
	switch {
	case msgpcode.IsFixedMap(code), code == msgpcode.Map16, code == msgpcode.Map32:
		return writeMap(out, d, indent)
	case msgpcode.IsFixedArray(code), code == msgpcode.Array16, code == msgpcode.Array32:
		return writeArray(out, d, indent)
	}
	v, err := d.DecodeInterface()
	if err != nil {
		return err
	}
	switch x := v.(type) {
	case []byte:
		fmt.Fprintf(out, `{"hex": %q}`, hex.EncodeToString(x))
	case time.Time:
		fmt.Fprintf(out, `{"time": %q}`, x.UTC().Format(time.RFC3339Nano))
	default:
		text, err := json.Marshal(v)
		if err != nil {
			return err
		}
		out.Write(text)
	}
	return nil
}

// writeMap writes the pairs of a map, each on a line of its own.
func writeMap(out *bytes.Buffer, d *msgpack.Decoder, indent string) error {
	n, err := d.DecodeMapLen()
	if err != nil {
		return err
	}
	out.WriteString("{\n")
	for i := range n {
		key, err := d.DecodeString()
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s  %q: ", indent, key)
		if err := writeJSON(out, d, indent+"  "); err != nil {
			return err
		}
		if i < n-1 {
			out.WriteByte(',')
		}
		out.WriteByte('\n')
	}
	out.WriteString(indent + "}")
	return nil
}

func writeArray(out *bytes.Buffer, d *msgpack.Decoder, indent string) error {
	n, err := d.DecodeArrayLen()
	if err != nil {
		return err
	}
	out.WriteByte('[')
	for i := range n {
		if i > 0 {
			out.WriteString(", ")
		}
		if err := writeJSON(out, d, indent); err != nil {
			return err
		}
	}
	out.WriteByte(']')
	return nil
}

// The JSON beside each golden file says what its bytes mean.
func checkJSON(t *testing.T, path string, golden []byte) {
	t.Helper()
	want, err := jsonOf(golden)
	if err != nil {
		t.Fatal(err)
	}
	path = strings.TrimSuffix(path, ".golden") + ".json"
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run with -update)", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the golden file says (run with -update):\n%s", path, want)
	}
}
