package system

import (
	"testing"

	"github.com/framelog/framelog/ingest/rtsp"
	"github.com/framelog/framelog/tests/testenv"
)

// RTSPEngines are those that speak RTSP with cameras.
var RTSPEngines = []string{rtsp.EngineGStreamer, rtsp.EngineNative}

// Engines runs a test of cameras with the engine that it has by itself, which is "", and in long
// mode with each engine, one after the other.
func Engines(t *testing.T, test func(t *testing.T, engine string)) {
	if !testenv.IsLong() {
		test(t, "")
		return
	}
	for _, engine := range RTSPEngines {
		t.Run(engine, func(t *testing.T) { test(t, engine) })
	}
}

// Up is [testenv.Up] of a Framelog whose cameras have this engine, unless they name another one. ""
// is the default. It is an error if the native engine leaves a camera to GStreamer.
func Up(t *testing.T, engine string, o testenv.UpOptions) *testenv.Framelog {
	t.Helper()
	if engine != "" {
		o.Env = append(o.Env, "FRAMELOG_INGEST_RTSP_ENGINE="+engine)
	}
	f := testenv.Up(t, o)
	t.Cleanup(func() {
		if engine == rtsp.EngineNative && f.Log.Contains("the native engine leaves this camera to GStreamer") {
			t.Error("system: the native engine has left a camera to GStreamer")
		}
	})
	return f
}
