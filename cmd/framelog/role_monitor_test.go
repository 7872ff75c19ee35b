package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/framelog/framelog/egress"
	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/monitor/lag"
)

// TestLagOfOthers: who may know of one camera gets the lag of this one alone. Another host
// is refused, and before the first reading the answer is 503.
func TestLagOfOthers(t *testing.T) {
	var failed error
	guard := egress.Guard{Loopback: true, Policy: access.Policy{Authorize: func(_ *http.Request, camera, _ string, action access.Action) bool {
		return camera == "yard" && action == access.List
	}}}
	h, err := lagHandler(guard, func() (lag.Report, error) {
		return lag.Report{Up: true, Cameras: []lag.Camera{{ID: "gate"}, {ID: "yard"}}}, failed
	})
	if err != nil {
		t.Fatal(err)
	}
	get := func(host string) *httptest.ResponseRecorder {
		req := httptest.NewRequest(http.MethodGet, "http://"+host+"/v1/lag", nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		return w
	}
	var got struct{ Cameras []struct{ ID string } }
	w := get("localhost")
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK || len(got.Cameras) != 1 || got.Cameras[0].ID != "yard" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v %s, %v", w.Code, w.Header(), w.Body, err)
	}
	if w := get("rebound.example"); w.Code != http.StatusMisdirectedRequest {
		t.Errorf("another host: %d %s", w.Code, w.Body)
	}
	failed = errors.New("not yet")
	if w := get("localhost"); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("before the first reading: %d %v", w.Code, w.Header())
	}
}
