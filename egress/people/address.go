package people

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// address returns the address of the client that sent r. A proxy on this machine or in
// Config.Proxies adds the address that it saw to X-Forwarded-For, so the last one there that
// is no such proxy is the client's. What stands before it may be invented.
func (s *Server) address(r *http.Request) netip.Addr {
	addr := netip.IPv6Unspecified() // of a Unix socket, that of framelog up
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		addr = ap.Addr().Unmap()
		if !s.proxy(addr) {
			return addr
		}
	}
	all := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, text := range slices.Backward(all) {
		a, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil {
			break
		}
		if addr = a.Unmap(); !s.proxy(addr) {
			break
		}
	}
	return addr
}

// proxy reports whether an address is that of a proxy that tells the truth.
func (s *Server) proxy(a netip.Addr) bool {
	return a.IsLoopback() || slices.ContainsFunc(s.cfg.Proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}
