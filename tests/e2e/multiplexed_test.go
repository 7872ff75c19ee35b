package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framelog/framelog/deploy/nginx"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/oracle/hlscheck"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// A wall of low-latency playlists needs one connection over HTTP/2: to Framelog without TLS,
// and to Nginx with TLS. Each playlist that waits for its next part is answered by itself.
func TestPlaylistsShareAConnection(t *testing.T) {
	const walls = 12 // browsers open six connections of HTTP/1.1
	feed := system.Loop(t, testenv.Clip{Size: "320x240", FPS: 15, Seconds: 4, KBits: 150})
	var served []camsim.CameraConfig
	urls := map[string]string{}
	for i := range walls {
		served = append(served, camsim.CameraConfig{Path: fmt.Sprintf("cam-%d", i), Feed: feed})
	}
	server := system.Serve(t, camsim.Config{Cameras: served})
	for _, c := range served {
		urls[c.Path] = server.URL(c.Path)
	}
	f := testenv.Up(t, testenv.UpOptions{Config: system.Cameras(urls)})
	ca := testenv.NewCA(t)
	cert := ca.Sign(t, "nginx", time.Hour)
	for name, base := range map[string]string{
		"framelog":   f.URL,
		"nginx, TLS": testenv.NginxWith(t, nginx.Settings{Certificate: cert.Cert, Key: cert.Key}, f.URL),
	} {
		t.Run(name, func(t *testing.T) {
			var connections atomic.Int32
			protocols := new(http.Protocols)
			protocols.SetHTTP2(true)
			protocols.SetUnencryptedHTTP2(true)
			var d net.Dialer
			transport := &http.Transport{
				Protocols: protocols, TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}, ForceAttemptHTTP2: true,
				DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
					connections.Add(1)
					return d.DialContext(ctx, network, addr)
				},
			}
			t.Cleanup(transport.CloseIdleConnections)
			client := &http.Client{Transport: transport}
			read := func(camera, query string) (*hlscheck.Media, error) {
				return mediaBy(t, client, base+"/hls/"+camera+"/raw.m3u8"+query)
			}
			first := map[string]*hlscheck.Media{}
			for _, cam := range served {
				testenv.Wait(t, 2*testenv.Patience, "the playlist of "+cam.Path, func() bool {
					p, err := read(cam.Path, "")
					first[cam.Path] = p
					return err == nil
				})
			}
			errs := make(chan error, walls)
			for _, cam := range served {
				go func() { // each asks at the same time for what is not there yet
					p := first[cam.Path]
					for range 5 {
						seq, part := p.Open.Seq, len(p.Open.Parts)
						next, err := read(cam.Path, fmt.Sprintf("?_HLS_msn=%d&_HLS_part=%d", seq, part))
						if err == nil && (next.Open.Seq < seq || next.Open.Seq == seq && len(next.Open.Parts) <= part) {
							err = fmt.Errorf("asked for part %d.%d, the answer ends before %d.%d", seq, part, next.Open.Seq, len(next.Open.Parts))
						}
						if err != nil {
							errs <- fmt.Errorf("%s: %w", cam.Path, err)
							return
						}
						p = next
					}
					errs <- nil
				}()
			}
			for range walls {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
			if n := connections.Load(); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// mediaBy reads a media playlist with a client of HTTP/2.
func mediaBy(t *testing.T, client *http.Client, url string) (*hlscheck.Media, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*testenv.Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 {
		return nil, fmt.Errorf("%s: %s %d", url, resp.Proto, resp.StatusCode)
	}
	return hlscheck.ParseMedia(string(body))
}
