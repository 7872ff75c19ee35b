package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	neturl "net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/framelog/framelog/tests/testenv"
)

// delays are delays in milliseconds.
type delays struct {
	// From the camera's sending of a part's first picture to the end of the
	// answer that lists the part, as a viewer sees it.
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Parts int     `json:"parts"`
	// From ingest's capture of it to its listing, by Framelog's own histogram.
	OwnP50   float64 `json:"own_p50_ms"`
	OwnP99   float64 `json:"own_p99_ms"`
	OwnParts int     `json:"own_parts"`
}

// watchers are one low-latency viewer for each camera. As hls.js does, each asks
// for the playlist with the next part, which the server answers when the part is
// there, and fetches every part.
type watchers struct {
	client *http.Client
	ctx    context.Context // of all viewers
	cancel context.CancelFunc
	wg     sync.WaitGroup
	cams   *cameras

	mu       sync.Mutex
	listed   []listing
	failures []error
}

// listing is when a part was first listed, and the hash of its first picture.
type listing struct {
	camera int
	hash   uint64
	at     time.Time
}

func watchAll(b *testing.B, base string, c *cameras) *watchers {
	b.Helper()
	w := newWatchers(b, c)
	for i := range c.n {
		w.wg.Go(func() {
			err := w.watch(w.ctx, base+"/hls/"+cameraID(i)+"/index.m3u8", func(part []byte, at time.Time) error {
				hash, err := firstPicture(part)
				w.list(listing{camera: i, hash: hash, at: at})
				return err
			})
			if err != nil && w.ctx.Err() == nil {
				w.fail(fmt.Errorf("viewer of %s: %w", cameraID(i), err))
			}
		})
	}
	w.waitAll(b)
	return w
}

func newWatchers(b testing.TB, c *cameras) *watchers {
	b.Helper()
	w := &watchers{client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4*c.n + 2**flags.viewers}}, cams: c}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	b.Cleanup(w.stop)
	return w
}

func (w *watchers) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failures = append(w.failures, err)
}

// failed returns how many viewers have failed.
func (w *watchers) failed() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.failures)
}

// report makes the benchmark fail for each viewer that has failed.
func (w *watchers) report(b *testing.B) {
	b.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, err := range w.failures {
		b.Error(err)
	}
}

func (w *watchers) list(l listing) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listed = append(w.listed, l)
}

// waitAll waits until there is something of each camera.
func (w *watchers) waitAll(b *testing.B) {
	b.Helper()
	testenv.Wait(b, 30*time.Second, "every viewer to begin", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		seen := map[int]bool{}
		for _, l := range w.listed {
			seen[l.camera] = true
		}
		return len(seen) == w.cams.n || len(w.failures) > 0
	})
}

func (w *watchers) stop() {
	w.cancel()
	w.wg.Wait()
	w.client.CloseIdleConnections()
}

// forget drops what was listed so far.
func (w *watchers) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listed = nil
}

// watch plays the first variant of a multivariant playlist. got gets each part that is new
// since then, with the time when it was listed.
func (w *watchers) watch(ctx context.Context, index string, got func(part []byte, at time.Time) error) error {
	body, at, err := w.get(ctx, index)
	if err != nil {
		return err
	}
	list, err := at.Parse(firstURI(string(body)))
	if err != nil {
		return err
	}
	type piece struct {
		url string
		at  time.Time
	}
	parts := make(chan piece, 64)
	var fetching sync.WaitGroup
	fetching.Go(func() {
		for p := range parts {
			data, _, err := w.get(ctx, p.url)
			if err == nil {
				err = got(data, p.at)
			}
			if err != nil && ctx.Err() == nil {
				w.fail(err)
			}
		}
	})
	defer fetching.Wait()
	defer close(parts)
	seen := map[string]uint64{} // the open segment then, by URI of part
	asked := *list
	for first := true; ; first = false {
		body, _, err := w.get(ctx, asked.String())
		if err != nil {
			return err
		}
		at := time.Now()
		p := readPlaylist(string(body))
		for _, uri := range p.parts {
			if _, known := seen[uri]; known {
				continue
			}
			seen[uri] = p.seq
			if first {
				continue // listed before this viewer came
			}
			u, err := list.Parse(uri)
			if err != nil {
				return err
			}
			select {
			case parts <- piece{u.String(), at}:
			default:
				return fmt.Errorf("%d parts wait to be fetched", cap(parts))
			}
		}
		for uri, seq := range seen {
			if seq+10 < p.seq {
				delete(seen, uri)
			}
		}
		q := list.Query()
		q.Set("_HLS_msn", strconv.FormatUint(p.seq, 10))
		q.Set("_HLS_part", strconv.Itoa(p.open))
		q.Set("_HLS_skip", "YES")
		asked.RawQuery = q.Encode()
	}
}

// playlist is what a viewer needs of a low-latency playlist.
type playlist struct {
	seq   uint64   // of the segment that is not complete
	open  int      // how many parts that has
	parts []string // all that are listed
}

// readPlaylist reads one of any server: package hlscheck is stricter than some are.
func readPlaylist(text string) (p playlist) {
	for line := range strings.Lines(text) {
		tag, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch tag {
		case "#EXT-X-MEDIA-SEQUENCE":
			n, _ := strconv.ParseUint(value, 10, 64) // one that is wrong gets another answer than is waited for
			p.seq += n
		case "#EXT-X-SKIP":
			n, _ := strconv.ParseUint(attribute(value, "SKIPPED-SEGMENTS="), 10, 64)
			p.seq += n
		case "#EXTINF":
			p.seq++
			p.open = 0
		case "#EXT-X-PART":
			p.open++
			p.parts = append(p.parts, attribute(value, "URI="))
		}
	}
	return p
}

// attribute returns a value of an attribute list without its quotes.
func attribute(list, name string) string {
	_, rest, _ := strings.Cut(list, name)
	if rest, quoted := strings.CutPrefix(rest, `"`); quoted {
		value, _, _ := strings.Cut(rest, `"`)
		return value
	}
	value, _, _ := strings.Cut(rest, ",")
	return value
}

// firstURI returns the first line of a playlist that is a URI.
func firstURI(text string) string {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return line
		}
	}
	return ""
}

// get fetches a URL. It returns where that was in the end.
func (w *watchers) get(ctx context.Context, url string) (body []byte, at *neturl.URL, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, nil, err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("get %s: %s: %.200s", url, resp.Status, body)
	}
	return body, resp.Request.URL, err
}

func firstPicture(part []byte) (uint64, error) {
	f, err := mp4.DecodeFile(bytes.NewReader(part))
	if err != nil {
		return 0, err
	}
	for _, s := range f.Segments {
		if len(s.Fragments) == 0 {
			continue
		}
		samples, err := s.Fragments[0].GetFullSamples(nil)
		if err != nil || len(samples) == 0 {
			return 0, fmt.Errorf("part without samples: %w", err)
		}
		return slices264(samples[0].Data), nil
	}
	return 0, fmt.Errorf("part without fragments")
}

// delays returns the delays of the parts that were listed since forget.
func (w *watchers) delays(b *testing.B) *delays {
	b.Helper()
	w.mu.Lock()
	listed := w.listed
	w.mu.Unlock()
	w.report(b)
	byCamera := map[int][]listing{}
	for _, l := range listed {
		byCamera[l.camera] = append(byCamera[l.camera], l)
	}
	var all []float64
	for i, parts := range byCamera {
		// The clip loops, so a picture is sent again and again. The latest sending
		// before the listing counts.
		sent := map[uint64][]int64{}
		for _, s := range w.cams.sent(b, i) {
			sent[s.Hash] = append(sent[s.Hash], s.At)
		}
		for _, l := range parts {
			at := l.at.UnixNano()
			times := sent[l.hash]
			for n := len(times) - 1; n >= 0; n-- {
				if times[n] <= at {
					all = append(all, float64(at-times[n])/1e6)
					break
				}
			}
		}
	}
	if missing := len(listed) - len(all); missing > 0 {
		b.Errorf("%d of %d parts begin with a picture that no camera sent", missing, len(listed))
	}
	slices.Sort(all)
	return &delays{P50: quantile(all, 0.5), P99: quantile(all, 0.99), Parts: len(all)}
}

// quantile returns a quantile of sorted values.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
