package faults

import (
	"fmt"
	"math"
	"syscall"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// record waits until all cameras are recorded. It returns their indexes.
func (f *fleet) record(t *testing.T) indexes {
	t.Helper()
	f.allGrown(t, f.ids, time.Now(), 2)
	return f.indexes(t, f.ids)
}

// checkAbsences checks the first session of each camera since before that has pictures missing
// in front of it: its first entry must have their time and the reason. It returns how many
// cameras have such an entry.
func (f *fleet) checkAbsences(t *testing.T, strain *testenv.Strain, pauses *testenv.Pauses, before indexes, reason string) (n int) {
	t.Helper()
	for id, after := range f.checkKept(t, before) {
		last := before[id][len(before[id])-1]
		if newSessions(after, last) == 0 {
			continue
		}
		// The first new session with something before it that was not recorded, or is told to be.
		// Others correct the times of the session before them.
		missed := f.match(t, id, after, schemas.H264, schemas.VideoTrack).before
		i := len(before[id])
		for i < len(after)-1 && (after[i].Session == after[i-1].Session || after[i].Absent == 0 && missed[after[i].Session].missing == 0) {
			i++
		}
		first := after[i]
		m := missed[first.Session]
		told := schemas.FromTicks(first.Absent)
		t.Logf("%s: %d pictures are missing, %v; told are %v (%s)", id, m.missing, m.away, told, first.AbsentReason)
		if told > 0 {
			n++
		}
		// What is told is exactly the hole in the log's public time. That differs from the
		// camera's time by as much as ingest was late with the first picture of a session,
		// before the hole and behind it.
		j := i - 1
		for absent(after[j]) {
			j--
		}
		hole := first.Start.Sub(after[j].End())
		if told > 0 && (told-hole).Abs() > time.Millisecond {
			t.Errorf("%s: the log has a hole of %v, it says %v:\n%s", id, hole, told, table(after))
		}
		if (told-m.away).Abs() > strain.Stretch(200*time.Millisecond)+pauses.Longest(time.Time{}, time.Now()) || told > 0 && first.AbsentReason != reason {
			t.Errorf("%s: nothing was recorded for %v, the log says %v (%s), want %s:\n%s", id, m.away, told, first.AbsentReason, reason, table(after))
		}
	}
	return n
}

// checkAbsencesOfAPI checks that the API has the absence before each camera's newest
// session as the log has it.
func (f *fleet) checkAbsencesOfAPI(t *testing.T) {
	t.Helper()
	wrong := ""
	if !testenv.Poll(t, testenv.Patience, func() bool {
		wrong = ""
		statuses, err := system.Statuses(t, f.egress.url)
		if err != nil {
			wrong = err.Error()
			return false
		}
		for _, id := range f.ids {
			all := f.entries(t, id)
			i := len(all) - 1
			for i > 0 && all[i-1].Session == all[i].Session {
				i--
			}
			s, e := statuses[id], &all[i]
			if told := schemas.FromTicks(e.Absent).Seconds(); math.Abs(s.Absent-told) > 0.001 || s.AbsentReason != e.AbsentReason {
				wrong += fmt.Sprintf("%s: absent for %v s (%s), the log says %v s (%s)\n", id, s.Absent, s.AbsentReason, told, e.AbsentReason)
			}
		}
		return wrong == ""
	}) {
		t.Errorf("the API says of\n%s", wrong)
	}
}

// checkHandovers checks the cameras that have begun a session since before: no picture and
// no sound is missing, none is there twice, and times go on without a step. It returns
// their number.
func (f *fleet) checkHandovers(t *testing.T, before indexes) (n int) {
	t.Helper()
	for id, after := range f.checkKept(t, before) {
		last := before[id][len(before[id])-1]
		if newSessions(after, last) == 0 {
			continue
		}
		n++
		f.checkComplete(t, id, after)
		for i := 1; i < len(after); i++ {
			p, e := after[i-1], after[i]
			if e.Seq <= last.Seq {
				continue
			}
			if e.Kind != schemas.KindWhole && e.Reason != schemas.ReasonHandover {
				t.Errorf("%s: fragment %d is %s (%s):\n%s", id, e.Seq, e.Kind, e.Reason, table(after))
			}
			if e.Session == p.Session || corrected(&p, &e) {
				continue
			}
			if e.Absent != 0 || !e.Start.Equal(p.End()) || e.Media != p.MediaEnd() {
				t.Errorf("%s: after a hand-over public time goes on %v later, media time %d ticks, and %v absence is told:\n%s",
					id, e.Start.Sub(p.End()), e.Media-p.MediaEnd(), schemas.FromTicks(e.Absent), table(after))
			}
		}
		// If the group gives a camera to a process that has just joined, this one does not know
		// that another process has had it.
		want := schemas.AbsentHandover
		o := newestOpen(t, schemas.Topic{Camera: id}, f.broker)
		if o.Reason == share.ReasonAssigned {
			want = schemas.AbsentRestart
		}
		if o.AbsentReason != want || o.Unit == "" {
			t.Errorf("%s: the newest open is %+v", id, o)
		}
	}
	return n
}

// Whatever keeps cameras from being recorded, the log has the length and the reason. A
// planned hand-over takes no time.
func TestAbsenceIsTold(t *testing.T) {
	testenv.SkipShort(t, "two minutes of real time")
	t.Parallel()
	system.Engines(t, testAbsenceIsTold)
}

func testAbsenceIsTold(t *testing.T, engine string) {
	const away, frozen, longer = 4 * time.Second, 8 * time.Second, 14 * time.Second // the last is beyond the session time-out
	all := simple(4, 150)
	for i := range all {
		all[i].clip.Seconds = 36 // longer than any absence, so that each missing picture is known
	}
	// With short GOPs a hand-over may fall into a fragment of this camera. Then it falls
	// between two chunks of 3 pictures.
	all[1].clip.GOP = 9
	strain, pauses := testenv.WatchStrain(t), testenv.WatchPauses(t)
	f := startFleet(t, withEngine(engine, all))
	ingest := func() *role { return startRole(t, "ingest", f.config) }
	stop := func(r *role) {
		t.Helper()
		r.Signal(syscall.SIGTERM)
		if code := r.ExitCode(testenv.Patience); code != 0 {
			t.Errorf("ingest ended with %d", code)
		}
	}
	want := func(what string, n, least int) {
		t.Helper()
		if n < least {
			t.Errorf("%s: only %d cameras have a new session that is right, want %d", what, n, least)
		}
	}

	one := ingest()
	before := f.record(t)
	two := ingest()
	f.waitShared(t, one, two)
	f.record(t) // until the new sessions have entries
	want("another ingest joins", f.checkHandovers(t, before), 1)

	before = f.record(t)
	stop(one)
	f.record(t)
	want("an ingest ends", f.checkHandovers(t, before), 1)

	before = f.record(t)
	stop(two)
	lasts(t, away)
	three := ingest()
	f.record(t)
	want("ingest starts again", f.checkAbsences(t, strain, pauses, before, schemas.AbsentRestart), len(all))
	f.checkAbsencesOfAPI(t)

	before = f.record(t)
	three.Signal(syscall.SIGSTOP)
	lasts(t, frozen)
	for _, id := range f.ids {
		f.servers.camera(id).Drop()
	}
	three.Signal(syscall.SIGCONT)
	f.record(t)
	want("ingest stands still", f.checkAbsences(t, strain, pauses, before, schemas.AbsentFrozen), len(all))

	before = f.record(t)
	for _, id := range f.ids {
		refuse(f.servers[id])
		f.servers.camera(id).Drop()
	}
	lasts(t, away)
	for _, id := range f.ids {
		admit(f.servers[id])
	}
	f.record(t)
	want("cameras are away", f.checkAbsences(t, strain, pauses, before, schemas.AbsentCamera), len(all))

	four := ingest()
	f.waitShared(t, three, four)
	before = f.record(t)
	three.Signal(syscall.SIGSTOP)
	lasts(t, longer)
	three.Signal(syscall.SIGCONT)
	f.record(t)
	want("an owner stands still", f.checkAbsences(t, strain, pauses, before, schemas.AbsentHandover), 1)
}

// empty deletes all records of a camera's topics, as retention does in time.
func (f *fleet) empty(t *testing.T, id string) {
	t.Helper()
	adm, topic := openAdmin(t, f.broker), schemas.Topic{Camera: id}
	ends, err := adm.ListEndOffsets(t.Context(), schemas.Names{}.Media(topic), schemas.Names{}.Index(topic))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := adm.DeleteRecords(t.Context(), ends.Offsets()); err != nil {
		t.Fatal(err)
	}
	testenv.Wait(t, testenv.Patience, "no entry is left", func() bool { return len(f.entries(t, id)) == 0 })
}

// A camera that was removed and is added again goes on with its numbers, also when
// retention has removed all its footage. After a purge it begins anew.
func TestRemovedCameraGoesOn(t *testing.T) {
	t.Parallel()
	servers, _ := serve(t, []camera{{id: "yard"}})
	f := startFleet(t, nil)
	recorded := func() (first, last schemas.Entry) {
		t.Helper()
		f.cameras(t, "add", "yard", servers["yard"].URL("cam"))
		all := f.grown(t, "yard", time.Time{}, 2)
		checkWhole(t, "yard", all)
		return all[0], all[len(all)-1]
	}
	removed := func(r *role, args ...string) {
		t.Helper()
		f.cameras(t, append([]string{"remove", "yard"}, args...)...)
		r.Wait(t, testenv.Patience, "the camera ends", func() bool { return system.Metric(t, r.url, "framelog_ingest_cameras", "state") == 0 })
		r.Signal(syscall.SIGTERM)
		if code := r.ExitCode(testenv.Patience); code != 0 {
			t.Errorf("ingest ended with %d", code)
		}
	}

	ingest := startRole(t, "ingest", f.config)
	first, last := recorded()
	if first.Session != 1 {
		t.Errorf("the first session is %d", first.Session)
	}
	removed(ingest)
	f.empty(t, "yard")
	ingest = startRole(t, "ingest", f.config)
	again, _ := recorded()
	if again.Life != first.Life || again.Session != last.Session+1 || again.Seq <= last.Seq || again.Media < last.Media {
		t.Errorf("after %+v it goes on with %+v", last, again)
	}
	removed(ingest, "--purge")
	startRole(t, "ingest", f.config)
	if anew, _ := recorded(); anew.Life == first.Life || anew.Session != 1 {
		t.Errorf("after a purge it goes on with %+v", anew)
	}
}
