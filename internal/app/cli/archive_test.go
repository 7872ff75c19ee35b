package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// recorded is a log with fragments.
type recorded []testmedia.Fragment

func (f recorded) Entries(context.Context, schemas.Topic, medialog.Range) iter.Seq2[schemas.Entry, error] {
	return nil
}

func (f recorded) Chunks(_ context.Context, _ schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	return f[e.Seq-f[0].Entry.Seq].All()
}

// archived makes an archive with ten seconds of the camera yard.
func archived(t *testing.T) (env *ArchiveEnv, out *bytes.Buffer, file string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "archive")
	topic := schemas.Topic{Camera: "yard"}
	f := recorded(testmedia.Synthetic(testmedia.Place{Seq: 7, Session: 1, Epoch: 3, Layout: testmedia.Layout, Start: testmedia.Start}, 10))
	var entries []schemas.Entry
	for i := range f {
		f[i].Entry.Life, f[i].Entry.Last = "life1", 9
		entries = append(entries, f[i].Entry)
	}
	if err := archive.Write(t.Context(), archive.Local(dir), f, topic, entries); err != nil {
		t.Fatal(err)
	}
	out = new(bytes.Buffer)
	return &ArchiveEnv{
		Dir: archive.Local(dir), Out: out, By: "anna@host", Now: func() time.Time { return testmedia.Start.Add(time.Hour) },
	}, out, filepath.Join(dir, archive.Path(topic, entries))
}

func all() seriesFlags { return seriesFlags{Camera: "*", Rendition: "*"} }

// list and verify say what there is, and what is damaged; that is a failure.
func TestArchiveCommands(t *testing.T) {
	env, out, file := archived(t)
	from, to := shownTime(testmedia.Start), shownTime(testmedia.Start.Add(10*time.Second))
	has := func(want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("%q lacks %q", out, w)
			}
		}
		out.Reset()
	}
	table, asJSON := outputFlag{"table"}, outputFlag{"json"}
	list := func(c *ArchiveListCmd) {
		t.Helper()
		if err := c.Run(t.Context(), env); err != nil {
			t.Fatal(err)
		}
	}
	list(&ArchiveListCmd{outputFlag: table, seriesFlags: all()})
	has("yard", "raw", from, to, " 1 ")
	list(&ArchiveListCmd{outputFlag: asJSON, seriesFlags: seriesFlags{"y*", "raw"}})
	has(`"camera": "yard"`, `"files": 1`, `"from": "`+from)
	list(&ArchiveListCmd{outputFlag: table, seriesFlags: seriesFlags{"gate", "*"}})
	has("nothing")
	during := spanFlags{From: Time(testmedia.Start.Add(9 * time.Second).Format(time.RFC3339)), To: Time(testmedia.Start.Add(time.Minute).Format(time.RFC3339))}
	list(&ArchiveListCmd{outputFlag: table, seriesFlags: all(), Files: true, spanFlags: during})
	has(from, to, file)
	list(&ArchiveListCmd{outputFlag: asJSON, seriesFlags: all(), Files: true, spanFlags: during})
	var listed []listedFile
	if err := json.Unmarshal(out.Bytes(), &listed); err != nil || len(listed) != 1 || listed[0].Path != file || listed[0].Camera != "yard" || !listed[0].From.Equal(testmedia.Start) {
		t.Errorf("%v: %+v", err, listed)
	}
	out.Reset()
	list(&ArchiveListCmd{outputFlag: table, seriesFlags: all(), Files: true, spanFlags: spanFlags{From: during.To}})
	has("nothing of that")

	// What stands beside the files can be made again of them.
	inits, err := filepath.Glob(filepath.Join(filepath.Dir(file), "init-*.mp4"))
	if err != nil || len(inits) != 1 {
		t.Fatal(inits, err)
	}
	if err := os.Remove(inits[0]); err != nil {
		t.Fatal(err)
	}
	if err := (&ArchiveReindexCmd{all()}).Run(t.Context(), env); err != nil {
		t.Error(err)
	}
	has("written: life1/yard/raw/"+filepath.Base(inits[0]), "renditions: 1.")

	verify := &ArchiveVerifyCmd{outputFlag: table, seriesFlags: all()}
	if err := verify.Run(t.Context(), env); err != nil {
		t.Error(err)
	}
	has("1 file read", "0 damaged")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := verify.Run(t.Context(), env); err == nil || !strings.Contains(err.Error(), "1 of 1 file") {
		t.Errorf("a damaged file: %v", err)
	}
	has("damaged: life1/yard/raw/7-16.mp4: ", "segment", "1 damaged")
	verify.Output = "json"
	if err := verify.Run(t.Context(), env); err == nil {
		t.Error("a damaged file is no failure")
	}
	var got verified
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || got.Files != 1 || len(got.Damaged) != 1 || got.Damaged[0].Path != "life1/yard/raw/7-16.mp4" {
		t.Errorf("%v: %s", err, out)
	}
	for name, c := range map[string]*ArchiveVerifyCmd{
		"a pattern": {seriesFlags: seriesFlags{"[", "*"}}, "a time": {seriesFlags: all(), spanFlags: spanFlags{From: "yesterday"}},
		"a range": {seriesFlags: all(), spanFlags: spanFlags{From: "-1m", To: "-2m"}},
	} {
		var usage *UsageError
		if err := c.Run(t.Context(), env); !errors.As(err, &usage) {
			t.Errorf("%s that is none: %v", name, err)
		}
	}
}

// A hold is added, listed and released. What nobody can read is listed too.
func TestHoldCommands(t *testing.T) {
	env, out, _ := archived(t)
	table, asJSON := &HoldCmd{Output: "table"}, &HoldCmd{Output: "json"}
	run := func(run func() error, want ...string) {
		t.Helper()
		out.Reset()
		if err := run(); err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("%q lacks %q", out, w)
			}
		}
	}
	list := func() error { return (&HoldListCmd{}).Run(t.Context(), env, table) }
	run(list, "no holds")
	add := &HoldAddCmd{Camera: "yard", From: "-2h", To: "-30m", Reason: "a\nburglary"}
	run(func() error { return add.Run(t.Context(), env, table) }, "yard, "+rangeText(testmedia.Start.Add(-time.Hour), testmedia.Start.Add(30*time.Minute)), "has "+shownTime(testmedia.Start))
	id := strings.TrimSuffix(strings.Fields(out.String())[1], ":")
	run(list, id, "yard", "all", "anna@host", "a burglary")

	broken := filepath.Join(env.Dir.String(), "holds", "x.json")
	if err := os.WriteFile(broken, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	run(list, broken, "whole archive is held", id)
	run(func() error { return (&HoldListCmd{}).Run(t.Context(), env, asJSON) }, `"reason": "a\nburglary"`, broken)
	for _, id := range []string{id, "x"} {
		run(func() error { return (&HoldReleaseCmd{ID: id}).Run(t.Context(), env, table) }, id+" is released")
	}
	run(list, "no holds")
	elsewhere := *env
	elsewhere.Dir = archive.Local(env.Dir.String() + "-none")
	for name, f := range map[string]func() error{
		"a hold that is released": func() error { return (&HoldReleaseCmd{ID: id}).Run(t.Context(), env, table) },
		"an archive":              func() error { return add.Run(t.Context(), &elsewhere, table) },
		"a camera": func() error {
			return (&HoldAddCmd{Camera: "..", From: "-2h", Reason: "x"}).Run(t.Context(), env, table)
		},
		"a reason": func() error { return (&HoldAddCmd{Camera: "yard", From: "-2h"}).Run(t.Context(), env, table) },
		"a range": func() error {
			return (&HoldAddCmd{Camera: "yard", From: "-1h", To: "-1h", Reason: "x"}).Run(t.Context(), env, table)
		},
	} {
		var usage *UsageError
		if err := f(); !errors.As(err, &usage) {
			t.Errorf("%s that is none: %v", name, err)
		}
	}
}
