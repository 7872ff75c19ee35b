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
