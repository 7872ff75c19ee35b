package hls

import (
	"testing"

	"github.com/framelog/framelog/schemas"
)

var paths = []struct {
	path string
	want resource
	ok   bool
}{
	{"/hls/cam-1/index.m3u8", resource{kind: kindMultivariant, topic: schemas.Topic{Camera: "cam-1"}}, true},
	{"/hls/cam/raw.m3u8", resource{kind: kindPlaylist, topic: schemas.Topic{Camera: "cam"}}, true},
	{"/hls/cam/720p.m3u8", resource{kind: kindPlaylist, topic: schemas.Topic{Camera: "cam", Rendition: "720p"}}, true},
	{"/hls/cam/720p/index.m3u8", resource{kind: kindMultivariant, topic: schemas.Topic{Camera: "cam", Rendition: "720p"}, alone: true}, true},
	{"/hls/cam/raw/index.m3u8", resource{kind: kindMultivariant, topic: schemas.Topic{Camera: "cam"}, alone: true}, true},
	{"/hls/cam/raw/m1/17.m4s", resource{kind: kindSegment, topic: schemas.Topic{Camera: "cam"}, seq: 17}, true},
	{"/hls/cam/raw/keyframes.m3u8", resource{kind: kindKeyframes, topic: schemas.Topic{Camera: "cam"}}, true},
	{"/hls/cam/raw/m1/17.key.m4s", resource{kind: kindKeyframe, topic: schemas.Topic{Camera: "cam"}, seq: 17}, true},
	{"/hls/cam/raw/m1/17.0.2.m4s", resource{kind: kindPart, topic: schemas.Topic{Camera: "cam"}, seq: 17, part: 2}, true},
	{"/hls/cam/raw/m1/init-0123456789abcdef.mp4", resource{kind: kindInit, topic: schemas.Topic{Camera: "cam"}, config: "0123456789abcdef"}, true},
	{path: "/hls/cam/raw/m1/init-0123456789ABCDEF.mp4"},
	{path: "/hls/cam/raw/m1/init-01.mp4"},
	{path: "/hls/cam/raw/m2/17.m4s"},
	{path: "/hls/cam/raw/m1/017.m4s"},
	{path: "/hls/cam/raw/m1/+17.m4s"},
	{path: "/hls/cam/raw/m1/17.1.m4s"},
	{path: "/hls/cam/raw/m1/17.1.2.3.m4s"},
	{path: "/hls/cam/raw/m1/17.-1.2.m4s"},
	{path: "/hls/cam/raw/m1/99999999999999999999.m4s"},
	{path: "/hls/cam/raw/0.m3u8"},
	{path: "/hls/cam/index/raw.m3u8"},
	{path: "/hls/cam/index/index.m3u8"},
	{path: "/hls/cam/720p/m1/index.m3u8"},
	{path: "/hls/cam/.m3u8"},
	{path: "/hls/cam/Raw.m3u8"},
	{path: "/hls/cam/raw/m1/17.key.key.m4s"},
	{path: "/hls/cam/keyframes.m3u8/keyframes.m3u8"},
	{path: "/hls/cam/raw"},
	{path: "/hls/../raw.m3u8"},
	{path: "/hls/CAM/index.m3u8"},
	{path: "/hls//index.m3u8"},
	{path: "/hls/cam"},
	{path: "/"},
	{path: ""},
}

func TestParsePath(t *testing.T) {
	for _, test := range paths {
		got, ok := parsePath(test.path)
		if ok != test.ok || ok && got != test.want {
			t.Errorf("%s: %+v, %v", test.path, got, ok)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, test := range paths {
		f.Add(test.path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		r, ok := parsePath(path)
		if ok && r.path() != path {
			t.Errorf("%q is read as %+v, whose path is %q", path, r, r.path())
		}
	})
}
