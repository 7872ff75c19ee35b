package schemas

import (
	"slices"
	"strings"
	"testing"
)

// TestGoldenRegistry is TestGolden for the records of the registry.
func TestGoldenRegistry(t *testing.T) {
	record(t, "camera", &Camera{
		ID: "front-door", Label: "Front door", URL: "rtsp://10.0.0.5/stream1", User: "viewer", Password: "${file:front-door}", Transport: "tcp",
		NoAudio: true, Source: SourceFile, Origin: "framelog:12", Place: "nvr:/etc/framelog.yaml", Updated: someTime,
	}, EncodeCamera, func(b []byte) (Camera, error) { c, err := DecodeCamera(b); c.Updated = c.Updated.UTC(); return c, err })
	record(t, "camera-substream", &Camera{
		ID: "front-door", URL: "rtsp://10.0.0.5/stream1", User: "viewer", Password: "${file:front-door}",
		Substream: "rtsp://10.0.0.5/stream2", SubstreamUser: "viewer", SubstreamPassword: "${file:front-door}",
		Source: SourceAPI, Updated: someTime,
	}, EncodeCamera, func(b []byte) (Camera, error) { c, err := DecodeCamera(b); c.Updated = c.Updated.UTC(); return c, err })
	record(t, "purge", &Purge{Camera: "front-door", Lives: []string{"5f3a91c2", "00aa11bb"}, At: someTime}, EncodePurge, func(b []byte) (Purge, error) {
		p, err := DecodePurge(b)
		p.At = p.At.UTC()
		return p, err
	})
	decodeStatus := func(b []byte) (Status, error) {
		s, err := DecodeStatus(b)
		s.Since, s.Updated = s.Since.UTC(), s.Updated.UTC()
		if s.Substream != nil {
			s.Substream.Since = s.Substream.Since.UTC()
		}
		return s, err
	}
	record(t, "status", &Status{
		Camera: "front-door", Owner: "ingest-1", Host: "nvr", State: StateAway, Error: "no route", Since: someTime, Updated: someTime,
		Video: H264, Width: 640, Height: 360, FPS: 12.5, Bitrate: 4_000_000,
	}, EncodeStatus, decodeStatus)
	record(t, "status-stands", &Status{
		Camera: "front-door", Owner: "ingest-1", Host: "nvr", State: StateLive, Problem: "no keyframe for 20 s", Since: someTime, Updated: someTime,
		Video: H264, Audio: AAC, Absent: 1.3, AbsentReason: AbsentRestart,
		Stands: Standing{Life: "5f3a91c2", Seq: 1_700_000_123, Session: 7, Layout: someLayout, Media: 153_000_000_011_111},
	}, EncodeStatus, decodeStatus)
	record(t, "status-substream", &Status{
		Camera: "front-door", Owner: "ingest-1", Host: "nvr", State: StateLive, Since: someTime, Updated: someTime,
		Substream: &StreamStatus{
			State: StateAway, Error: "no route", Since: someTime, Video: H264, Width: 640, Height: 360,
			Stands: Standing{Life: "5f3a91c2", Seq: 1_700_000_123, Session: 7, Layout: someLayout, Media: 153_000_000_011_111},
		},
	}, EncodeStatus, decodeStatus)
}

// TestStreams: a camera's streams are records with one stream each.
func TestStreams(t *testing.T) {
	one := Camera{ID: "a", URL: "rtsp://h/1", User: "u", Password: "p", NoAudio: true}
	two := Camera{ID: "a", URL: "rtsp://h/2", User: "v", Password: "q", NoAudio: true}
	for _, tt := range []struct {
		cam  Camera
		want []Camera
	}{
		{one, []Camera{one}},
		{one.WithSub(two), []Camera{one, two}},
	} {
		if got := tt.cam.Streams(); !slices.Equal(got, tt.want) {
			t.Errorf("%+v has the streams %+v, want %+v", tt.cam, got, tt.want)
		}
	}
	if one.Equal(one.WithSub(two)) {
		t.Error("a camera with a second stream is equal to one without")
	}
}

// TestPurgedLives: the newest lives are remembered, each once.
func TestPurgedLives(t *testing.T) {
	p := Purge{Camera: "a"}.With(someTime, "", "one", "one", "two")
	if strings.Join(p.Lives, " ") != "one two" || !p.At.Equal(someTime) {
		t.Errorf("%+v", p)
	}
	for i := range MaxPurgedLives - 1 {
		p = p.With(someTime, strings.Repeat("x", i+1))
	}
	if len(p.Lives) != MaxPurgedLives || p.Lives[0] != "two" {
		t.Errorf("%d lives, the oldest is %q", len(p.Lives), p.Lives[0])
	}
}
