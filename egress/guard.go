package egress

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/egress/answer"
	"github.com/framelog/framelog/egress/people"
)

// Guard is the check before every handler that shows cameras. It refuses
// requests that name another host, and requests of other sites' pages: any page
// that a person opens can send requests to every host that the browser reaches.
type Guard struct {
	// Loopback: the server listens on the loopback only. Then the Host of every
	// request must name the loopback, else a page could point its own name at
	// 127.0.0.1 and read everything (DNS rebinding).
	Loopback bool
	// Hosts are further names or addresses, in lower case and without ports, that
	// the Host of a request may have, such as that of a reverse proxy. Default
	// none.
	Hosts []string
	// Origins are other sites whose pages may read, in the form of the header
	// Origin: https://portal.example. They may not change anything. Default none.
	Origins []string
	// Policy decides who may do what. Its Authorize is needed.
	Policy access.Policy
}

// Wrap refuses requests for another host (421) and requests of other sites'
// pages (403), and tells browsers which sites may read (CORS, Fetch standard
// section 3.3). Clients that are no browsers send neither Sec-Fetch-Site nor
// Origin, so Wrap allows them.
func (g Guard) Wrap(next http.Handler) http.Handler {
	own := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Add("Vary", "Origin") // so that no cache gives one site's answer to another
		// A browser sends no Sec-Fetch-Site to a server without TLS that is not this
		// machine. This header makes it refuse to embed our responses in a page of
		// another site.
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if g.Loopback && !g.names(r.Host) {
			refuse(w, http.StatusMisdirectedRequest, "this server answers on the loopback only, and not as the host that the request names",
				"open http://localhost, or name the proxy's host in egress.hosts")
			return
		}
		origin := r.Header.Get("Origin")
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		preflight := r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
		// Check allows every safe method, so it gets an unsafe one.
		asWrite := *r
		asWrite.Method = http.MethodPost
		switch {
		case (reads || preflight) && slices.Contains(g.Origins, origin):
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Expose-Headers", "Content-Length, Content-Range")
			if preflight {
				h.Set("Access-Control-Allow-Methods", "GET, HEAD")
				h.Set("Access-Control-Allow-Headers", "Range, Authorization")
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

// Metrics is Wrap for metrics, which name every camera. It also checks that the
// sender may operate the server, and allows no other site to read them.
func (g Guard) Metrics(next http.Handler) http.Handler {
	g.Origins = nil
	return g.Wrap(g.Policy.Operator(next))
}

// opensPage reports whether a person has followed a link of another site to the
// page, or comes back from the provider where they signed in. The other site can
// neither read nor frame the page that the browser then shows.
func opensPage(r *http.Request) bool {
	path := r.URL.Path
	page := path == "/" || path == people.CallbackPath || strings.HasPrefix(path, people.LinkPath) && strings.Count(path, "/") <= 3 && strings.HasSuffix(path, "/")
	return page && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
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
	_ = json.NewEncoder(w).Encode(answer.Error{Error: what, Remedy: remedy}) // the client has gone
}
