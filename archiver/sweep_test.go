package archiver

import (
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// What the log has of a removed camera is archived, also by an archiver that starts later. When
// the camera is purged, it goes from the archive, also what comes late. The footage of a camera
// that is added again under the same id stays.
func TestRemovedAndPurged(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		cam := e.record(raw)
		one := e.start(nil)
		cam.seconds(90)
		one.stop()
		if err := e.reg.Delete(t.Context(), camID); err != nil {
			t.Fatal(err)
		}
		if err := cam.w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		two := e.start(nil)
		time.Sleep(3 * time.Minute)
		all := e.entries(raw)
		life := all[0].Life
		if got, want := seqs(e.archived(life, raw)), seqs(all); got != want {
			t.Errorf("of a removed camera archived %s\nof %s", got, want)
		}

		older := filepath.Join(e.dir.String(), "0a0a0a0a", camID, schemas.Raw)
		if err := os.MkdirAll(older, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(older, "1-2.mp4"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(older, "1-2.mp4"), time.Time{}, time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := e.reg.PutPurge(t.Context(), schemas.Purge{Camera: camID}.With(time.Now(), life)); err != nil {
			t.Fatal(err)
		}
		if _, err := e.log.Purge(t.Context(), camID); err != nil {
			t.Fatal(err)
		}
		empty := func() bool {
			series, err := e.dir.Series(t.Context())
			return err == nil && len(series) == 0
		}
		e.wait("the purged footage is deleted, with older lives", empty)

		e.add(camID)
		cam = e.record(raw)
		late := filepath.Join(e.dir.String(), archive.Path(raw, all[:1]))
		if err := os.MkdirAll(filepath.Dir(late), 0o755); err != nil {
			t.Fatal(err)
		}
		cam.seconds(130)
		time.Sleep(3 * time.Minute)
		now := e.entries(raw)
		if got, want := seqs(e.archived(now[0].Life, raw)), seqs(now); got != want || now[0].Life == life {
			t.Errorf("of the new life archived %s\nof %s", got, want)
		}
		if _, err := os.Stat(filepath.Dir(late)); err == nil {
			t.Error("what came late after the purge is still there")
		}
		if n := two.metric(t, "expired_seconds_total", camID, schemas.Raw); n != 0 {
			t.Errorf("%v seconds of a purged life have expired", n)
		}
	})
}

// The topics of a camera are deleted and made again while it is archived. Its new footage is
// archived from the first fragment on, although its index is longer than the one before.
func TestNewLife(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		cam := e.record(raw)
		p := e.start(nil)
		cam.seconds(20)
		time.Sleep(3 * time.Minute)
		before := e.entries(raw)
		if err := cam.w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := e.log.Purge(t.Context(), camID); err != nil {
			t.Fatal(err)
		}
		cam = e.record(raw)
		cam.start = time.Now().Add(-time.Minute)
		cam.seconds(60)
		time.Sleep(3 * time.Minute)
		now := e.entries(raw)
		if got, want := seqs(e.archived(now[0].Life, raw)), seqs(now); got != want || now[0].Life == before[0].Life {
			t.Errorf("of the new life archived %s\nof %s", got, want)
		}
		if n := p.metric(t, "expired_seconds_total", camID, schemas.Raw); n != 0 {
			t.Errorf("%v seconds have expired", n)
		}
	})
}

// Renditions are archived if the configuration names them or their role, and cameras that it does
// not name are not. The default is footage of cameras, and timed metadata.
func TestPatterns(t *testing.T) {
	variant, data := schemas.Topic{Camera: camID, Rendition: "360p"}, schemas.Topic{Camera: camID, Rendition: "motion"}
	gate := schemas.Topic{Camera: "gate"}
	for name, c := range map[string]struct {
		change func(*Config)
		want   []schemas.Topic
	}{
		"names":   {func(c *Config) { c.Cameras, c.Renditions = []string{"y*"}, []string{"*p"} }, []schemas.Topic{variant}},
		"role":    {func(c *Config) { c.Cameras, c.Renditions = []string{"y*"}, []string{PatternData} }, []schemas.Topic{data}},
		"default": {func(*Config) {}, []schemas.Topic{raw, data, gate}},
	} {
		t.Run(name, func(t *testing.T) { virtual(t, func(t *testing.T, e *env) { testPatterns(t, e, c.change, c.want) }) })
	}
}

func testPatterns(t *testing.T, e *env, change func(*Config), want []schemas.Topic) {
	gate := schemas.Topic{Camera: "gate"}
	e.add("gate")
	other, cam := e.record(gate), e.record(raw)
	roles := map[schemas.Topic]schemas.Role{{Camera: camID, Rendition: "360p"}: schemas.RoleVariant, {Camera: camID, Rendition: "motion"}: schemas.RoleData}
	followers := map[schemas.Topic]*medialog.Follower{}
	for rendition, role := range roles {
		f, err := e.log.Follow(t.Context(), rendition, medialog.FollowOptions{Processor: "p", Role: role, Source: raw, MayOpen: func() bool { return true }})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		followers[rendition] = f
	}
	e.start(func(s *Service) {
		c := Config{}
		change(&c)
		c = c.withDefaults()
		s.cfg.Cameras, s.cfg.Renditions = c.Cameras, c.Renditions
	})
	cam.seconds(3)
	other.seconds(3)
	all := e.entries(raw)
	for _, f := range followers {
		if err := f.Jump(t.Context(), all[0].Seq); err != nil {
			t.Fatal(err)
		}
		for _, entry := range all {
			copyFragment(t, e, f, entry)
		}
	}
	time.Sleep(3 * time.Minute)
	for _, of := range []schemas.Topic{raw, gate, {Camera: camID, Rendition: "360p"}, {Camera: camID, Rendition: "motion"}} {
		entries := e.entries(of.Source())
		wanted := ""
		if slices.Contains(want, of) {
			wanted = seqs(entries)
		}
		if got := seqs(e.archived(entries[0].Life, of)); got != wanted {
			t.Errorf("%v: archived %s, want %s", of, got, wanted)
		}
	}
}

// copyFragment gives a rendition the footage of its source.
func copyFragment(t *testing.T, e *env, f *medialog.Follower, entry schemas.Entry) {
	t.Helper()
	var work *medialog.Work
	for c, err := range e.log.Chunks(t.Context(), raw, entry) {
		if err == nil && work == nil {
			work, err = f.Begin(t.Context(), c)
		}
		if err == nil {
			err = work.Write(t.Context(), c)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := work.Commit(t.Context(), entry, medialog.Output{Used: entry.Chunks}); err != nil {
		t.Fatal(err)
	}
}

// What the broker keeps until it is archived: metadata too, once an archiver has begun with it.
func TestArchives(t *testing.T) {
	data := schemas.Topic{Camera: camID, Rendition: "motion"}
	for _, c := range []struct {
		config    Config
		topic     schemas.Topic
		new, more bool // before archivers have begun with it, and then
	}{
		{Config{}, raw, true, true},
		{Config{}, data, false, true},
		{Config{Renditions: []string{schemas.Raw}}, data, false, false},
		{Config{Cameras: []string{"gate"}}, data, false, false},
		{Config{Renditions: []string{"mot*"}}, data, true, true},
	} {
		if n, more := c.config.Archives(c.topic, false), c.config.Archives(c.topic, true); n != c.new || more != c.more {
			t.Errorf("%+v: %v: %v, %v", c.config, c.topic, n, more)
		}
	}
}

// Cameras that record nothing cost a few requests for all of them together.
func TestIdleCameras(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		e.start(nil)
		for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			e.add(id)
			e.record(schemas.Topic{Camera: id}).seconds(1)
			time.Sleep(300 * time.Millisecond) // they begin at different times
		}
		time.Sleep(5 * time.Minute)
		var all, reads atomic.Int64
		e.cluster.Control(func(req kmsg.Request) (kmsg.Response, error, bool) {
			e.cluster.KeepControl()
			switch req := req.(type) {
			case *kmsg.FetchRequest:
				if req.MaxWaitMillis == 0 { // not the group's
					reads.Add(1)
				}
			case *kmsg.HeartbeatRequest:
			default:
				all.Add(1)
			}
			return nil, nil, false
		})
		time.Sleep(time.Minute)
		// Twelve looks, of up to ten requests for all cameras together, and four listings. If each
		// camera asked for itself, there would be 300.
		if n, r := all.Load(), reads.Load(); n == 0 || n > 140 || r > 0 {
			t.Errorf("in a minute 8 idle cameras cause %d requests and %d reads", n, r)
		}
	})
}
