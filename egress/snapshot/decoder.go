package snapshot

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/framelog/framelog/schemas"
)

// maxImage is the most bytes of a JPEG that a [Thumbnailer] takes.
const maxImage = 32 << 20

// Thumbnailer is the [Decoder] that asks a processor thumbnail over HTTP. The processor's
// package documents the request.
type Thumbnailer struct {
	Client *http.Client
	URL    string // of the processor, without a path
}

// Picture implements Decoder.
func (t *Thumbnailer) Picture(ctx context.Context, footage *schemas.Chunk, media int64, width int) (jpeg []byte, shown int64, err error) {
	body, err := schemas.EncodeChunk(footage)
	if err != nil {
		return nil, 0, fmt.Errorf("snapshot: %w", err)
	}
	query := url.Values{"media": {strconv.FormatInt(media, 10)}, "width": {strconv.Itoa(width)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(t.URL, "/")+"/picture?"+query.Encode(), bytes.NewReader(body))
	if err != nil {
		return nil, 0, fmt.Errorf("snapshot: %w", err)
	}
	resp, err := t.Client.Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("snapshot: ask for a picture: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxImage+1))
	if err != nil {
		return nil, 0, fmt.Errorf("snapshot: read a picture: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("snapshot: the answer is %s: %.200s", resp.Status, bytes.TrimSpace(b))
	}
	shown, err = strconv.ParseInt(resp.Header.Get("Framelog-Media"), 10, 64)
	if err != nil || len(b) > maxImage || resp.Header.Get("Content-Type") != "image/jpeg" {
		return nil, 0, fmt.Errorf("snapshot: the answer is no picture: %d bytes of %q, shown at %q", len(b), resp.Header.Get("Content-Type"), resp.Header.Get("Framelog-Media"))
	}
	return b, shown, nil
}
