package access

import (
	"net/http"
	"net/url"
	"path"
)

// Headers of a request to the handler of [NewAsk].
const (
	AskedURI    = "X-Original-URI"    // path of the request in question
	AskedMethod = "X-Original-Method" // its method; default GET
)

// NewAsk makes a handler that answers whether the sender may make another request: 204, 401
// or 403. A proxy that serves files or has a cache asks it before it answers by itself, as
// Nginx does with auth_request. The answer comes from the same routes. The path must be in
// its shortest form and without escapes, since a proxy and NewMux may read others
// differently.
func NewAsk(policy Policy, routes []Route) (http.HandlerFunc, error) {
	same := make([]Route, len(routes))
	for i, rt := range routes {
		rt.Handler = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
		if rt.Denied != nil {
			rt.Denied = func(w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(http.StatusForbidden) }
		}
		same[i] = rt
	}
	mux, err := NewMux(policy, same, func(_ Route, h http.Handler) http.Handler { return h })
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		about, ok := asked(r)
		if !ok {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, about)
	}, nil
}

// asked returns the request in question.
func asked(r *http.Request) (*http.Request, bool) {
	u, err := url.ParseRequestURI(r.Header.Get(AskedURI))
	if err != nil || u.IsAbs() || u.Host != "" || u.EscapedPath() != u.Path || path.Clean(u.Path) != u.Path {
		return nil, false
	}
	out := r.Clone(r.Context())
	out.URL, out.RequestURI, out.Method = u, u.RequestURI(), http.MethodGet
	if m := r.Header.Get(AskedMethod); m != "" {
		out.Method = m
	}
	return out, out.Method != http.MethodConnect // a mux reads its path in another way
}
