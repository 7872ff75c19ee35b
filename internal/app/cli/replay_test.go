package cli

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// footage is a log: camera yard has ten fragments of a second each, which end ten seconds
// before now. The camera "test" has copies of the first `copied` ones.
type footage struct {
	reg    *fakeRegistry
	copied atomic.Int64
	served string // address of --rtsp
	looks  func() // called when somebody looks at the copies; may be nil
}

func (f *footage) entries(t schemas.Topic) (out []schemas.Entry, err error) {
	n := int64(10)
	switch {
	case t.Camera == "test":
		n = f.copied.Load()
	case t.Camera != "yard":
		return nil, medialog.ErrNoTopic
	}
	for i := range n {
		e := schemas.Entry{Kind: schemas.KindWhole, Seq: uint64(100 + i), Session: 1, Layout: schemas.Layout{Video: schemas.H264}, Media: i * schemas.MediaTimescale, Duration: schemas.MediaTimescale, Start: now.Add(time.Duration(i-20) * time.Second)}
		if t.Name() == "motion" {
			e.Layout = schemas.Layout{Data: schemas.JSON}
		}
		out = append(out, e)
	}
	return out, nil
}

func (f *footage) Entries(_ context.Context, t schemas.Topic, r medialog.Range) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		all, err := f.entries(t)
		if err != nil {
			yield(schemas.Entry{}, err)
		}
		for _, e := range all {
			if e.Seq >= r.FromSeq && (r.From.IsZero() || e.End().After(r.From)) && (r.To.IsZero() || e.Start.Before(r.To)) && !yield(e, nil) {
				return
			}
		}
	}
}

func (f *footage) Entry(_ context.Context, t schemas.Topic, seq uint64) (schemas.Entry, error) {
	all, _ := f.entries(t)
	return all[seq-100], nil
}

func (f *footage) Bounds(_ context.Context, t schemas.Topic) (oldest, newest schemas.Entry, err error) {
	if t.Camera == "test" && f.looks != nil {
		f.looks()
	}
	all, err := f.entries(t)
	if err != nil || len(all) == 0 {
		return oldest, newest, errors.Join(err, medialog.ErrNotFound)
	}
	return all[0], all[len(all)-1], nil
}

func (f *footage) Chunks(_ context.Context, _ schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	return func(yield func(*schemas.Chunk, error) bool) {
		r, err := schemas.ParseReplay(f.reg.Cameras["test"].URL)
		yield(&schemas.Chunk{Lineage: r.Lineage("cam.yard", e.Seq, 0)}, err)
	}
}

func replayOf(ctx context.Context, t *testing.T, f *footage, line string) (out string, err error) {
	t.Helper()
	var cmd ReplayCmd
	parser, err := kong.New(&cmd, kong.Exit(func(int) { t.Fatal("kong exits") }))
	if err != nil {
		t.Fatal(err)
	}
	k, err := parser.Parse(strings.Fields(line))
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	k.BindTo(ctx, (*context.Context)(nil))
	err = k.Run(&ReplayEnv{
		Connect: func(context.Context) (Registry, string, error) { return f.reg, "", nil },
		Store:   func() (medialog.Store, func(), error) { return f, func() {}, nil },
		RTSP: func(_ context.Context, addr string, _ schemas.Replay, _ medialog.Store, started func(string) error, problem func(string)) error {
			f.served = addr
			defer problem("a minute is left out")
			return errors.Join(started("rtsp://there"), ingest.ErrEnded)
		},
		Out: &b, Terminal: true, Every: time.Millisecond, Now: func() time.Time { return now },
	})
	return b.String(), err
}

func TestReplay(t *testing.T) {
	f := &footage{reg: full()}
	f.looks = func() { f.copied.Add(1) }
	out, err := replayOf(t.Context(), t, f, "yard --from -18.5s --to -1s --to-camera test --speed 2")
	if err != nil {
		t.Fatal(err)
	}
	cam := f.reg.Cameras["test"]
	r, err := schemas.ParseReplay(cam.URL)
	if err != nil {
		t.Fatal(err)
	}
	run := r.Run
	if r.Run = ""; r.URL() != "framelog://yard/raw?from=2030-01-02T03:03:46.5Z&to=2030-01-02T03:03:55Z&speed=2" || run == "" || cam.Source != schemas.SourceAPI || cam.Disabled || cam.Label != "Replay of yard" {
		t.Errorf("the camera is %+v", cam)
	}
	for _, want := range []string{
		"2030-01-02T03:03:46Z to 2030-01-02T03:03:55Z of yard, 9 fragments in 9s, becomes camera test. Ctrl-C stops it.\n",
		"\rtest: 2030-01-02T03:03:50Z, 44 %", "complete. The footage stays in camera test;",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %q:\n%q", want, out)
		}
	}

	// The same again is another run.
	f.copied.Store(0)
	f.reg.Status["test"] = schemas.Status{State: schemas.StateEnded}
	if _, err := replayOf(t.Context(), t, f, "yard --from -18.5s --to -1s --to-camera test --fast"); err != nil {
		t.Fatal(err)
	}
	if again, err := schemas.ParseReplay(f.reg.Cameras["test"].URL); err != nil || again.Run == run || again.Speed != 0 {
		t.Errorf("again: %+v, %v", again, err)
	}
}

// A replay that is stopped goes on later as the same run.
func TestReplayStopsAndGoesOn(t *testing.T) {
	f := &footage{reg: full()}
	ctx, cancel := context.WithCancel(t.Context())
	f.looks = func() {
		if f.copied.Add(1) == 5 {
			cancel()
		}
	}
	out, err := replayOf(ctx, t, f, "yard --from -20s --to -1s --to-camera test")
	if err != nil || !f.reg.Cameras["test"].Disabled || !strings.Contains(out, "framelog replay --resume --to-camera test\n") {
		t.Fatalf("%v, %+v\n%s", err, f.reg.Cameras["test"], out)
	}
	url := f.reg.Cameras["test"].URL
	out, err = replayOf(t.Context(), t, f, "--resume --to-camera test")
	if cam := f.reg.Cameras["test"]; err != nil || cam.Disabled || cam.URL != url || !strings.Contains(out, "complete.") {
		t.Fatalf("%v, %+v\n%s", err, cam, out)
	}
}

func TestReplayRefuses(t *testing.T) {
	running := schemas.Camera{ID: "test", URL: "framelog://yard/raw?from=2030-01-02T03:00:00Z&to=2030-01-02T03:04:00Z", Source: schemas.SourceAPI}
	for _, c := range []struct{ line, want string }{
		{"yard --from -18s --to-camera Test", "--to-camera: camera id"},
		{"yard --from -18s", "--to-camera"},
		{"--from -18s --to-camera t", "camera is missing"},
		{"yard --to-camera t", "--from is missing"},
		{"yard --from --to -1s --to-camera t", "want a time"},
		{"yard --from yesterday --to-camera t", `--from: "yesterday" is no time`},
		{"yard --from -18s --to 2030-01-02T03:05:00Z --to-camera t", "in the future"},
		{"yard --from -1s --to -18s --to-camera t", "not before"},
		{"yard --from -18s --fast --loop --to-camera t", "without end"},
		{"yard --from -18s --fast --speed 2 --to-camera t", "speed"},
		{"yard --from -18s --speed 0 --to-camera t", "0.01 to 1000"},
		{"yard --from -18s --to-camera yard", "its own footage"},
		{"attic --from -18s --to-camera t", "nothing of attic is there"},
		{"yard --from -1h --to -30m --to-camera t", "yard has footage from 2030-01-02T03:03:45Z to 2030-01-02T03:03:55Z"},
		{"yard --rendition motion --from -18s --to-camera t", "has no pictures"},
		{"yard --from -18s --to-camera front-door", "is no replay"},
		{"yard --from -18s --to-camera garage", "kept by"},
		{"yard --from -18s --to-camera test", "--replace ends it"},
		{"yard --from -18s --rtsp :1 --to-camera t", "--rtsp"},
		{"yard --from -18s --rtsp nonsense", "is no address"},
		{"yard --from -18s --rtsp 0.0.0.0:8554", "without a password"},
		{"yard --from -18s --rtsp :8554 --fast", "no limit"},
		{"--resume --rtsp :8554", "belong to --to-camera"},
		{"--resume --to-camera front-door", `there is no replay "front-door"`},
		{"yard --resume --to-camera test", "leave camera"},
	} {
		f := &footage{reg: full()}
		f.reg.Cameras["test"] = running
		f.reg.Status["test"] = schemas.Status{State: schemas.StateLive}
		if _, err := replayOf(t.Context(), t, f, c.line); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.line, err, c.want)
		}
		if f.reg.Cameras["test"] != running || len(f.reg.Cameras) != len(full().Cameras)+1 {
			t.Errorf("%s: has changed the cameras", c.line)
		}
	}

	// What ingest refuses is told.
	f := &footage{reg: full()}
	f.reg.Status["test"] = schemas.Status{State: schemas.StateRefused, Error: "a lower speed", Updated: now}
	if _, err := replayOf(t.Context(), t, f, "yard --from -18s --to-camera test"); err == nil || !strings.Contains(err.Error(), "test: a lower speed") {
		t.Errorf("refused by ingest: %v", err)
	}
}

// Other software gets the footage by RTSP; no camera is added.
func TestReplayByRTSP(t *testing.T) {
	for line, addr := range map[string]string{
		"yard --from -18s --rtsp :8554": "127.0.0.1:8554", "yard --from -18s --rtsp [::1]:8554": "[::1]:8554", "yard --from -18s --rtsp 0.0.0.0:8554 --insecure": "0.0.0.0:8554",
	} {
		f := &footage{reg: full()}
		out, err := replayOf(t.Context(), t, f, line)
		if err != nil || f.served != addr || out != "rtsp://there has 2030-01-02T03:03:47Z to 2030-01-02T03:03:55Z of yard. It begins when the first client plays. Ctrl-C stops it.\na minute is left out.\ncomplete.\n" || len(f.reg.Cameras) != len(full().Cameras) {
			t.Errorf("%s: at %s, %v\n%s", line, f.served, err, out)
		}
	}
}
