package hls

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// TestMisses: requests for footage that does not exist share one read of the index,
// also when they come one after the other.
func TestMisses(t *testing.T) {
	for name, url := range map[string]string{
		"segment": "/hls/cam/raw/m1/9999999999.m4s",
		"part":    "/hls/cam/raw/m1/9999999999.9.0.m4s",
		"init":    "/hls/cam/raw/m1/init-0000000000000000.mp4",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := newFakeLog()
				log.add("cam", testmedia.Synthetic(testPlace, 8)...)
				s := run(t, Config{}, log)
				want(t, get(s, playlist0), 200)
				before := log.reads()
				for range 100 {
					want(t, get(s, url), 404)
				}
				if n := log.reads() - before; n != 1 {
					t.Errorf("%d reads of the index", n)
				}
				time.Sleep(keepMissed)
				want(t, get(s, url), 404)
				if n := log.reads() - before; n != 2 {
					t.Errorf("%d reads of the index, want another one after %v", n, keepMissed)
				}
			})
		})
	}
}

// TestInitsOfAnIndex: one reading of an index answers for all configurations.
func TestInitsOfAnIndex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		f := testmedia.Synthetic(testPlace, 4)
		log.add("cam", f...)
		s := run(t, Config{}, log)
		for i := range 100 {
			want(t, get(s, fmt.Sprintf("/hls/cam/raw/m1/init-%016x.mp4", i)), 404)
		}
		want(t, get(s, "/hls/cam/raw/m1/init-"+f[0].Entry.Config+".mp4"), 200)
		if log.reads() != 1 {
			t.Errorf("%d reads of the index", log.reads())
		}
		// A configuration that comes later, and one whose old footage is gone.
		p := testmedia.After(f[3].Entry, testPlace)
		p.Layout.Audio = ""
		silent := testmedia.Synthetic(p, 1)[0]
		log.add("cam", silent)
		time.Sleep(keepMissed)
		want(t, get(s, "/hls/cam/raw/m1/init-"+silent.Entry.Config+".mp4"), 200)
		log.add("cam", testmedia.Synthetic(testmedia.After(silent.Entry, testPlace), 1)...)
		log.expire("cam", silent.Entry.Seq+1)
		s.cache.drop(cacheKey{topic: liveCam, config: f[0].Entry.Config})
		s.cache.drop(cacheKey{topic: liveCam, config: silent.Entry.Config})
		time.Sleep(keepFound)
		want(t, get(s, "/hls/cam/raw/m1/init-"+silent.Entry.Config+".mp4"), 410)
		want(t, get(s, "/hls/cam/raw/m1/init-"+f[0].Entry.Config+".mp4"), 200)
	})
}

// TestMissThatComes: a segment that a client asked for too early is served as soon as
// the log has it, whether or not the tail knows of it already.
func TestMissThatComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		f := testmedia.Synthetic(testPlace, 10)
		log.add("cam", f[:8]...)
		s := run(t, Config{}, log)
		want(t, get(s, playlist0), 200)
		segment := fmt.Sprintf("/hls/cam/raw/m1/%d.m4s", f[8].Entry.Seq)
		want(t, get(s, segment), 404)
		want(t, get(s, fmt.Sprintf("/hls/cam/raw/m1/%d.9.4.m4s", f[8].Entry.Seq)), 404)
		log.add("cam", f[8])
		synctest.Wait()
		want(t, get(s, segment), 200)
		want(t, get(s, fmt.Sprintf("/hls/cam/raw/m1/%d.9.4.m4s", f[8].Entry.Seq)), 200)

		// The log has more than the tail has told.
		segment = fmt.Sprintf("/hls/cam/raw/m1/%d.m4s", f[9].Entry.Seq)
		want(t, get(s, segment), 404)
		log.mu.Lock()
		topic := log.topics[liveCam]
		topic.entries = append(topic.entries, f[9].Entry)
		topic.chunks[f[9].Entry.Seq] = f[9].Chunks
		log.mu.Unlock()
		want(t, get(s, segment), 200)

		// Nor does a reading that began before the entry came.
		gate := make(chan struct{})
		log.mu.Lock()
		log.holdAfter = gate
		log.mu.Unlock()
		p := testmedia.Synthetic(testmedia.After(f[9].Entry, testPlace), 1)[0]
		segment = fmt.Sprintf("/hls/cam/raw/m1/%d.m4s", p.Entry.Seq)
		early := ask(s, segment)
		log.mu.Lock()
		topic.entries = append(topic.entries, p.Entry)
		topic.chunks[p.Entry.Seq] = p.Chunks
		log.holdAfter = nil
		log.mu.Unlock()
		joins := ask(s, segment)
		close(gate)
		<-early.done
		<-joins.done
		want(t, joins.w, 200)
		f[9] = p

		// A miss that is kept does not hide what a tail has told since.
		late := run(t, Config{}, log)
		next := testmedia.Synthetic(testmedia.After(f[9].Entry, testPlace), 1)[0]
		segment = fmt.Sprintf("/hls/cam/raw/m1/%d.m4s", next.Entry.Seq)
		want(t, get(late, segment), 404)
		log.add("cam", next)
		want(t, get(late, playlist0), 200)
		late.cache.drop(cacheKey{topic: liveCam, seq: next.Entry.Seq})
		want(t, get(late, segment), 200)
	})
}

// TestLookupBound: the readings of indexes at a time have a bound, and so have those
// that wait for a place.
func TestLookupBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		log.add("cam", testmedia.Synthetic(testPlace, 2)...)
		log.holdIndex = make(chan struct{})
		s := run(t, Config{MaxLookups: 2, MaxWaiters: 4}, log)
		var all []*pending
		for i := range 6 {
			all = append(all, ask(s, fmt.Sprintf("/hls/cam/raw/m1/%d.m4s", i+1)))
		}
		same := ask(s, "/hls/cam/raw/m1/1.m4s")
		if log.reads() != 2 {
			t.Errorf("%d reads of the index at a time", log.reads())
		}
		for i, p := range all {
			if p.answered() != (i >= 4) {
				t.Errorf("request %d: answered %v", i, p.answered())
			}
		}
		want(t, all[5].w, 503)
		close(log.holdIndex)
		for _, p := range append(all[:4], same) {
			<-p.done
			want(t, p.w, 404)
		}
		if log.reads() != 4 {
			t.Errorf("%d reads of the index for 4 segments", log.reads())
		}
	})
}

// TestGoneIsAnsweredAtOnce: a request for footage that will not come is answered at
// once, also while all places in which segments are made are taken.
func TestGoneIsAnsweredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		f := testmedia.Synthetic(testPlace, 8)
		log.add("cam", f...)
		log.expire("cam", f[2].Entry.Seq)
		log.hold = make(chan struct{})
		s := run(t, Config{MaxRebuilds: 1}, log)
		busy := ask(s, fmt.Sprintf("/hls/cam/raw/m1/%d.m4s", f[2].Entry.Seq))
		for url, code := range map[string]int{
			fmt.Sprintf("/hls/cam/raw/m1/%d.m4s", f[1].Entry.Seq): 410, "/hls/cam/raw/m1/7.m4s": 410,
			"/hls/cam/raw/m1/9999999999.m4s": 404, "/hls/nobody/raw/m1/7.m4s": 404,
		} {
			p := ask(s, url)
			if !p.answered() {
				t.Errorf("%s: no answer", url)
				continue
			}
			want(t, p.w, code)
		}
		if busy.answered() {
			t.Error("the place is not held")
		}
		close(log.hold)
		<-busy.done
		want(t, busy.w, 200)
	})
}

// TestDamagedFootage: a fragment that cannot be read is gone for its players, and is not read for
// each of their requests.
func TestDamagedFootage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		f := testmedia.Synthetic(testPlace, 3)
		log.add("cam", f...)
		log.damaged = f[1].Entry.Seq
		s := run(t, Config{}, log)
		for range 3 {
			for i, code := range []int{200, 410, 200} {
				want(t, get(s, fmt.Sprintf("/hls/cam/raw/m1/%d.m4s", f[i].Entry.Seq)), code)
			}
		}
		if log.loads != len(f) {
			t.Errorf("the log was read %d times", log.loads)
		}
	})
}

// TestLostFootage: media beyond the end of their partition are waited for without
// a place among those that make segments. Once they have been away for long
// enough the answer is 410, at once.
func TestLostFootage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		f := testmedia.Synthetic(testPlace, 8)
		log.add("cam", f...)
		log.update("cam", func(t *fakeTopic) { t.beyond = f[4].Entry.Seq })
		s := run(t, Config{MaxRebuilds: 1}, log)
		url := func(i int) string { return fmt.Sprintf("/hls/cam/raw/m1/%d.m4s", f[i].Entry.Seq) }
		back, lost := ask(s, url(4)), ask(s, url(5))
		if back.answered() || lost.answered() {
			t.Fatal("footage that may come back is not waited for")
		}
		// The only place is free meanwhile.
		if other := ask(s, url(0)); !other.answered() || other.w.Code != 200 {
			t.Error("a segment that is there is not served")
		}
		time.Sleep(5 * time.Second)
		log.update("cam", func(t *fakeTopic) { t.beyond = f[5].Entry.Seq })
		<-back.done
		if want(t, back.w, 200); back.took > 6*time.Second {
			t.Errorf("footage that is back after 5 s is served after %v", back.took)
		}
		<-lost.done
		if want(t, lost.w, 410); lost.took < 9*time.Second || lost.took > 11*time.Second {
			t.Errorf("lost footage is given up after %v", lost.took)
		}
		for range 3 {
			if again := ask(s, url(5)); !again.answered() || again.w.Code != 410 {
				t.Errorf("the next request for lost footage waits: %v", again.answered())
			}
			time.Sleep(keepFound + time.Second)
		}

		// A camera that has lost its newest footage is followed all the same.
		list := ask(s, playlist0)
		if !list.answered() || list.w.Code != 200 {
			t.Error("a playlist waits for footage that is lost")
		}
	})
}

// TestLogAway: while the log does not answer, a request for a segment waits. If the
// log is away for too long the answer is 503, and not 500.
func TestLogAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		f := testmedia.Synthetic(testPlace, 8)
		log.add("cam", f...)
		s := run(t, Config{}, log)
		log.fail(errors.New("unable to dial"))
		segment := fmt.Sprintf("/hls/cam/raw/m1/%d.m4s", f[0].Entry.Seq)
		back := ask(s, segment)
		time.Sleep(3 * time.Second)
		if n := log.reads(); back.answered() || n > 13 {
			t.Errorf("answered %v, %d reads of the index in 3 s", back.answered(), n)
		}
		log.fail(nil)
		<-back.done
		want(t, back.w, 200)
		log.fail(errors.New("unable to dial"))
		for _, url := range []string{fmt.Sprintf("/hls/cam/raw/m1/%d.m4s", f[1].Entry.Seq), "/hls/cam/raw/m1/init-0000000000000000.mp4"} {
			late := ask(s, url)
			<-late.done
			if want(t, late.w, 503); late.w.Header().Get("Retry-After") == "" || late.took > 11*time.Second {
				t.Errorf("%s: no Retry-After, or only after %v", url, late.took)
			}
		}
		// A tail that begins meanwhile leaves no parts out.
		if body := want(t, get(s, playlist0), 200); !strings.Contains(body, "#EXT-X-PART:") {
			t.Errorf("no parts are listed:\n%s", body)
		}
	})
}

// TestMJPEG: playlists of a camera that sends MJPEG say why there are none; its
// segments and inits are served at their URLs.
func TestMJPEG(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		tracks := []schemas.Track{{ID: schemas.VideoTrack, Codec: schemas.MJPEG, Timescale: schemas.MediaTimescale, Width: 320, Height: 180}}
		layout := schemas.Layout{Target: 2, Video: schemas.MJPEG}
		log.add("cam", testmedia.Fragment{
			Chunks: []*schemas.Chunk{{Seq: 7, Last: true, Layout: layout, Tracks: tracks, Runs: []schemas.Run{{
				Track: schemas.VideoTrack, Samples: []schemas.Sample{{DTS: 1, Duration: 90000, Sync: true, Data: []byte{0xff, 0xd8, 0xff, 0xd9}}},
			}}}},
			Entry: schemas.Entry{Kind: schemas.KindWhole, Seq: 7, Chunks: 1, Duration: 90000, Layout: layout, Config: schemas.ConfigHash(tracks)},
		})
		s := run(t, Config{}, log)
		for url, code := range map[string]int{
			"/hls/cam/index.m3u8": 406, playlist0: 406, "/hls/cam/raw/m1/7.0.0.m4s": 406,
			"/hls/cam/raw/m1/7.m4s": 200, "/hls/cam/raw/m1/init-" + schemas.ConfigHash(tracks) + ".mp4": 200,
		} {
			want(t, get(s, url), code)
		}
	})
}
