package share

import (
	"fmt"
	"log/slog"
)

// state is what a camera is in this process. A camera is ours if the group gave
// its partition to this process.
type state uint8

const (
	absent                state = iota // nothing of it is here
	waiting                            // ours; its run has not opened the log yet
	recording                          // ours; its run has opened the log
	waitingUnconfirmed                 // as waiting; the group has not said whether it is ours still
	recordingUnconfirmed               // as recording; the group has not said whether it is ours still
	releasing                          // another process's; recorded here until that one has opened the log
	fenced                             // ours by the group; another process has opened the log, and nothing runs here
	restarting                         // ours; its run ends, and the next one begins after it
	restartingUnconfirmed              // as restarting; the group has not said whether it is ours still
	stopping                           // its run ends
	removing                           // its run ends; the registry does not have the camera any more
	states
)

var stateNames = [states]string{
	"absent", "waiting", "recording", "waitingUnconfirmed", "recordingUnconfirmed",
	"releasing", "fenced", "restarting", "restartingUnconfirmed", "stopping", "removing",
}

func (s state) String() string { return stateNames[s] }

// event is what happens to a camera.
type event uint8

const (
	// From the registry, of a partition that is ours and was read to its end.
	evWanted  event = iota // the camera is there, as we last knew it
	evChanged              // the camera is there, with another record
	evRemoved              // the camera is not there any more

	// From the consumer group.
	evAssigned  // its partition is ours, perhaps again
	evGroupLost // the group has given us up, or no broker answers; the next evAssigned or evRevoked tells whose it is
	evRevoked   // its partition goes to another process, or did so

	// From its run.
	evOpenAsked // the run wants to open the log
	evLogTaken  // the run has ended, because another process has opened the log
	evRunFailed // the run has ended for another reason, and nobody told it to
	evReclaimed // the wait for the log is over: nobody writes it, and the group has confirmed that the camera is ours
	evRunEnded  // the run was told to stop, and has ended

	evReleaseTimeout // no other process has opened the log in time
	evClosed         // this process ends
	events
)

var eventNames = [events]string{
	"Wanted", "Changed", "Removed", "Assigned", "GroupLost", "Revoked",
	"OpenAsked", "LogTaken", "RunFailed", "Reclaimed", "RunEnded", "ReleaseTimeout", "Closed",
}

func (e event) String() string { return eventNames[e] }

// action is what Cameras does for a camera after an event.
type action uint8

const (
	startRun          action = iota // make a work of the newest record, and run it
	stopRun                         // tell the run to stop; evRunEnded follows
	runAgain                        // run the same work again, after a pause
	permit                          // let the run open the log
	refuse                          // do not let it
	awaitReclaim                    // wait until the log may be opened again; evReclaimed follows
	endReclaimWait                  // wait for the group's confirmation only
	startReleaseTimer               // evReleaseTimeout follows
	stopReleaseTimer                // and now it does not
	mute                            // another process speaks for the camera
	unmute                          // this one does again
	setReason                       // the next run begins for the event's reason
	forget                          // nothing of the camera is here any more
	forgetRemoved                   // nor is it in the registry
)

// line is a log line.
type line struct {
	level slog.Level
	text  string // "": none
}

func info(text string) line { return line{slog.LevelInfo, text} }
func warn(text string) line { return line{slog.LevelWarn, text} }

// row is what an event does to a camera in a state.
type row struct {
	next    state
	actions []action
	why     string
	say     line
}

func do(a ...action) []action { return a }

type at struct {
	state state
	event event
}

// table is the life of a camera in one process. A pair of state and event that
// it does not have cannot happen.
var table = map[at]row{
	{absent, evWanted}: {waiting, do(setReason, startRun), "a camera of ours begins", line{}},

	{waiting, evWanted}:    {waiting, nil, "it runs already", line{}},
	{waiting, evChanged}:   {restarting, do(setReason, stopRun), "it runs with the old record", info("camera has changed")},
	{waiting, evRemoved}:   {removing, do(stopRun), "a removal stops at once", info("camera is removed")},
	{waiting, evGroupLost}: {waitingUnconfirmed, nil, "any broker's restart does this, so nothing stops for it", line{}},
	{waiting, evRevoked}:   {stopping, do(stopRun), "it records nothing, and an opening later would take the log from the new owner", line{}},
	{waiting, evOpenAsked}: {recording, do(permit), "it is ours", line{}},
	{waiting, evRunFailed}: {waiting, do(runAgain), "it is ours still", line{}},
	{waiting, evClosed}:    {stopping, do(stopRun), "the process ends", line{}},

	{recording, evWanted}:    {recording, nil, "it runs already", line{}},
	{recording, evChanged}:   {restarting, do(setReason, stopRun), "it runs with the old record", info("camera has changed")},
	{recording, evRemoved}:   {removing, do(stopRun), "a removal stops at once", info("camera is removed")},
	{recording, evGroupLost}: {recordingUnconfirmed, nil, "any broker's restart does this, so nothing stops for it", line{}},
	{recording, evRevoked}:   {releasing, do(mute, startReleaseTimer), "no hole: it is recorded here until the new owner has opened the log", info("camera goes to another process; this one goes on until that one has begun")},
	{recording, evOpenAsked}: {recording, do(permit), "a run may open again, as after a failed attempt", line{}},
	{recording, evLogTaken}:  {fenced, do(setReason, awaitReclaim), "mostly we are about to hear that it has moved; two owners must not fight", warn("another process has taken the camera's log; the work on it ends here")},
	{recording, evRunFailed}: {waiting, do(runAgain), "the log has ended (a purge), or the work failed; the camera is ours still", line{}},
	{recording, evClosed}:    {stopping, do(stopRun), "the process ends", line{}},

	{waitingUnconfirmed, evAssigned}:  {waiting, nil, "it stayed ours", line{}},
	{waitingUnconfirmed, evRevoked}:   {stopping, do(stopRun), "as a camera that waits", line{}},
	{waitingUnconfirmed, evOpenAsked}: {recordingUnconfirmed, do(permit), "mostly it stays ours, and footage that waited for the group would be gone", line{}},
	{waitingUnconfirmed, evRunFailed}: {waitingUnconfirmed, do(runAgain), "mostly it stays ours", line{}},
	{waitingUnconfirmed, evClosed}:    {stopping, do(stopRun), "the process ends", line{}},

	{recordingUnconfirmed, evAssigned}:  {recording, nil, "it stayed ours, and its run goes on untouched", line{}},
	{recordingUnconfirmed, evRevoked}:   {releasing, do(mute, startReleaseTimer), "as a camera that is recorded", info("camera goes to another process; this one goes on until that one has begun")},
	{recordingUnconfirmed, evOpenAsked}: {recordingUnconfirmed, do(permit), "as while it is ours", line{}},
	{recordingUnconfirmed, evLogTaken}:  {stopping, do(stopRun), "group and log say that it has moved", info("camera is handed over")},
	{recordingUnconfirmed, evRunFailed}: {waitingUnconfirmed, do(runAgain), "mostly it stays ours", line{}},
	{recordingUnconfirmed, evClosed}:    {stopping, do(stopRun), "the process ends", line{}},

	{releasing, evAssigned}:       {recording, do(stopReleaseTimer, unmute), "it is ours again, and its run goes on untouched", line{}},
	{releasing, evOpenAsked}:      {releasing, do(refuse), "the log is the new owner's to open", line{}},
	{releasing, evLogTaken}:       {stopping, do(stopReleaseTimer, stopRun), "the new owner has begun", info("camera is handed over")},
	{releasing, evRunFailed}:      {stopping, do(stopReleaseTimer, stopRun), "the log is the new owner's to open", line{}},
	{releasing, evReleaseTimeout}: {stopping, do(stopRun), "a camera that nobody takes may have been removed", warn("camera was given away and no other process has begun; the work on it ends here")},
	{releasing, evClosed}:         {stopping, do(stopReleaseTimer, stopRun), "the process ends", line{}},

	{fenced, evWanted}:    {fenced, nil, "another process records it still", line{}},
	{fenced, evChanged}:   {fenced, do(setReason, endReclaimWait), "who owns it uses the new record; the group says whether we do", info("camera has changed")},
	{fenced, evRemoved}:   {removing, do(stopRun), "a removal stops at once", info("camera is removed")},
	{fenced, evGroupLost}: {stopping, do(stopRun), "its owner speaks for it", line{}},
	{fenced, evRevoked}:   {stopping, do(stopRun), "its owner speaks for it", line{}},
	{fenced, evReclaimed}: {restarting, do(stopRun), "nobody records it, and it is ours for sure", warn("camera is taken back")},
	{fenced, evClosed}:    {stopping, do(stopRun), "the process ends", line{}},

	{restarting, evWanted}:    {restarting, nil, "the next run comes", line{}},
	{restarting, evChanged}:   {restarting, do(setReason), "the next run takes the newest record", line{}},
	{restarting, evRemoved}:   {removing, nil, "no run follows", info("camera is removed")},
	{restarting, evGroupLost}: {restartingUnconfirmed, nil, "any broker's restart does this, so nothing stops for it", line{}},
	{restarting, evRevoked}:   {stopping, nil, "no run follows", line{}},
	{restarting, evOpenAsked}: {restarting, do(refuse), "the run was told to stop", line{}},
	{restarting, evRunEnded}:  {waiting, do(startRun), "one run of a camera at a time", line{}},
	{restarting, evClosed}:    {stopping, nil, "the process ends", line{}},

	{restartingUnconfirmed, evAssigned}:  {restarting, nil, "it stayed ours", line{}},
	{restartingUnconfirmed, evRevoked}:   {stopping, nil, "no run follows", line{}},
	{restartingUnconfirmed, evOpenAsked}: {restartingUnconfirmed, do(refuse), "the run was told to stop", line{}},
	{restartingUnconfirmed, evRunEnded}:  {waitingUnconfirmed, do(startRun), "mostly it stays ours", line{}},
	{restartingUnconfirmed, evClosed}:    {stopping, nil, "the process ends", line{}},

	{stopping, evWanted}:    {restarting, do(setReason), "it is ours again", line{}},
	{stopping, evChanged}:   {restarting, do(setReason), "it is ours again, with another record", line{}},
	{stopping, evRemoved}:   {removing, nil, "what is told of it elsewhere is ours to remove", info("camera is removed")},
	{stopping, evAssigned}:  {stopping, nil, "the registry's record, which is read next, begins it anew", line{}},
	{stopping, evGroupLost}: {stopping, nil, "it ends", line{}},
	{stopping, evRevoked}:   {stopping, nil, "it ends", line{}},
	{stopping, evOpenAsked}: {stopping, do(refuse), "the run was told to stop", line{}},
	{stopping, evRunEnded}:  {absent, do(forget), "it has ended", line{}},
	{stopping, evClosed}:    {stopping, nil, "it ends", line{}},

	{removing, evWanted}:    {restarting, do(setReason), "it is back", line{}},
	{removing, evChanged}:   {restarting, do(setReason), "it is back, with another record", line{}},
	{removing, evRemoved}:   {removing, nil, "it ends", line{}},
	{removing, evAssigned}:  {removing, nil, "the registry's record, if there is one, begins it anew", line{}},
	{removing, evGroupLost}: {removing, nil, "it ends", line{}},
	{removing, evRevoked}:   {removing, nil, "the new owner does not know of it, so its status is ours to remove", line{}},
	{removing, evOpenAsked}: {removing, do(refuse), "the run was told to stop", line{}},
	{removing, evRunEnded}:  {absent, do(forgetRemoved), "it has ended", line{}},
	{removing, evClosed}:    {removing, nil, "it ends", line{}},
}

// next is what an event does to a camera in a state. ok is false if it cannot
// happen.
func next(s state, e event) (r row, ok bool) {
	r, ok = table[at{s, e}]
	return r, ok
}

func (a at) String() string { return fmt.Sprintf("%s × %s", a.state, a.event) }
