package egress

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/egress/api"
)

// Guard is what stands before everything that tells of cameras. It refuses
// requests that name another host, and requests of other sites' pages: what a
// person's browser can reach, any page that they open could reach too.
type Guard struct {
	// Loopback says that the server listens on the loopback only. Then the
	// Host of every request must name the loopback, else a page could point
	// its own name at 127.0.0.1 and read everything (DNS rebinding).
	Loopback bool
	// Hosts are further names or addresses, in lower case and without ports,
	// that a request may name: that of a reverse proxy in front. Default none.
	Hosts []string
	// Origins are other sites whose pages may read, as browsers write them in the
	// header Origin: https://portal.example. None may change anything. Default none.
	Origins []string
	// Authorize decides who may do what. It is needed.
	Authorize access.Authorize
}

// Wrap refuses requests for another host (421) and those of pages of other
// sites (403), and tells browsers which sites may read (CORS, Fetch standard
// section 3.3). Clients that are no browsers send neither Sec-Fetch-Site nor
// Origin, and pass.
func (g Guard) Wrap(next http.Handler) http.Handler {
	own := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Add("Vary", "Origin") // so that no cache gives one site's answer to another
		// A browser sends no Sec-Fetch-Site to a server without TLS that is not
		// this machine. This header makes it drop what a page of another site embeds.
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if g.Loopback && !g.names(r.Host) {
			refuse(w, http.StatusMisdirectedRequest, "this server answers on the loopback only, and not as the host that the request names",
				"open http://localhost, or name the proxy's host in egress.hosts")
			return
		}
		origin := r.Header.Get("Origin")
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		preflight := r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
		// Check passes whatever has a safe method, so it is asked about another.
		asWrite := *r
		asWrite.Method = http.MethodPost
		switch {
		case (reads || preflight) && slices.Contains(g.Origins, origin):
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Expose-Headers", "Content-Length, Content-Range")
			if preflight {
				h.Set("Access-Control-Allow-Methods", "GET, HEAD")
				h.Set("Access-Control-Allow-Headers", "Range")
				h.Set("Access-Control-Max-Age", "7200") // the longest that Chromium takes
				w.WriteHeader(http.StatusNoContent)
				return
			}
		case own.Check(&asWrite) == nil, reads && opensPage(r):
		case reads || r.Method == http.MethodOptions:
			refuse(w, http.StatusForbidden, "a page of another site may not read anything here", "use the page at /, or name that site in egress.origins")
			return
		default:
			refuse(w, http.StatusForbidden, "a page of another site may not change anything here", "use the page at /, or a client that is no browser")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Metrics is Wrap for metrics, which name every camera. It also asks whether the
// sender may operate the server, and lets no other site's page read them.
func (g Guard) Metrics(next http.Handler) http.Handler {
	g.Origins = nil
	return g.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.Authorize == nil || !g.Authorize(r, "", "", access.Operate) {
			refuse(w, http.StatusForbidden, "metrics are for those who operate this server", "")
			return
		}
		next.ServeHTTP(w, r)
	}))
}

// opensPage reports whether a link of another site was followed to the page. The
// other site cannot read what the browser shows then, nor frame it.
func opensPage(r *http.Request) bool {
	return r.URL.Path == "/" && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

// names reports whether a Host header names this server.
func (g Guard) names(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") || slices.Contains(g.Hosts, host) {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

func refuse(w http.ResponseWriter, code int, what, remedy string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(api.Error{Error: what, Remedy: remedy}) // the client has gone
}
