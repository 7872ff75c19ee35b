package hls

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// writers is a real log with a server that follows a camera.
type writers struct {
	t     *testing.T
	log   *medialog.Log
	admin *kadm.Client
	url   string // of the camera
	last  string // the last playlist
}

func newWriters(t *testing.T) *writers {
	connect, admin := newKafka(t)
	// As in life, the server has a client of its own: what it learns of topics that are not
	// there yet must not reach the writers.
	_, base := serve(t, Config{}, connect())
	return &writers{t: t, log: connect(), admin: admin, url: base + "/hls/cam/"}
}

func (w *writers) open(o medialog.OpenOptions) *medialog.Writer {
	o.Host, o.Reason = "h", "test"
	return w.log.Open(w.t.Context(), schemas.Topic{Camera: "cam"}, o)
}

func (w *writers) write(to *medialog.Writer, chunks ...*schemas.Chunk) {
	w.t.Helper()
	for _, c := range chunks {
		if err := to.Write(c); err != nil {
			w.t.Fatal(err)
		}
	}
}

// indexEnd returns the offset that the next entry of the index gets.
func (w *writers) indexEnd() int64 {
	w.t.Helper()
	end, err := w.log.IndexEnd(w.t.Context(), schemas.Topic{Camera: "cam"})
	if err != nil {
		w.t.Fatal(err)
	}
	return end
}

// wait waits for a playlist that contains each text.
func (w *writers) wait(texts ...string) {
	w.t.Helper()
	for _, text := range texts {
		for begin := time.Now(); !strings.Contains(w.last, text); _, w.last = fetch(w.t, w.url+"raw.m3u8") {
			if time.Since(begin) > 20*time.Second {
				w.t.Fatalf("no %q in\n%s", text, w.last)
			}
		}
	}
}

// firstSeq waits for the first playlist and returns its media sequence number.
func (w *writers) firstSeq() (seq uint64) {
	w.t.Helper()
	w.wait("#EXT-X-MEDIA-SEQUENCE:")
	_, rest, _ := strings.Cut(w.last, "#EXT-X-MEDIA-SEQUENCE:")
	if _, err := fmt.Sscan(rest, &seq); err != nil {
		w.t.Fatal(err)
	}
	return seq
}

// A new writer records from the first access unit of the old one's unfinished fragment on,
// and so begins its seq again. The parts that were listed stay until the entry comes, and the
// segment is the new writer's.
func TestHandOverOverKafka(t *testing.T) {
	w := newWriters(t)
	place := testmedia.Place{Layout: testmedia.Layout, Start: time.Now()}
	old, fresh := testmedia.Synthetic(place, 6), testmedia.Synthetic(place, 6)
	a := w.open(medialog.OpenOptions{Writer: "a"})
	for _, f := range old[:4] {
		w.write(a, f.Chunks...)
	}
	first := w.firstSeq()
	w.wait(fmt.Sprintf("\nraw/m1/%d.m4s\n", first+3))
	w.write(a, old[4].Chunks[:3]...)
	seq := first + 4
	// The epoch of a new camera is that of its second `open`.
	w.wait(fmt.Sprintf("PRELOAD-HINT:TYPE=PART,URI=\"raw/m1/%d.1.3.m4s\"\n", seq))
	listed := partsOf([]byte(w.last), seq)
	epoch := w.indexEnd()
	b := w.open(medialog.OpenOptions{Writer: "b", Unit: schemas.UnitHash(fresh[4].Chunks[0].Video()[0].Data)})
	w.write(b, fresh[4].Chunks[:2]...)
	for begin := time.Now(); ; {
		if res, _ := fetch(t, fmt.Sprintf("%sraw/m1/%d.%d.1.m4s", w.url, seq, epoch)); res.StatusCode == 200 {
			break
		}
		if time.Since(begin) > 20*time.Second {
			t.Fatal("the new writer does not begin the seq again")
		}
	}
	_, w.last = fetch(t, w.url+"raw.m3u8")
	if got := partsOf([]byte(w.last), seq); fmt.Sprint(got) != fmt.Sprint(listed) || strings.Contains(w.last, "PRELOAD-HINT") {
		t.Errorf("the parts %v were listed, and with the new writer there are %v:\n%s", listed, got, w.last)
	}
	w.write(b, fresh[4].Chunks[2:]...)
	w.write(b, fresh[5].Chunks[0])
	w.wait(fmt.Sprintf("\nraw/m1/%d.m4s\n", seq), fmt.Sprintf("URI=\"raw/m1/%d.%d.0.m4s\"", seq+1, epoch))
	if got := partsOf([]byte(w.last), seq); len(got) != 0 {
		t.Errorf("the segment of another copy has the parts %v", got)
	}
	e, err := w.log.Entry(t.Context(), schemas.Topic{Camera: "cam"}, seq)
	if err != nil || e.Epoch != epoch {
		t.Fatalf("the entry is of epoch %d (%v), want %d", e.Epoch, err, epoch)
	}
	made, err := cmaf.Segment(e, w.log.Chunks(t.Context(), schemas.Topic{Camera: "cam"}, e))
	if err != nil {
		t.Fatal(err)
	}
	if _, got := fetch(t, fmt.Sprintf("%sraw/m1/%d.m4s", w.url, seq)); got != string(bytes.Join(made, nil)) {
		t.Error("the segment has other bytes than the copy that its entry names")
	}
}

// A camera comes back after retention has removed all its footage. A player's playlist goes
// on behind the hole.
func TestReturnOverKafka(t *testing.T) {
	w := newWriters(t)
	// The new seq is taken from the clock, which is far ahead of the camera's numbers.
	past := schemas.Standing{Life: "0011223344556677", Seq: 1000, Session: 7, Layout: testmedia.Layout}
	remember := func(context.Context) (schemas.Standing, error) { return past, nil }
	f := testmedia.Synthetic(testmedia.Place{Layout: testmedia.Layout, Start: time.Now()}, 8)
	var stands schemas.Standing
	a := w.open(medialog.OpenOptions{Writer: "a", Remember: remember, Session: func(s schemas.Standing, _ time.Duration, _ string) { stands = s }})
	for _, f := range f[:6] {
		w.write(a, f.Chunks...)
	}
	before := w.firstSeq()
	w.wait(fmt.Sprintf("\nraw/m1/%d.m4s\n", before+5))
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	ends, err := w.admin.ListEndOffsets(t.Context(), "cam.cam", "cam.cam.index")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.admin.DeleteRecords(t.Context(), ends.Offsets()); err != nil {
		t.Fatal(err)
	}
	past = stands
	past.Seq += 1 << 20
	epoch := w.indexEnd() + 1 // the second `open`, which declares the hole
	b := w.open(medialog.OpenOptions{Writer: "b", Remember: remember})
	w.write(b, f[6].Chunks...)
	w.write(b, f[7].Chunks[0])
	after := past.Seq + 1
	w.wait(fmt.Sprintf("#EXT-X-MEDIA-SEQUENCE:%d\n#EXT-X-DISCONTINUITY-SEQUENCE:%d\n", after, past.Session+1),
		fmt.Sprintf("\nraw/m1/%d.m4s\n", after), fmt.Sprintf("URI=\"raw/m1/%d.%d.0.m4s\"", after+1, epoch))
	if strings.Contains(w.last, "ENDLIST") {
		t.Errorf("the playlist ends:\n%s", w.last)
	}
	for seq, code := range map[uint64]int{after: 200, after - 5: 404} {
		begin := time.Now()
		if res, text := fetch(t, fmt.Sprintf("%sraw/m1/%d.m4s", w.url, seq)); res.StatusCode != code && (code != 404 || res.StatusCode != 410) {
			t.Errorf("segment %d: %s %s", seq, res.Status, text)
		}
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("segment %d: answered after %v", seq, d)
		}
	}
}
