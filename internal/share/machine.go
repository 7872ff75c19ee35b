package share

import (
	"log/slog"
)

// state is the state of a camera in this process. A camera is ours if the group
// assigned its partition to this process.
type state uint8

const (
	absent                state = iota // this process has nothing to do with it
	waiting                            // ours; its run has not opened the log yet
	recording                          // ours; its run has opened the log
	waitingUnconfirmed                 // as waiting; the group has not confirmed yet that it is still ours
	recordingUnconfirmed               // as recording; the group has not confirmed yet that it is still ours
	releasing                          // another process's; recorded here until that one has opened the log
	fenced                             // ours by the group; another process has opened the log, and nothing runs here
	restarting                         // ours; its run ends, and the next one begins after it
	restartingUnconfirmed              // as restarting; the group has not confirmed yet that it is still ours
	stopping                           // its run ends
	removing                           // its run ends; the registry does not have the camera any more
	states
)

var stateNames = [states]string{
	"absent", "waiting", "recording", "waitingUnconfirmed", "recordingUnconfirmed",
	"releasing", "fenced", "restarting", "restartingUnconfirmed", "stopping", "removing",
}

func (s state) String() string { return stateNames[s] }

// event is an event of a camera.
type event uint8

const (
	// From the registry, for a partition that is ours and was read to its end.
	evWanted  event = iota // the registry has the camera, with the record that we know
	evChanged              // the registry has the camera, with another record
	evRemoved              // the registry does not have the camera any more

	// From the consumer group.
	evAssigned  // its partition is ours, perhaps again
	evGroupLost // the group has removed this process, or no broker answers; evAssigned or evRevoked follows
	evRevoked   // its partition goes to another process, or already went there

	// From its run.
	evOpenAsked // the run wants to open the log
	evLogTaken  // the run has ended, because another process has opened the log
	evRunFailed // the run has ended by itself for another reason
	evReclaimed // the wait for the log is over: no process writes it, and the group has confirmed that the camera is ours
	evRunEnded  // the run has ended after stopRun

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
	startRun          action = iota // make a Work for the newest record, and run it
	stopRun                         // tell the run to stop; evRunEnded follows
	runAgain                        // run the same work again, after a pause
	permit                          // let the run open the log
	refuse                          // do not let the run open the log
	awaitReclaim                    // wait until the log may be opened again; evReclaimed follows
	endReclaimWait                  // wait for the group's confirmation only
	startReleaseTimer               // evReleaseTimeout follows
	stopReleaseTimer                // evReleaseTimeout does not follow
	mute                            // another process publishes the camera's status
	unmute                          // this process publishes it again
	setReason                       // the next run gets the event's reason
	forget                          // this process has nothing to do with the camera any more
	forgetRemoved                   // the same, and the registry does not have it
)

// line is a log line.
type line struct {
	level slog.Level
	text  string // "": none
}

func info(text string) line { return line{slog.LevelInfo, text} }
func warn(text string) line { return line{slog.LevelWarn, text} }

// row is the effect of an event on a camera in a state.
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

// table is the state machine of a camera in one process. A pair of state and
// event that is not in it cannot happen.
var table = map[at]row{
	{absent, evWanted}: {waiting, do(setReason, startRun), "a camera of ours begins", line{}},

	{waiting, evWanted}:    {waiting, nil, "it runs already", line{}},
	{waiting, evChanged}:   {restarting, do(setReason, stopRun), "it runs with the old record", info("camera has changed")},
	{waiting, evRemoved}:   {removing, do(stopRun), "a removal stops at once", info("camera is removed")},
	{waiting, evGroupLost}: {waitingUnconfirmed, nil, "the restart of any broker causes this event, so the run goes on", line{}},
	{waiting, evRevoked}:   {stopping, do(stopRun), "it records nothing, and if it opened the log later it would fence the new owner", line{}},
	{waiting, evOpenAsked}: {recording, do(permit), "it is ours", line{}},
	{waiting, evRunFailed}: {waiting, do(runAgain), "it is still ours", line{}},
	{waiting, evClosed}:    {stopping, do(stopRun), "the process ends", line{}},

	{recording, evWanted}:    {recording, nil, "it runs already", line{}},
	{recording, evChanged}:   {restarting, do(setReason, stopRun), "it runs with the old record", info("camera has changed")},
	{recording, evRemoved}:   {removing, do(stopRun), "a removal stops at once", info("camera is removed")},
	{recording, evGroupLost}: {recordingUnconfirmed, nil, "the restart of any broker causes this event, so the run goes on", line{}},
	{recording, evRevoked}:   {releasing, do(mute, startReleaseTimer), "so that no footage is missing, it is recorded here until the new owner has opened the log", info("camera goes to another process; this one goes on until that one has begun")},
	{recording, evOpenAsked}: {recording, do(permit), "a run may open again, as after a failed attempt", line{}},
	{recording, evLogTaken}:  {fenced, do(setReason, awaitReclaim), "usually the group is about to report that it has moved; two owners must not fence each other", warn("another process has taken the camera's log; the work on it ends here")},
	{recording, evRunFailed}: {waiting, do(runAgain), "the log has ended (a purge), or the work failed; the camera is still ours", line{}},
	{recording, evClosed}:    {stopping, do(stopRun), "the process ends", line{}},

	{waitingUnconfirmed, evAssigned}:  {waiting, nil, "it stayed ours", line{}},
	{waitingUnconfirmed, evRevoked}:   {stopping, do(stopRun), "the same as in waiting", line{}},
	{waitingUnconfirmed, evOpenAsked}: {recordingUnconfirmed, do(permit), "usually it stays ours, and footage that waited for the group would be missing", line{}},
	{waitingUnconfirmed, evRunFailed}: {waitingUnconfirmed, do(runAgain), "usually it stays ours", line{}},
	{waitingUnconfirmed, evClosed}:    {stopping, do(stopRun), "the process ends", line{}},

	{recordingUnconfirmed, evAssigned}:  {recording, nil, "it stayed ours, and its run goes on untouched", line{}},
	{recordingUnconfirmed, evRevoked}:   {releasing, do(mute, startReleaseTimer), "the same as in recording", info("camera goes to another process; this one goes on until that one has begun")},
	{recordingUnconfirmed, evOpenAsked}: {recordingUnconfirmed, do(permit), "the same as while it is ours", line{}},
	{recordingUnconfirmed, evLogTaken}:  {stopping, do(stopRun), "group and log say that it has moved", info("camera is handed over")},
	{recordingUnconfirmed, evRunFailed}: {waitingUnconfirmed, do(runAgain), "usually it stays ours", line{}},
	{recordingUnconfirmed, evClosed}:    {stopping, do(stopRun), "the process ends", line{}},

	{releasing, evAssigned}:       {recording, do(stopReleaseTimer, unmute), "it is ours again, and its run goes on untouched", line{}},
	{releasing, evOpenAsked}:      {releasing, do(refuse), "only the new owner may open the log", line{}},
	{releasing, evLogTaken}:       {stopping, do(stopReleaseTimer, stopRun), "the new owner has begun", info("camera is handed over")},
	{releasing, evRunFailed}:      {stopping, do(stopReleaseTimer, stopRun), "only the new owner may open the log", line{}},
	{releasing, evReleaseTimeout}: {stopping, do(stopRun), "if no process takes the camera, it may have been removed", warn("camera was given away and no other process has begun; the work on it ends here")},
	{releasing, evClosed}:         {stopping, do(stopReleaseTimer, stopRun), "the process ends", line{}},

	{fenced, evWanted}:    {fenced, nil, "another process still records it", line{}},
	{fenced, evChanged}:   {fenced, do(setReason, endReclaimWait), "the owner uses the new record; the group confirms whether we are the owner", info("camera has changed")},
	{fenced, evRemoved}:   {removing, do(stopRun), "a removal stops at once", info("camera is removed")},
	{fenced, evGroupLost}: {stopping, do(stopRun), "its owner publishes its status", line{}},
	{fenced, evRevoked}:   {stopping, do(stopRun), "its owner publishes its status", line{}},
	{fenced, evReclaimed}: {restarting, do(stopRun), "no process records it, and the group has confirmed that it is ours", warn("camera is taken back")},
	{fenced, evClosed}:    {stopping, do(stopRun), "the process ends", line{}},

	{restarting, evWanted}:    {restarting, nil, "the next run comes", line{}},
	{restarting, evChanged}:   {restarting, do(setReason), "the next run takes the newest record", line{}},
	{restarting, evRemoved}:   {removing, nil, "no run follows", info("camera is removed")},
	{restarting, evGroupLost}: {restartingUnconfirmed, nil, "the restart of any broker causes this event, so the run goes on", line{}},
	{restarting, evRevoked}:   {stopping, nil, "no run follows", line{}},
	{restarting, evOpenAsked}: {restarting, do(refuse), "the run was told to stop", line{}},
	{restarting, evRunEnded}:  {waiting, do(startRun), "one run of a camera at a time", line{}},
	{restarting, evClosed}:    {stopping, nil, "the process ends", line{}},

	{restartingUnconfirmed, evAssigned}:  {restarting, nil, "it stayed ours", line{}},
	{restartingUnconfirmed, evRevoked}:   {stopping, nil, "no run follows", line{}},
	{restartingUnconfirmed, evOpenAsked}: {restartingUnconfirmed, do(refuse), "the run was told to stop", line{}},
	{restartingUnconfirmed, evRunEnded}:  {waitingUnconfirmed, do(startRun), "usually it stays ours", line{}},
	{restartingUnconfirmed, evClosed}:    {stopping, nil, "the process ends", line{}},

	{stopping, evWanted}:    {restarting, do(setReason), "it is ours again", line{}},
	{stopping, evChanged}:   {restarting, do(setReason), "it is ours again, with another record", line{}},
	{stopping, evRemoved}:   {removing, nil, "this process must remove its status", info("camera is removed")},
	{stopping, evAssigned}:  {stopping, nil, "the registry's record is read next, and starts it again", line{}},
	{stopping, evGroupLost}: {stopping, nil, "it ends", line{}},
	{stopping, evRevoked}:   {stopping, nil, "it ends", line{}},
	{stopping, evOpenAsked}: {stopping, do(refuse), "the run was told to stop", line{}},
	{stopping, evRunEnded}:  {absent, do(forget), "it has ended", line{}},
	{stopping, evClosed}:    {stopping, nil, "it ends", line{}},

	{removing, evWanted}:    {restarting, do(setReason), "it is back", line{}},
	{removing, evChanged}:   {restarting, do(setReason), "it is back, with another record", line{}},
	{removing, evRemoved}:   {removing, nil, "it ends", line{}},
	{removing, evAssigned}:  {removing, nil, "if the registry has a record, that starts it again", line{}},
	{removing, evGroupLost}: {removing, nil, "it ends", line{}},
	{removing, evRevoked}:   {removing, nil, "the new owner does not know it, so this process must remove its status", line{}},
	{removing, evOpenAsked}: {removing, do(refuse), "the run was told to stop", line{}},
	{removing, evRunEnded}:  {absent, do(forgetRemoved), "it has ended", line{}},
	{removing, evClosed}:    {removing, nil, "it ends", line{}},
}

// next returns the effect of an event on a camera in a state. ok is false if
// the event cannot happen.
func next(s state, e event) (r row, ok bool) {
	r, ok = table[at{s, e}]
	return r, ok
}
