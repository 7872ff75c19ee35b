package chart

import (
	"strings"
	"testing"
)

// Ingest runs without GStreamer if the values say so and its engine needs none. Nothing else of
// its pod changes.
func TestSlimIngest(t *testing.T) {
	const native = "\nconfig: '{access: {enabled: true}, ingest: {rtsp: {engine: native}}, cameras: []}'"
	pods := func(text string) map[string]string {
		images := map[string]string{}
		for _, d := range decode(t, text).deployments {
			checkPod(t, d.Name, d.Spec.Template)
			name, _, _ := strings.Cut(d.Spec.Template.Spec.Containers[0].Image, ":")
			images[strings.TrimPrefix(d.Name, "cams-framelog-")] = name
		}
		return images
	}
	if got := pods(least + native); got["ingest"] != "framelog" || got["egress"] != "framelog-slim" {
		t.Errorf("images: %v", got)
	}
	if got := pods(least + native + "\ningest: {slim: true}"); got["ingest"] != "framelog-slim" || got["egress"] != "framelog-slim" {
		t.Errorf("images with slim: %v", got)
	}
	if _, err := render(t, least+"\ningest: {slim: true}"); err == nil || !strings.Contains(err.Error(), "engine: native") {
		t.Errorf("slim with GStreamer's engine: %v", err)
	}
}
