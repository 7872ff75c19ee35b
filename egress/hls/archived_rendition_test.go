package hls

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// archivedLog is a log with an archive behind it, which alone has one of the topics.
type archivedLog struct {
	*archiveLog
	gone schemas.Topic
}

func (l *archivedLog) Topics(ctx context.Context) ([]schemas.Topic, error) {
	all, err := l.fakeLog.Topics(ctx)
	return slices.DeleteFunc(all, func(t schemas.Topic) bool { return t == l.gone }), err
}

func (l *archivedLog) Variants(context.Context, string) ([]schemas.Topic, error) {
	return []schemas.Topic{l.gone}, nil
}

func (l *archivedLog) Kept(_ context.Context, t schemas.Topic) (bool, error) { return t == l.gone, nil }

// A rendition that has no topic any more, and that is archived, is there as past footage. It has no
// live playlist. One that is not archived either is not there.
func TestArchivedRendition(t *testing.T) {
	log := newFakeLog()
	f := testmedia.Synthetic(testPlace, 5)
	log.add("cam", f...)
	log.add("cam/720p", f...)
	s := run(t, Config{}, &archivedLog{&archiveLog{fakeLog: log, t: t, archive: func(uint64) bool { return false }}, topicOf("cam/720p")})
	segment := "/m1/" + strconv.FormatUint(f[2].Entry.Seq, 10) + ".m4s"
	for url, want := range map[string]int{
		"/hls/cam/720p.m3u8" + rangeQuery(0, 5):           http.StatusOK,
		"/hls/cam/720p/index.m3u8" + rangeQuery(0, 5):     http.StatusOK,
		"/hls/cam/720p/keyframes.m3u8" + rangeQuery(0, 5): http.StatusOK,
		"/hls/cam/720p" + segment:                         http.StatusOK,
		"/hls/cam/720p.m3u8":                              http.StatusNotFound,
		"/hls/cam/720p/index.m3u8":                        http.StatusNotFound,
		"/hls/cam/360p.m3u8" + rangeQuery(0, 5):           http.StatusNotFound,
		"/hls/cam/360p" + segment:                         http.StatusNotFound,
	} {
		w := get(s, url)
		if w.Code != want {
			t.Errorf("%s: %d %s", url, w.Code, w.Body)
		}
		if strings.HasSuffix(url, segment) && want == http.StatusOK && w.Body.String() != get(s, "/hls/cam/raw"+segment).Body.String() {
			t.Errorf("%s has other bytes", url)
		}
	}
}

// The multivariant playlist of a range lists a variant that only the archive has, to those who may
// watch it, and only where it has what the camera has: players do not go back to another variant
// where one ends. That of now does not list it.
func TestArchivedVariant(t *testing.T) {
	log := newFakeLog()
	f := testmedia.Synthetic(testPlace, 5)
	log.add("cam", f...)
	log.add("cam/360p", derived(f[1:], schemas.RoleVariant, 160)...)
	log.add("cam/720p", derived(f[:2], schemas.RoleVariant, 160)...)
	cfg := Config{MayWatch: func(r *http.Request, _, rendition string) bool {
		return rendition != "720p" || !r.URL.Query().Has("guest")
	}}
	s := run(t, cfg, &archivedLog{&archiveLog{fakeLog: log, t: t, archive: func(uint64) bool { return false }}, topicOf("cam/720p")})
	for url, want := range map[string][]string{
		rangeQuery(0, 2):              {"raw", "360p", "720p"},
		rangeQuery(0, 5):              {"raw", "360p"},
		rangeQuery(2, 5):              {"raw", "360p"},
		rangeQuery(0, 2) + "&guest=1": {"raw", "360p"},
		"":                            {"raw", "360p"},
	} {
		w := get(s, "/hls/cam/index.m3u8"+url)
		var got []string
		for _, uri := range streams(w.Body.String()) {
			name, _, _ := strings.Cut(uri, ".m3u8")
			got = append(got, name)
		}
		if w.Code != http.StatusOK || !slices.Equal(got, want) {
			t.Errorf("%s: %d, %v, want %v", url, w.Code, got, want)
		}
	}
}
