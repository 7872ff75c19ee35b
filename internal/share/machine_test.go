package share

import (
	"fmt"
	"slices"
	"testing"
)

// What each row must do, whatever it is for.
func TestTable(t *testing.T) {
	runs := func(s state) bool { return s != absent }
	ends := func(s state) bool {
		return slices.Contains([]state{restarting, restartingUnconfirmed, stopping, removing}, s)
	}
	ours := []state{waiting, recording, waitingUnconfirmed, recordingUnconfirmed}
	for a, r := range table {
		does := func(want action) bool { return slices.Contains(r.actions, want) }
		check := func(ok bool, what string) {
			if !ok {
				t.Errorf("%v: next %v, %v: %s", a, r.next, r.actions, what)
			}
		}
		check(r.why != "", "no word of why")
		check(does(startRun) == (!runs(a.state) || a.event == evRunEnded && r.next != absent), "a run begins where there is none and one is wanted")
		check(does(stopRun) == (runs(a.state) && !ends(a.state) && ends(r.next)), "a run is told to stop, once, when it is to end")
		check((does(forget) || does(forgetRemoved)) == (r.next == absent), "it is forgotten when it is gone")
		check(does(startReleaseTimer) == (r.next == releasing && a.state != releasing), "the release timer runs while it is released")
		check(does(stopReleaseTimer) == (a.state == releasing && r.next != releasing && a.event != evReleaseTimeout), "the release timer ends with the release")
		check(does(mute) == does(startReleaseTimer), "another process speaks for what is released")
		check(does(unmute) == (a.state == releasing && !ends(r.next) && r.next != releasing), "this process speaks for what is its own")
		check((does(permit) || does(refuse)) == (a.event == evOpenAsked), "a question has an answer")
		check(does(permit) == (a.event == evOpenAsked && slices.Contains(ours, a.state)), "a run may open the log of what is ours, and no other's")
		check(does(awaitReclaim) == (r.next == fenced && a.state != fenced), "what is fenced waits")
		check(does(runAgain) == (a.event == evRunFailed && !ends(r.next)), "a run that failed begins again where it is wanted")
		check(a.event != evRunEnded || ends(a.state), "a run that was not told to stop has not ended")
	}
}

func (a at) String() string { return fmt.Sprintf("%s × %s", a.state, a.event) }
