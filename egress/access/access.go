// Package access is the one place that decides who may do what with a camera.
// Each protocol gives its routes as a table of [Route], and [NewMux] asks
// [Authorize] before a route's handler runs, so before any cache. What a user may do
// is decided by [Allows].
package access

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Action is what a request wants to do.
type Action string

// The actions.
const (
	Public  Action = "public"  // what shows nothing about cameras; Authorize is not called
	List    Action = "list"    // know that a camera exists, and read its settings and state
	Watch   Action = "watch"   // read a camera's footage
	Export  Action = "export"  // take a camera's footage away as a file
	Change  Action = "change"  // add, change or remove a camera
	Operate Action = "operate" // read metrics, which name every camera
)

// Authorize reports whether the sender of r may do action with a camera and a
// rendition. Rendition "" means at least one rendition of the camera; the handler then
// asks for each (MayWatch). Camera "" means the whole server. It is called for each
// request, by many goroutines, and again while a stream is open.
type Authorize func(r *http.Request, camera, rendition string, action Action) bool

// Everyone is the Authorize of a server without users: it allows everything.
func Everyone(*http.Request, string, string, Action) bool { return true }

// Policy decides about requests.
type Policy struct {
	Authorize Authorize // needed
	// Known reports whether the sender of r has shown who they are. If not, every route
	// that is not public answers 401. nil: nobody has to.
	Known func(r *http.Request) bool
	// Allowed is told of every request about one camera that was allowed. nil: nobody is.
	Allowed func(r *http.Request, camera, rendition string, action Action)
}

// known reports whether the sender of r may ask at all. If not, it answers.
func (p Policy) known(w http.ResponseWriter, r *http.Request) bool {
	if p.Known == nil || p.Known(r) {
		return true
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="framelog"`) // RFC 6750 section 3
	refuse(w, http.StatusUnauthorized, unknown)
	return false
}

func refuse(w http.ResponseWriter, code int, body string) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, body) // the client has gone
}

const unknown = `{"error":"you are not signed in","remedy":"sign in on the page, or send a token: Authorization: Bearer fl_…"}` + "\n"

// Operator returns a handler that answers 401 or 403 to senders that may not operate the
// server, and else calls next.
func (p Policy) Operator(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !p.known(w, r) {
			return
		}
		if p.Authorize == nil || !p.Authorize(r, "", "", Operate) {
			refuse(w, http.StatusForbidden, operators)
			return
		}
		next.ServeHTTP(w, r)
	})
}

const operators = `{"error":"this is for those who operate the server","remedy":"sign in as an administrator, or as an operator of all cameras"}` + "\n"

// Route is an entry of a protocol's table.
type Route struct {
	Pattern string // as http.ServeMux takes it
	Action  Action
	// Label is the route's name in metrics.
	Label string
	// Subject returns the camera and the rendition of a request. The default takes
	// the wildcards {camera} and {rendition} of Pattern. A route with neither is
	// not about a single camera: its handler calls May for each camera, unless its action
	// is Operate, about which [NewMux] asks for the whole server.
	Subject func(r *http.Request) (camera, rendition string)
	// Denied answers a request about one camera that Authorize denies. Its answer
	// does not depend on whether the camera exists.
	Denied  func(w http.ResponseWriter, r *http.Request, camera string)
	Handler http.HandlerFunc
}

// about returns the Subject, or nil for a route that is not about a single
// camera.
func (rt Route) about() func(r *http.Request) (camera, rendition string) {
	if rt.Subject == nil && strings.Contains(rt.Pattern, "{camera}") {
		return func(r *http.Request) (string, string) { return r.PathValue("camera"), r.PathValue("rendition") }
	}
	return rt.Subject
}

func (rt Route) check() error {
	about := rt.about() != nil
	switch rt.Action {
	case Public:
		if about || strings.Contains(rt.Pattern, "{") {
			return fmt.Errorf("access: route %q: a public route must not be about a camera", rt.Pattern)
		}
	case List, Watch, Export, Change, Operate:
		if !about && strings.Contains(rt.Pattern, "{") {
			return fmt.Errorf("access: route %q: it has a wildcard, and neither {camera} nor a Subject", rt.Pattern)
		}
		if about && rt.Denied == nil {
			return fmt.Errorf("access: route %q: it has no answer for those who are denied", rt.Pattern)
		}
	default:
		return fmt.Errorf("access: route %q: %q is no action", rt.Pattern, rt.Action)
	}
	if rt.Handler == nil {
		return fmt.Errorf("access: route %q: it has no handler", rt.Pattern)
	}
	return nil
}

// NewMux makes the handler of all routes. wrap wraps the handler of each route
// together with its check. Errors name the wrong route.
func NewMux(policy Policy, routes []Route, wrap func(Route, http.Handler) http.Handler) (*http.ServeMux, error) {
	if policy.Authorize == nil {
		return nil, errors.New("access: an Authorize is needed")
	}
	mux := http.NewServeMux()
	for _, rt := range routes {
		if err := rt.check(); err != nil {
			return nil, err
		}
		mux.Handle(rt.Pattern, wrap(rt, rt.checked(policy)))
	}
	return mux, nil
}

// checked returns the route's handler with the check before it.
func (rt Route) checked(p Policy) http.Handler {
	if rt.Action == Public {
		return rt.Handler
	}
	about := rt.about()
	if about == nil && rt.Action == Operate {
		return p.Operator(rt.Handler)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !p.known(w, r) {
			return
		}
		if about != nil {
			camera, rendition := about(r)
			if !p.Authorize(r, camera, rendition, rt.Action) {
				rt.Denied(w, r, camera)
				return
			}
			if p.Allowed != nil {
				p.Allowed(r, camera, rendition, rt.Action)
			}
		}
		if p.Known != nil {
			w = &private{ResponseWriter: w}
		}
		rt.Handler(w, r.WithContext(context.WithValue(r.Context(), key{}, question{p, rt.Action})))
	})
}

type key struct{}

// question is what a route's handler may ask about cameras.
type question struct {
	policy Policy
	action Action
}

// May reports whether the sender of r may do the action of r's route with a
// camera. It is for routes about many cameras. Without a route it returns
// false.
func May(r *http.Request, camera string) bool { return MayStill(r, camera, "") }

// MayWatch reports whether the sender of r may watch a rendition of a camera. It is for
// routes about many cameras or renditions. Without a route it returns false.
func MayWatch(r *http.Request, camera, rendition string) bool {
	q, ok := r.Context().Value(key{}).(question)
	return ok && q.policy.Authorize(r, camera, rendition, Watch)
}

// MayStill reports whether the sender of r may still do what the route is for, to a rendition of
// a camera. It is for answers that take long. Without a route it returns false.
func MayStill(r *http.Request, camera, rendition string) bool {
	q, ok := r.Context().Value(key{}).(question)
	return ok && q.policy.Authorize(r, camera, rendition, q.action)
}

// BeginWatch is [MayWatch] for the moment at which a handler begins to send footage:
// [Policy.Allowed] is told of it. For a route about one camera NewMux does that.
func BeginWatch(r *http.Request, camera, rendition string) bool {
	if !MayWatch(r, camera, rendition) {
		return false
	}
	if q, ok := r.Context().Value(key{}).(question); ok && q.policy.Allowed != nil {
		q.policy.Allowed(r, camera, rendition, Watch)
	}
	return true
}
