package hls

import (
	"net/http"
	"net/url"
	"strconv"
)

// directives are the delivery directives of a request for a playlist (RFC 8216bis
// section 6.2.5).
type directives struct {
	blocking bool
	msn      uint64
	part     int // -1: none
	skip     bool
}

func parseDirectives(q url.Values) (directives, error) {
	d := directives{part: -1}
	if q.Has("_HLS_msn") {
		n, err := strconv.ParseUint(q.Get("_HLS_msn"), 10, 63)
		if err != nil {
			return d, fail(http.StatusBadRequest, "bad", "_HLS_msn is no number")
		}
		d.blocking, d.msn = true, n
	}
	if q.Has("_HLS_part") {
		n, err := strconv.ParseUint(q.Get("_HLS_part"), 10, 31)
		if err != nil || !d.blocking {
			return d, fail(http.StatusBadRequest, "bad", "_HLS_part is no number, or without _HLS_msn")
		}
		d.part = int(n)
	}
	switch q.Get("_HLS_skip") {
	case "":
	case "YES", "v2":
		d.skip = true
	default:
		return d, fail(http.StatusBadRequest, "bad", "_HLS_skip is neither YES nor v2")
	}
	return d, nil
}
