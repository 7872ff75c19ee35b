package egress

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/framelog/framelog/egress/api"
)

// Guard keeps pages of other sites away from a server that asks nobody for a
// password: what a person's browser can reach, any page that they open could.
type Guard struct {
	// Loopback says that the server listens on the loopback only. Then the
	// Host of every request must name the loopback, else a page could point
	// its own name at 127.0.0.1 and read everything (DNS rebinding).
	Loopback bool
	// Hosts are further names or addresses, in lower case and without ports,
	// that a request may name: that of a reverse proxy in front. Default none.
	Hosts []string
}

// Wrap refuses requests for another host, and those that change something and
// come from a page of another origin (Sec-Fetch-Site, else Origin against
// Host; a client that sends neither is no browser).
func (g Guard) Wrap(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.Loopback && !g.names(r.Host) {
			refuse(w, http.StatusMisdirectedRequest, "this server answers on the loopback only, and not as the host that the request names",
				"open http://localhost, or name the proxy's host in egress.hosts")
			return
		}
		if err := cross.Check(r); err != nil {
			refuse(w, http.StatusForbidden, "a page of another site may not change anything here", "use the page at /, or a client that is no browser")
			return
		}
		next.ServeHTTP(w, r)
	})
}

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
