package secrets

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/framelog/framelog/schemas"
)

// canary is in every literal password here: no error may repeat it.
const canary = "c4n4ry"

// ofFile is a camera of a configuration file, which may refer to all secrets.
func ofFile(t *testing.T, url string) schemas.Camera {
	t.Helper()
	cam := schemas.Camera{ID: "door", URL: url, Source: schemas.SourceFile}
	if _, err := Split(&cam, schemas.Camera{}); err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	return cam
}

// password returns the password that Split found in a URL.
func password(typed []Typed) string {
	if len(typed) == 0 {
		return ""
	}
	return typed[0].Password
}

// typed are URLs as somebody types them.
var typed = []struct {
	url  string
	want error // of Split; nil: taken
}{
	{"rtsp://10.0.0.5/", nil},
	{"rtsp://10.0.0.5:554/stream1?channel=1&subtype=0", nil},
	{"rtsps://cam.example:322/live", nil},
	{"RTSP://cam.example/live", nil},
	{"rtsp://[2001:db8::1]:554/live", nil},
	{"rtsp://viewer:${FRAMELOG_SECRET_FRONT_DOOR}@10.0.0.5:554/stream1", nil},
	{"rtsp://${FRAMELOG_SECRET_USER}:${file:front-door}@10.0.0.5", nil},
	{"rtsp://${file:front-door}@10.0.0.5/", nil},
	{"rtsp://viewer@10.0.0.5/", nil},
	{"rtsp://viewer:@10.0.0.5/", nil},
	{"rtsp://a@b:${file:x}@10.0.0.5/", nil},
	{"rtsp://10.0.0.5:554/live@main", nil},
	{"rtsp://10.0.0.5/?x=a:b@c", nil},
	{"rtsp://10.0.0.5?x=a:b@c", nil},
	{"rtsp://camera/?x=a:b@c", nil},
	{"rtsp://[2001:db8::1]:554/live@main", nil},
	{"rtsp://localhost:8554/live@main", nil},
	{"rtsp://cam.example/#a:b@c", nil},
	{"rtsp://viewer:${file:x}@camera:554/live@main", nil},
	{"rtsp://viewer@10.0.0.5:554/live@main", nil},
	{"rtsp://cam.example/live@main", nil},
	{"rtsp://viewer@cam.example/live@main", nil},
	{"rtsp://viewer:${file:x}@cam.example:554/live@main", nil},
	{"rtsp://cam.example:554/live%40main", nil},

	{"", errScheme},
	{"http://10.0.0.5/", errScheme},
	{"10.0.0.5", errScheme},
	{"rtsp:/10.0.0.5/", errScheme},
	{"rtsp://", errHost},
	{"rtsp:///path", errHost},
	{"rtsp://viewer:${file:x}@/path", errHost},
	{"rtsp://host:0/", errHost},
	{"rtsp://host:65536/", errHost},
	{"rtsp://host:/", errHost},
	{"rtsp://host/%zz", errHost},
	{"rtsp://ho st/", errSpace},
	{"rtsp://host/\x00", errSpace},
	{"rtsp://viewer:" + canary + "/x@host/", errAt},
	{"rtsp://viewer:12/" + canary + "@host/", errAt},
	{"rtsp://viewer:12#" + canary + "@host/", errAt},
	{"rtsp://viewer:12?" + canary + "@10.0.0.5:554/", errAt},
	{"rtsp://viewer:" + canary + "@" + canary + "/" + canary + "@10.0.0.5/", errAt},
	{"rtsp://viewer:${file:x}@:1/a@b", errAt},
	{"rtsp://john.doe:2024/" + canary + "@10.0.0.5/s", errAt},
	{"rtsp://john.doe:2024?" + canary + "@10.0.0.5/s", errAt},
	{"rtsp://john.doe:2024#" + canary + "@10.0.0.5/s", errAt},
	{"rtsp://ann@mail.example:2024/" + canary + "@10.0.0.5/s", errAt},
	{"rtsp://ann:" + canary + "@" + canary + ".x/" + canary + "@10.0.0.5/s", errAt},
	{"rtsp://ann:" + canary + "@1.2:34/" + canary + "@10.0.0.5/s", errAt},
	{"rtsp://viewer:" + canary + "/x", errHost},
	{"rtsp://viewer:" + canary + "${file:x}@host/", errMixed},
	{"rtsp://viewer:${file:x}" + canary + "@host/", errMixed},
	{"rtsp://viewer:${file:x}${file:y}@host/", errMixed},
	{"rtsp://viewer:${file:x@host/", errReference},
	{"rtsp://viewer:${" + canary + "}@host/", errReference},
	{"rtsp://viewer:${HOME}@host/", errReference},
	{"rtsp://viewer:${FRAMELOG_SECRET_}@host/", errReference},
	{"rtsp://viewer:${file:}@host/", errReference},
	{"rtsp://viewer:${file:.}@host/", errReference},
	{"rtsp://viewer:${file:..}@host/", errReference},
	{"rtsp://viewer:${file:../etc/passwd}@host/", errReference},
	{"rtsp://viewer:${file:a/b}@host/", errReference},
	{"rtsp://${FRAMELOG_SECRET_HOST}/", errElsewhere},
	{"rtsp://u:${file:x}@${file:y}/", errElsewhere},
	{"rtsp://host/#${FRAMELOG_SECRET_X}", errElsewhere},
	{"rtsp://host:${file:x}/", errElsewhere},
	{"rtsp://host${file:x}/", errElsewhere},
	{"rtsp://${file:x}?a", errElsewhere},
	{"rtsp://host\\${file:x}/", errElsewhere},

	{"rtsp://host/?key=${FRAMELOG_SECRET_X}", nil},
	{"rtsps://host:7441/${file:door}?enableSrtp", nil},
	{"rtsp://host/user=admin&password=${file:door}&channel=1&stream=0.sdp?real_stream", nil},
	{"rtsp://host/user=admin_password=${file:door}_channel=1_stream=0.sdp?real_stream", nil},
	{"rtsp://host/user=admin&password=&channel=1", nil},
	{"rtsp://host/11?user=${FRAMELOG_SECRET_U}&pwd=${FRAMELOG_SECRET_P}", nil},
	{"rtsp://host?pwd=${file:door}", nil},
	{"rtsp://u:${file:door}@host/?pwd=${file:door}", nil},
	{"rtsp://host/compass=1&bypass=2&pw1=3", nil},
	{"rtsp://host/?pwd=${file:x}" + canary, errMixed},
	{"rtsp://host/?pwd=${file:door}&pass=" + canary, errTwo},
	{"rtsp://host/?pwd=${file:door", errReference},
	{"rtsp://host/?pwd=${" + canary + "}", errReference},
	{"rtsp://host/${file:../x}", errReference},
	{"rtsp://host/?a#b${file:door}", errElsewhere},

	{"rtsp://u:" + canary + "@h/?pwd=other", errTwo},
	{"rtsp://h/?pwd=" + canary + "&token=other", errTwo},
	{"rtsp://u:${file:door}@h/?pwd=" + canary, errTwo},
	{"rtsp://u:" + canary + "@h/?pwd=${file:door}", errTwo},
	{"rtsp://h:554/?pwd=" + canary + "@" + canary, errAt},
	{"rtsp://u:" + canary + "?" + canary + "@h/p", errAt},
	{"rtsp://u:1#" + canary + "@h/p", errAt},
	{"rtsp://h/?pwd=" + canary + "${file:gate}", errMixed},
	{"rtsp://h/?pwd=***", errMasked},
	{"rtsp://***@h/", errMasked},
	{"rtsp://u:***@h/", errMasked},
	{"rtsp://u:" + canary + "@", errHost},
	{"rtsp://u:" + canary + "@h:x/", errHost},
	{"rtsp://u s:" + canary + "@h/", errSpace},
}

func TestSplitRefuses(t *testing.T) {
	for _, tt := range typed {
		cam := schemas.Camera{ID: "door", URL: tt.url, Source: schemas.SourceFile}
		_, err := Split(&cam, schemas.Camera{})
		if !errors.Is(err, tt.want) {
			t.Errorf("Split(%q) = %v, want %v", tt.url, err, tt.want)
		}
		if err == nil {
			if err := Check(cam); err != nil {
				t.Errorf("Split(%q) gives %+v: %v", tt.url, cam, err)
			}
			continue
		}
		if strings.Contains(err.Error(), canary) || !strings.HasPrefix(err.Error(), "url: ") || cam.URL != tt.url {
			t.Errorf("Split(%q): %v, and %+v", tt.url, err, cam)
		}
	}
	if _, err := Split(&schemas.Camera{ID: "No Id", URL: "rtsp://u:p@h/"}, schemas.Camera{}); err == nil {
		t.Error("a bad id was taken")
	}
}

// TestCheck: what may stand in the registry, whoever has made the record.
func TestCheck(t *testing.T) {
	type camera = schemas.Camera
	for _, tt := range []struct {
		cam  camera
		file bool   // a record of a file may stand there
		api  string // "": one of the API too
	}{
		{camera{URL: "rtsp://h/"}, true, ""},
		{camera{URL: "rtsp://cam.example:2024/x@y", User: "u", Password: "${file:door}"}, true, ""},
		{camera{URL: "rtsp://h/", User: "u", Password: "${file:door}"}, true, ""},
		{camera{URL: "rtsp://h/", User: "${file:door}"}, true, ""},
		{camera{URL: "rtsp://h/", User: "${file:door}", Password: "${file:door}"}, true, ""},
		{camera{URL: "rtsp://h/?pwd=${file:door}"}, true, ""},
		{camera{URL: "rtsp://h/", User: "u", Password: "${file:gate}"}, true, "${file:door} only"},
		{camera{URL: "rtsp://h/", User: "u", Password: "${FRAMELOG_SECRET_DOOR}"}, true, "${file:door} only"},
		{camera{URL: "rtsp://h/", User: "${file:gate}", Password: "${file:door}"}, true, "${file:door} only"},
		{camera{URL: "rtsp://h/", User: "${FRAMELOG_SECRET_DOOR}"}, true, "${file:door} only"},
		{camera{URL: "rtsp://h/?pwd=${file:gate}"}, true, "${file:door} only"},
		{camera{URL: "rtsp://h/${FRAMELOG_SECRET_DOOR}"}, true, "${file:door} only"},
		{camera{URL: "rtsp://h/${file:gate}", User: "u", Password: "${file:door}"}, true, "${file:door} only"},

		{camera{URL: "framelog://yard/raw?from=2026-01-31T08:00:00Z&to=2026-01-31T08:05:00Z"}, true, ""},

		{camera{URL: "framelog://yard"}, false, "from or to is missing"},
		{camera{URL: "framelog://yard/raw?from=2026-01-31T08:00:00Z&to=2026-01-31T08:05:00Z", User: "u"}, false, "neither user nor password"},
		{camera{URL: "framelog://yard/raw?from=2026-01-31T08:00:00Z&to=2026-01-31T08:05:00Z&run=${file:door}"}, false, "malformed"},
		{camera{URL: "http://h/"}, false, "rtsp:// or rtsps://"},
		{camera{URL: "rtsp://u:" + canary + "@h/"}, false, "in plain text"},
		{camera{URL: "rtsp://u:${file:door}@h/"}, false, "in plain text"},
		{camera{URL: "rtsp://h/", User: "u", Password: canary}, false, "in plain text"},
		{camera{URL: "rtsp://h/", User: "u", Password: "${file:door}" + canary}, false, "in plain text"},
		{camera{URL: "rtsp://h/", User: canary + "${file:door}"}, false, "not both mixed"},
		{camera{URL: "rtsp://h/", User: "u\n"}, false, "control character"},
		{camera{URL: "rtsp://h:x/"}, false, "malformed"},
		{camera{URL: "rtsp://u:2024/" + canary + "@h/"}, false, "percent-encode"},
		{camera{URL: "rtsp://${file:door}/"}, false, "a reference"},
		{camera{URL: "rtsp://h/?pwd=" + canary}, false, "in plain text"},
		{camera{URL: "rtsp://h/?pwd=${file:door}" + canary}, false, "in plain text"},
		{camera{URL: "rtsp://h/user=admin_password=" + canary + "_channel=1_stream=0.sdp"}, false, "in plain text"},
		{camera{URL: "rtsp://h/user%3Dadmin%26password%3D" + canary + "%26channel%3D1"}, false, "in plain text"},
		{camera{URL: "rtsp://h/11?user=admin&loginpas=" + canary}, false, "in plain text"},
		{camera{URL: "rtsp://h/11?PASS=" + canary}, false, "in plain text"},
		{camera{URL: "rtsp://h/a/passwd=" + canary + "/b"}, false, "in plain text"},
		{camera{URL: "rtsp://h/?token=" + canary}, false, "in plain text"},
		{camera{URL: "rtsp://h/?userPassword=" + canary}, false, "in plain text"},
	} {
		for _, source := range []string{schemas.SourceFile, schemas.SourceAPI} {
			cam, want := tt.cam, tt.api
			cam.ID, cam.Source = "door", source
			if source == schemas.SourceFile && tt.file {
				want = ""
			}
			err := Check(cam)
			if (err != nil) != (want != "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), canary)) {
				t.Errorf("Check(%+v) = %v, want %q", cam, err, want)
			}
		}
	}
}

// splits are typed URLs that are taken. record is Join of what Split makes of them.
var splits = []struct{ url, record, password string }{
	{"rtsp://h/p", "rtsp://h/p", ""},
	{"rtsp://u@h/p", "rtsp://u@h/p", ""},
	{"rtsp://u:@h/p", "rtsp://u@h/p", ""},
	{"rtsp://u:pw@h:554/p?a=b", "rtsp://u:${file:door}@h:554/p?a=b", "pw"},
	{"rtsp://u:p@s:w%d@h/p", "rtsp://u:${file:door}@h/p", "p@s:w%d"},
	{"rtsp://u:p%40s%2Fs%3Aw%3Fo%23r%25d@h/p", "rtsp://u:${file:door}@h/p", "p@s/s:w?o#r%d"},
	{"rtsp://10.0.0.5:554/live@main", "rtsp://10.0.0.5:554/live@main", ""},
	{"rtsp://10.0.0.5:554?x=a:b@c", "rtsp://10.0.0.5:554?x=a:b@c", ""},
	{"rtsp://u:pw@10.0.0.5:554/live@main?a:b@c", "rtsp://u:${file:door}@10.0.0.5:554/live@main?a:b@c", "pw"},
	{"rtsp://u:p@w@10.0.0.5/a@b", "rtsp://u:${file:door}@10.0.0.5/a@b", "p@w"},
	{"rtsp://u:p%40ss@h/p", "rtsp://u:${file:door}@h/p", "p@ss"},
	{"rtsp://u:100%@h/p", "rtsp://u:${file:door}@h/p", "100%"},
	{"rtsp://:pw@h/p", "rtsp://:${file:door}@h/p", "pw"},
	{"rtsp://u:${file:door}@h/p", "rtsp://u:${file:door}@h/p", ""},
	{"rtsp://u:${FRAMELOG_SECRET_X}@h/p", "rtsp://u:${FRAMELOG_SECRET_X}@h/p", ""},

	{"rtsp://h/user=admin&password=pw&channel=1&stream=0.sdp?real_stream", "rtsp://h/user=admin&password=${file:door}&channel=1&stream=0.sdp?real_stream", "pw"},
	{"rtsp://h/user=admin_password=p_w_channel=1_stream=0.sdp?x", "rtsp://h/user=admin_password=${file:door}_channel=1_stream=0.sdp?x", "p_w"},
	{"rtsp://h/user%3Da%26password%3Dpw%26channel%3D1", "rtsp://h/user%3Da%26password%3D${file:door}%26channel%3D1", "pw"},
	{"rtsp://h/11?user=a&pwd=p%26w%40+/?&b=c", "rtsp://h/11?user=a&pwd=${file:door}&b=c", "p&w@+/?"},
	{"rtsp://h/user=a&password=p@w&c=1", "rtsp://h/user=a&password=${file:door}&c=1", "p@w"},
	{"rtsp://h/11?auth=YWI6Yw==#x", "rtsp://h/11?auth=${file:door}#x", "YWI6Yw=="},
	{"rtsp://h/11?pwd=100%&b", "rtsp://h/11?pwd=${file:door}&b", "100%"},
	{"rtsp://u:pw@h/?pwd=pw", "rtsp://u:${file:door}@h/?pwd=${file:door}", "pw"},
	{"rtsp://u:${file:gate}@h/?pwd=pw", "rtsp://u:${file:gate}@h/?pwd=${file:door}", "pw"},
	{"rtsp://h/?user=a&pwd=&b", "rtsp://h/?user=a&pwd=&b", ""},
	{"rtsp://h/?pwd=${file:door}", "rtsp://h/?pwd=${file:door}", ""},
	{"rtsp://u:p w@h/p", "rtsp://u:${file:door}@h/p", "p w"},
	{"rtsp://u%20v:pw@h/p", "rtsp://u%20v:${file:door}@h/p", "pw"},
	{"rtsp://h/?pwd=p w&x=1", "rtsp://h/?pwd=${file:door}&x=1", "p w"},
	{"RTSP://u%40x:pw@h/p", "rtsp://u%40x:${file:door}@h/p", "pw"},
	{"rtsp://a@b:pw@h/p", "rtsp://a%40b:${file:door}@h/p", "pw"},
	{"rtsp://100%:pw@h/p", "rtsp://100%25:${file:door}@h/p", "pw"},
	{"rtsp://${file:both}@h/p", "rtsp://${file:both}@h/p", ""},
	{"rtsp://u:pw@" + "c4n4ry@h/", "rtsp://u:${file:door}@h/", "pw@c4n4ry"},
}

func TestSplit(t *testing.T) {
	for _, tt := range splits {
		cam := schemas.Camera{ID: "door", Source: schemas.SourceFile, URL: tt.url}
		typed, err := Split(&cam, schemas.Camera{})
		if err != nil || Join(cam) != tt.record || password(typed) != tt.password {
			t.Errorf("Split(%q) = %+v (%q), %v, %v", tt.url, cam, Join(cam), typed, err)
		}
		if again := ofFile(t, Join(cam)); again != cam {
			t.Errorf("%+v joined and split is %+v", cam, again)
		}
	}
}

// TestSplitOfShown: *** stands for user and password of the camera as it was, if
// they stay with their host and port.
func TestSplitOfShown(t *testing.T) {
	old := ofFile(t, "rtsp://u:${file:x}@Cam.example/live?a=b")
	for _, tt := range []struct {
		shown, want, password string // want is Join
		old                   schemas.Camera
		fails                 error
	}{
		{shown: Public(old).URL, old: old, want: Join(old)},
		{shown: "rtsp://***@cam.example:554/other@x?c", old: old, want: "rtsp://u:${file:x}@cam.example:554/other@x?c"},
		{shown: "rtsp://***@cam.example/?pwd=new", old: old, want: "rtsp://u:${file:x}@cam.example/?pwd=${file:door}", password: "new"},
		{shown: "rtsp://***@cam.example/?pwd=new", old: ofFile(t, "rtsp://u:${file:door}@cam.example/"), fails: errTwo},
		{shown: "rtsp://***@cam.example:555/live", old: old, fails: errMoved},
		{shown: "rtsps://***@cam.example/live", old: old, fails: errMoved}, // port 322
		{shown: "rtsp://***@evil.example/live", old: old, fails: errMoved},
		{shown: "rtsp://***@cam.example:x/live", old: old, fails: errHost},
		{shown: "rtsp://***@cam.example/", old: ofFile(t, "rtsp://cam.example/"), fails: errMasked},
		{shown: "rtsp://u:***@cam.example/", old: old, fails: errMasked},
		{shown: "rtsp://v:new@evil.example/", old: old, want: "rtsp://v:${file:door}@evil.example/", password: "new"},
		{shown: "rtsp://cam.example/", old: old, want: "rtsp://cam.example/"},
		{shown: "http://***@cam.example/", old: old, fails: errScheme},
	} {
		cam := schemas.Camera{ID: "door", URL: tt.shown}
		typed, err := Split(&cam, tt.old)
		if !errors.Is(err, tt.fails) || err == nil && (Join(cam) != tt.want || password(typed) != tt.password) {
			t.Errorf("Split(%q) = %q, %v, %v, want %q, %v", tt.shown, Join(cam), typed, err, tt.want, tt.fails)
		}
	}
}

// TestSplitTwo: each of two streams has its own user and password, as if it were alone.
func TestSplitTwo(t *testing.T) {
	const ref = "${file:door}"
	old := schemas.Camera{ID: "door", URL: "rtsp://h/1", User: "u", Password: ref}
	oldToo := old.WithSub(schemas.Camera{URL: "rtsp://g/2", User: "v", Password: ref})
	for _, tt := range []struct {
		url, sub             string
		old                  schemas.Camera
		want, wantSub, keeps string // Join, and host=password of those that are to be kept
		fails                string
	}{
		{url: "rtsp://u:a@h/1", sub: "rtsp://u:a@h/2", want: "rtsp://u:" + ref + "@h/1", wantSub: "rtsp://u:" + ref + "@h/2", keeps: "h:554=a h:554=a"},
		{url: "rtsp://u:a@h/1", sub: "rtsp://v:b@g/2", want: "rtsp://u:" + ref + "@h/1", wantSub: "rtsp://v:" + ref + "@g/2", keeps: "h:554=a g:554=b"},
		{url: "rtsp://h/1", sub: "rtsp://h/2?pwd=b", want: "rtsp://h/1", wantSub: "rtsp://h/2?pwd=" + ref, keeps: "h:554=b"},
		{url: "rtsp://h/1", sub: "rtsp://h/2", want: "rtsp://h/1", wantSub: "rtsp://h/2"},
		{url: "rtsp://***@h/1", sub: "rtsp://***@g/2", old: oldToo, want: "rtsp://u:" + ref + "@h/1", wantSub: "rtsp://v:" + ref + "@g/2"},
		{url: "rtsp://***@h/1", sub: "rtsp://***@h/2", old: old, want: "rtsp://u:" + ref + "@h/1", wantSub: "rtsp://u:" + ref + "@h/2"},
		{url: "rtsp://u:a@h/1", sub: "rtsp://***@h/2", want: "rtsp://u:" + ref + "@h/1", wantSub: "rtsp://u:" + ref + "@h/2", keeps: "h:554=a"},
		{url: "rtsp://***@h/1", sub: "rtsp://***@h/2", old: oldToo, fails: "substream: " + errMoved.Error()},
		{url: "rtsp://u:a@h/1", sub: "rtsp://***@g/2", fails: "substream: " + errMoved.Error()},
		{url: "rtsp://u:" + canary + "@h/1", sub: "rtsp://u:" + canary + "2@h/2", fails: "substream: " + errTwo.Error()},
		{url: "rtsp://h/1", sub: "http://h/2", fails: "substream: " + errScheme.Error()},
		{url: "rtsp://h/1", sub: "framelog://yard?from=2026-11-29T00:00:00Z&to=2026-11-29T01:00:00Z&run=x", fails: "substream: "},
	} {
		cam := schemas.Camera{ID: "door", URL: tt.url, Substream: tt.sub}
		typed, err := Split(&cam, tt.old)
		if tt.fails != "" {
			if err == nil || !strings.HasPrefix(err.Error(), tt.fails) || strings.Contains(err.Error(), canary) {
				t.Errorf("%s and %s: %v, want %s", tt.url, tt.sub, err, tt.fails)
			}
			continue
		}
		var keeps []string
		for _, x := range typed {
			keeps = append(keeps, site(x.For.URL)+"="+x.Password)
		}
		streams := cam.Streams()
		if err != nil || Join(streams[0]) != tt.want || Join(streams[1]) != tt.wantSub || strings.Join(keeps, " ") != tt.keeps {
			t.Errorf("%s and %s: %+v, to keep %q, %v", tt.url, tt.sub, streams, keeps, err)
		}
		if err := Check(cam); err != nil {
			t.Errorf("%s and %s: %v", tt.url, tt.sub, err)
		}
		if public := Public(cam); strings.Contains(public.URL+public.Substream, ref+"@") {
			t.Errorf("%s and %s are shown as %s and %s", tt.url, tt.sub, public.URL, public.Substream)
		}
	}
}

func TestSite(t *testing.T) {
	for url, want := range map[string]string{
		"rtsp://u:${file:x}@Cam.example/a": "cam.example:554", "rtsps://cam.example?b": "cam.example:322",
		"rtsp://cam.example:8554": "cam.example:8554", "rtsp://[2001:DB8::1]/a@b": "[2001:db8::1]:554",
	} {
		if got := site(ofFile(t, url).URL); got != want {
			t.Errorf("site of %q is %q, want %q", url, got, want)
		}
	}
}

// FuzzSplit holds Split, Check, Join, Resolve and Shown to each other.
func FuzzSplit(f *testing.F) {
	for _, tt := range typed {
		f.Add(tt.url)
	}
	for _, tt := range splits {
		f.Add(tt.url)
	}
	const secret = `s/3@c:r#3?t%&;\ [x]+${file:x}`
	f.Fuzz(func(t *testing.T, raw string) {
		cam := schemas.Camera{ID: "door", URL: raw, Source: schemas.SourceFile}
		if _, err := Split(&cam, schemas.Camera{}); err != nil {
			return
		}
		if err := Check(cam); err != nil {
			t.Fatalf("split into %+v: %v", cam, err)
		}
		again := cam
		again.URL, again.User, again.Password = Join(cam), "", ""
		if p, err := Split(&again, schemas.Camera{}); err != nil || len(p) > 0 || again != cam {
			t.Fatalf("%+v joined is %q, and split %+v, %v, %v", cam, Join(cam), again, p, err)
		}
		// What a secret holds changes neither the host nor how many values there are.
		fillWith := func(v string) shape {
			values := make(map[string]string)
			for _, ref := range references(cam) {
				values[ref] = v
			}
			filled := fill(cam.URL, values)
			if strings.Contains(filled, "${") {
				t.Errorf("a reference is left in %q", filled)
			}
			s, err := parse(filled)
			if err != nil {
				t.Errorf("%q: %v", filled, err)
			}
			return s
		}
		if a, b := fillWith(secret), fillWith("x"); a != b {
			t.Errorf("%+v and %+v", a, b)
		}
		r := Resolver{LookupEnv: func(string) (string, bool) { return secret, true }, Cameras: []schemas.Camera{cam}}
		if _, err := r.Resolve(t.Context(), cam); err != nil && !strings.Contains(err.Error(), "${file:") {
			t.Errorf("taken, and then: %v", err)
		}
		if Shown(cam) == "" || strings.Contains(Shown(cam), secret) {
			t.Errorf("shown as %q", Shown(cam))
		}
	})
}

// shape is what a URL is made of.
type shape struct {
	scheme, host                         string
	slashes, ands, semicolons, questions int
	fragment                             string
}

func parse(raw string) (shape, error) {
	u, err := url.Parse(raw)
	if err != nil || u.User != nil {
		return shape{}, fmt.Errorf("user %v: %w", u.User != nil, err)
	}
	n := func(sep string) int { return strings.Count(raw, sep) }
	return shape{u.Scheme, u.Host, n("/"), n("&"), n(";"), n("?"), u.Fragment}, nil
}
