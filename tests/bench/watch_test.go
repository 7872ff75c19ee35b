package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/framelog/framelog/tests/oracle/hlscheck"
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
			if err := w.watch(w.ctx, base+"/hls/"+cameraID(i)+"/", i); err != nil && w.ctx.Err() == nil {
				w.fail(fmt.Errorf("viewer of %s: %w", cameraID(i), err))
			}
		})
	}
	w.waitAll(b)
	return w
}

func newWatchers(b *testing.B, c *cameras) *watchers {
	b.Helper()
	w := &watchers{client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4 * c.n}}, cams: c}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	b.Cleanup(w.stop)
	return w
}

func (w *watchers) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failures = append(w.failures, err)
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

func (w *watchers) watch(ctx context.Context, dir string, camera int) error {
	body, err := w.get(ctx, dir+"index.m3u8")
	if err != nil {
		return err
	}
	multi, err := hlscheck.ParseMultivariant(string(body))
	if err != nil {
		return err
	}
	list := dir + multi.Variants[0].URI
	media := list[:strings.LastIndexByte(list, '/')+1]
	parts := make(chan func(), 64)
	var fetching sync.WaitGroup
	fetching.Go(func() {
		for fetch := range parts {
			fetch()
		}
	})
	defer fetching.Wait()
	defer close(parts)
	seen := map[string]uint64{} // segment by URI of part
	query := ""
	for {
		body, err := w.get(ctx, list+query)
		if err != nil {
			return err
		}
		at := time.Now()
		m, err := hlscheck.ParseMedia(string(body))
		if err != nil {
			return err
		}
		for _, s := range append(slices.Clone(m.Segments), m.Open) {
			for _, p := range s.Parts {
				if _, known := seen[p.URI]; known {
					continue
				}
				seen[p.URI] = s.Seq
				if query == "" {
					continue // listed before this viewer came
				}
				select {
				case parts <- func() { w.fetch(ctx, media+p.URI, listing{camera: camera, at: at}) }:
				default:
					return fmt.Errorf("%d parts wait to be fetched", cap(parts))
				}
			}
		}
		for uri, seq := range seen {
			if seq+10 < m.Open.Seq {
				delete(seen, uri)
			}
		}
		query = fmt.Sprintf("?_HLS_msn=%d&_HLS_part=%d&_HLS_skip=YES", m.Open.Seq, len(m.Open.Parts))
	}
}

func (w *watchers) fetch(ctx context.Context, url string, l listing) {
	data, err := w.get(ctx, url)
	if err == nil {
		l.hash, err = firstPicture(data)
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		w.fail(err)
	} else {
		w.list(l)
	}
}

func (w *watchers) get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("get %s: %s: %.200s", url, resp.Status, body)
	}
	return body, err
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
	listed, failures := w.listed, w.failures
	w.mu.Unlock()
	for _, err := range failures {
		b.Error(err)
	}
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
