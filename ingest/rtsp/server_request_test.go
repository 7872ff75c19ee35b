package rtsp_test

import (
	"errors"
	"testing"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/ingest/rtsp"
	"github.com/framelog/framelog/ingest/rtsp/native"
	"github.com/framelog/framelog/internal/rtspconn"
	"github.com/framelog/framelog/tests/testenv"
)

// A camera that makes requests of its own is left to GStreamer, which answers them.
func TestServerRequestsAreLeftToGStreamer(t *testing.T) {
	for name, g := range map[string]*guarded{
		"GET_PARAMETER":           {asks: "GET_PARAMETER", after: "PLAY"},
		"SET_PARAMETER":           {asks: "SET_PARAMETER", after: "PLAY"},
		"ANNOUNCE":                {asks: "ANNOUNCE", after: "PLAY"},
		"GET_PARAMETER, not yet":  {asks: "GET_PARAMETER", after: "DESCRIBE"},
		"GET_PARAMETER, password": {asks: "GET_PARAMETER", after: "PLAY", ask: map[string]bool{"DESCRIBE": true, "SETUP": true, "PLAY": true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if g.ask == nil {
				g.ask = map[string]bool{}
			}
			g.password = "canary"
			g.start(t)
			s, stop, wait := start(t, rtsp.Config{Engine: rtsp.EngineNative, URL: fixed(t, g.login(t, "canary").String()), Transport: rtsp.TransportTCP})
			ended := make(chan error, 1)
			go func() { ended <- wait() }()
			eventually(t, "an answer", func() bool { return g.counts().answers > 0 || len(ended) > 0 })
			stop()
			_ = wait()
			var told []string
			for _, e := range s.observed() {
				if e.Kind == ingest.EventEngine {
					told = append(told, e.Err.Error())
				}
			}
			if want := "it makes requests that must be answered (" + g.asks + ")"; len(told) != 1 || told[0] != want {
				t.Errorf("%q, want %q", told, want)
			}
			if n := g.counts(); n.conns != 2 || n.answers != 1 || n.wrong != 0 {
				t.Errorf("%+v", n)
			}
		})
	}
}

// Where there is no GStreamer, the end names the request.
func TestServerRequestEndsTheConnection(t *testing.T) {
	for asks, want := range map[string]string{"SET_PARAMETER": "SET_PARAMETER", "GET_CANARY": "another"} {
		g := &guarded{ask: map[string]bool{}, asks: asks, after: "PLAY"}
		g.start(t)
		conn := native.Open(rtspconn.Options{Location: g.url})
		<-conn.Done()
		var e *rtspconn.Error
		if err := conn.Err(); !errors.As(err, &e) || e.Failure != rtspconn.Requested || e.Detail != want {
			t.Errorf("%#v", err)
		}
		if err := conn.Close(testenv.Patience); err != nil {
			t.Error(err)
		}
	}
}
