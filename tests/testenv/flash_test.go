package testenv_test

import (
	"math"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/testenv"
)

// Beeps finds in the file what FlashAndBeep has put there.
func TestFlashAndBeep(t *testing.T) {
	beeps := testenv.Beeps(t, testenv.FlashAndBeep(t, 8), nil, 8*time.Second)
	if len(beeps) != 7 { // the first begins before there is anything else
		t.Errorf("%d beeps", len(beeps))
	}
	for _, b := range beeps {
		if b.After.Abs() > 5*time.Millisecond || math.Abs(b.Hz-1000) > 10 {
			t.Errorf("a beep is %v after its flash, at %.0f Hz", b.After, b.Hz)
		}
	}
}
