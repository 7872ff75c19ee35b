package cli

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

var _ Log = (*medialog.Log)(nil)

// fakeLog is the topics of a fakeRegistry.
type fakeLog struct{ *fakeRegistry }

func (l fakeLog) Topics(context.Context) (all []schemas.Topic, err error) {
	for _, name := range l.topics {
		if t, index, ok := (schemas.Names{}).Parse(name); ok && !index {
			all = append(all, t)
		}
	}
	return all, nil
}

func (l fakeLog) Life(_ context.Context, t schemas.Topic) (string, error) {
	if !slices.Contains(l.topics, (schemas.Names{}).Index(t)) {
		return "", medialog.ErrNoTopic
	}
	return "11110000", nil
}

func (l fakeLog) Purge(_ context.Context, camera string) (gone []string, err error) {
	l.topics = slices.DeleteFunc(l.topics, func(name string) bool {
		t, _, ok := (schemas.Names{}).Parse(name)
		if ok && t.Camera == camera {
			gone = append(gone, name)
			return true
		}
		return false
	})
	return gone, nil
}

func (fakeLog) Close() {}

// TestRemoved: what is left of cameras that were removed.
func TestRemoved(t *testing.T) {
	for _, c := range []struct {
		name, args      string
		set             func(*fakeRegistry)
		err             string
		topics, secrets string
	}{
		{name: "footage stays", args: "remove gate", topics: "cam.gate cam.gate.index cam.gate.720p cam.shed cam.garage cam.yard", secrets: "garage front-door"},
		{name: "purged", args: "remove gate yard --purge", topics: "cam.shed cam.garage", secrets: "garage front-door"},
		{name: "removed before", args: "remove shed --purge", topics: "cam.gate cam.gate.index cam.gate.720p cam.garage cam.yard", secrets: "gate garage front-door"},
		{name: "another has the password too", args: "remove gate", set: func(f *fakeRegistry) {
			c := f.Cameras["garage"]
			c.Password = "${file:gate}"
			f.Cameras["garage"] = c
		}, topics: "cam.gate cam.gate.index cam.gate.720p cam.shed cam.garage cam.yard", secrets: "gate garage front-door"},
		{name: "the password is the environment's", args: "remove gate", set: func(f *fakeRegistry) {
			c := f.Cameras["gate"]
			c.Password = "${FRAMELOG_SECRET_GATE}"
			f.Cameras["gate"] = c
		}, topics: "cam.gate cam.gate.index cam.gate.720p cam.shed cam.garage cam.yard", secrets: "gate garage front-door"},
		{name: "changed to one without", args: "add gate rtsp://10.0.0.5/1 --replace", topics: "cam.gate cam.gate.index cam.gate.720p cam.shed cam.garage cam.yard", secrets: "garage front-door"},
		{name: "changed to one with it", args: "add gate rtsp://viewer:${file:gate}@10.0.0.5/2 --replace", topics: "cam.gate cam.gate.index cam.gate.720p cam.shed cam.garage cam.yard", secrets: "gate garage front-door"},
		{name: "no more in its file", args: "apply -f framelog.yaml --prune", set: func(f *fakeRegistry) {
			delete(f.Cameras, "gate")
			f.result.Removed = []string{"garage", "gate"} // another camera has garage's
		}, topics: "cam.gate cam.gate.index cam.gate.720p cam.shed cam.garage cam.yard", secrets: "garage front-door"},
		{
			name: "it does not stop", args: "remove gate --purge", set: func(f *fakeRegistry) { f.stuck = true },
			err: "ingest-1 still records it", topics: "cam.gate cam.gate.index cam.gate.720p cam.shed cam.garage cam.yard", secrets: "garage front-door",
		},
		{name: "whose owner died", args: "remove yard --purge", set: func(f *fakeRegistry) { f.stuck = true }, // its status is old
			topics: "cam.gate cam.gate.index cam.gate.720p cam.shed cam.garage", secrets: "gate garage front-door"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := full()
			if c.set != nil {
				c.set(r)
			}
			out, err := run(t, r, strings.Fields(c.args)...)
			var usage *UsageError
			if (err != nil) != (c.err != "") || err != nil && (!strings.Contains(err.Error(), c.err) || errors.As(err, &usage)) {
				t.Errorf("%s, %v, want %q", out, err, c.err)
			}
			if got := strings.Join(r.topics, " "); got != c.topics {
				t.Errorf("topics %s, want %s", got, c.topics)
			}
			if got := strings.Join(r.secrets, " "); got != c.secrets {
				t.Errorf("secrets %s, want %s", got, c.secrets)
			}
		})
	}
}

// TestPurgeIsRemembered: which lives were purged stands in the registry before anything is
// deleted, so that a purge that is cut off is completed later.
func TestPurgeIsRemembered(t *testing.T) {
	for _, stuck := range []bool{false, true} {
		r := full()
		r.stuck = stuck
		gate := r.Status["gate"]
		gate.Stands.Life = "22220000"
		r.Status["gate"] = gate
		r.Purged["gate"] = schemas.Purge{Camera: "gate", Lives: []string{"00000000"}}
		_, err := run(t, r, "remove", "gate", "yard", "--purge")
		if (err != nil) != stuck {
			t.Error(err)
		}
		// The index of gate is of another life than its status tells, and yard has no index.
		gone, yard := r.Purged["gate"], r.Purged["yard"]
		if want := []string{"00000000", "22220000", "11110000"}; !slices.Equal(gone.Lives, want) || gone.At.IsZero() {
			t.Errorf("purged of gate: %+v, want lives %v", gone, want)
		}
		if yard.Camera != "yard" || len(yard.Lives) != 0 || yard.At.IsZero() {
			t.Errorf("purged of yard: %+v", yard)
		}
	}
}
