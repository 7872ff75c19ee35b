package upgrade

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// This version serves what an earlier one has recorded: the same fragments, bytes, events,
// cameras and users. It goes on recording where that one was killed, and `framelog version
// --check` finds no problem.
func TestDataOfVersions(t *testing.T) {
	for _, version := range versions(t) {
		t.Run(version, func(t *testing.T) { readData(t, filepath.Join("testdata", version)) })
	}
}

func readData(t *testing.T, dir string) {
	b, err := os.ReadFile(filepath.Join(dir, "served.json"))
	var was served
	if err == nil {
		err = json.Unmarshal(b, &was)
	}
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "data")
	unpack(t, filepath.Join(dir, "data.tar.gz"), data)
	_, url := system.Camera(t, camsim.CameraConfig{Feed: system.Loop(t, clip)})
	f := testenv.Up(t, testenv.UpOptions{Data: data, Config: configuration})

	// The camera's URL is that of a server that is gone.
	f.Wait(t, 2*testenv.Patience, "the playlists", func() bool {
		return !slices.ContainsFunc(renditions, func(r string) bool { return playlist(t, f, r) == nil })
	})
	for _, r := range renditions {
		same(t, r, segments(t, f, playlist(t, f, r)), was.Segments[r])
	}
	if got := events(t, f, was.From, was.To); !reflect.DeepEqual(got, was.Events) {
		t.Errorf("events: %+v, want %+v", got, was.Events)
	}
	is := look(t, f)
	if !reflect.DeepEqual(is.Cameras, was.Cameras) || !reflect.DeepEqual(is.Users, was.Users) {
		t.Errorf("cameras and users: %+v, %+v, want %+v, %+v", is.Cameras, is.Users, was.Cameras, was.Users)
	}

	system.PutCamera(t, f.URL, camera, `{"label": "The yard", "url": "`+url+`"}`)
	session := was.Segments["raw"][len(was.Segments["raw"])-1].Session + 1
	for _, r := range renditions {
		f.Wait(t, 3*testenv.Patience, "new segments of "+r, func() bool {
			m := playlist(t, f, r)
			return m != nil && len(m.Segments) > 0 && m.Segments[len(m.Segments)-1].DiscSeq == session
		})
		all := segments(t, f, playlist(t, f, r))
		same(t, r, all, was.Segments[r])
		for i := 1; i < len(all); i++ {
			if all[i].Seq != all[i-1].Seq+1 {
				t.Errorf("%s: segment %d follows %d", r, all[i].Seq, all[i-1].Seq)
			}
		}
	}

	said := string(command(t, f, "", "version", "--check"))
	for _, want := range []string{"cameras: 2 records", "users: ", "group framelog-ingest: 1 process, stable", "group framelog-process-motion: 1 process, stable", "may run beside"} {
		if !strings.Contains(said, want) {
			t.Errorf("framelog version --check lacks %q:\n%s", want, said)
		}
	}
}

// same checks that the segments of want are among got, and equal.
func same(t *testing.T, rendition string, got, want []segment) {
	t.Helper()
	i := slices.IndexFunc(got, func(s segment) bool { return s.Seq == want[0].Seq })
	if i < 0 || len(got)-i < len(want) {
		t.Fatalf("%s: segments\n%+v\nlack\n%+v", rendition, got, want)
	}
	for k, w := range want {
		if got[i+k] != w {
			t.Errorf("%s: %+v, want %+v", rendition, got[i+k], w)
		}
	}
}
