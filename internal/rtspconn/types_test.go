package rtspconn

import (
	"math"
	"testing"
	"time"
)

func TestExtend(t *testing.T) {
	for _, c := range []struct {
		base int64
		v    uint32
		want int64
	}{
		{0, 0, 0},
		{0, math.MaxUint32, -1},
		{1<<32 - 10, 5, 1<<32 + 5},
		{1<<32 + 5, math.MaxUint32 - 4, 1<<32 - 5},
		{5 << 32, 1 << 30, 5<<32 + 1<<30},
	} {
		if got := Extend(c.base, c.v); got != c.want {
			t.Errorf("Extend(%d, %d) is %d, want %d", c.base, c.v, got, c.want)
		}
	}
}

func TestNTP(t *testing.T) {
	for v, want := range map[uint64]string{
		0xE0000000_80000000: "2019-02-02T11:39:44.5Z",
		0x00000000_40000000: "2036-02-07T06:28:16.25Z",
	} {
		if got := FromNTP(v).UTC().Format(time.RFC3339Nano); got != want {
			t.Errorf("%x is %s, want %s", v, got, want)
		}
	}
}
