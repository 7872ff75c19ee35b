package rtsp

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/gstreamer"
	"github.com/framelog/framelog/schemas"
)

// soundPatience is how long packets of sound may give no frame of sound before
// this is a problem.
const soundPatience = 10 * time.Second

// tellSound reports the problem of the camera's sound ("": none) when it is known
// and whenever it changes.
func (r *run) tellSound(now time.Time) {
	if !r.playing {
		return
	}
	problem, known := r.soundProblem(now)
	if !known || r.soundTold && problem == r.sound {
		return
	}
	r.sound, r.soundTold = problem, true
	observe(r.deliver.sink, ingest.Event{Kind: ingest.EventSound, Transport: r.transport, Problem: problem})
}

// soundProblem returns the problem of the sound. known is false while announced
// sound may still come: until then the problem of the connection before stays.
func (r *run) soundProblem(now time.Time) (problem string, known bool) {
	if encoding, err := r.conn.NoSound(); err != nil {
		var missing *gstreamer.MissingError
		if errors.As(err, &missing) {
			return fmt.Sprintf("the sound is %s, for which GStreamer here lacks %s: recorded without sound; install with: apt-get install %s",
				soundName(encoding), strings.Join(missing.Elements, ", "), strings.Join(missing.Packages, " ")), true
		}
		if r.native {
			return fmt.Sprintf("the sound is %s, which only GStreamer can convert, and this ingest is built without it: recorded without sound; set AAC or Opus on the camera, or use an ingest with GStreamer", soundName(encoding)), true
		}
		return cannotDecode(encoding), true
	}
	if r.deliver.refused != "" {
		return cannotDecode(r.deliver.refused), true
	}
	if r.deliver.track(schemas.AudioTrack) != nil {
		return "", true
	}
	for _, t := range r.conn.Selected() {
		if t.ID != schemas.AudioTrack {
			continue
		}
		at := r.conn.SoundArrived()
		if at.IsZero() { // a microphone that is off sends nothing
			return "", r.deliver.sawVideo && now.Sub(r.deliver.first) > soundPatience
		}
		known = now.Sub(at) > soundPatience
		if _, _, ok := r.conn.Start(t.ID); !ok {
			return announcedAs(soundName(t.Encoding)), known
		}
		return cannotDecode(t.Encoding), known
	}
	return "", true
}

func cannotDecode(encoding string) string {
	switch name := soundName(encoding); name {
	case "AAC", "G.711", "Opus":
		return announcedAs(name)
	}
	return fmt.Sprintf("the sound is %s, which GStreamer here cannot decode: recorded without sound; set AAC, G.711 or Opus on the camera", soundName(encoding))
}

// announcedAs returns the problem of packets that differ from what SDP
// announces.
func announcedAs(name string) string {
	return fmt.Sprintf("the sound is announced as %s and cannot be read as that: recorded without sound; set another kind of sound on the camera", name)
}

// soundNames maps encodings to the names that people use.
var soundNames = map[string]string{
	"PCMU": "G.711", "PCMA": "G.711", "MPA": "MP3", "MPEG4-GENERIC": "AAC", "MP4A-LATM": "AAC", "AC3": "AC-3", "EAC3": "E-AC-3", "OPUS": "Opus",
	string(schemas.AAC): "AAC", string(schemas.Opus): "Opus",
}

// soundName returns an encoding of SDP as people write it: "G.729" for "G729".
func soundName(encoding string) string {
	name := printable(encoding)
	if n, ok := soundNames[name]; ok {
		return n
	}
	if n, ok := strings.CutPrefix(name, "PAYLOAD-TYPE-"); ok {
		return "payload type " + n
	}
	if strings.HasPrefix(name, "G7") {
		return "G." + name[1:]
	}
	return name
}
