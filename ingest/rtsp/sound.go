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

// soundPatience is how long packets of sound may come without a frame of it
// until that is a problem.
const soundPatience = 10 * time.Second

// tellSound tells what is wrong with the camera's sound, and "" where nothing
// is, once the connection plays and whenever that changes.
func (r *run) tellSound(now time.Time) {
	if !r.playing {
		return
	}
	problem := r.soundProblem(now)
	if r.soundTold && problem == r.sound {
		return
	}
	r.sound, r.soundTold = problem, true
	observe(r.deliver.sink, ingest.Event{Kind: ingest.EventSound, Transport: r.transport, Problem: problem})
}

func (r *run) soundProblem(now time.Time) string {
	if encoding, err := r.conn.NoSound(); err != nil {
		var missing *gstreamer.MissingError
		if errors.As(err, &missing) {
			return fmt.Sprintf("the sound is %s, for which GStreamer here lacks %s: recorded without sound; install with: apt-get install %s",
				soundName(encoding), strings.Join(missing.Elements, ", "), strings.Join(missing.Packages, " "))
		}
		return cannotDecode(encoding)
	}
	if r.deliver.refused != "" {
		return cannotDecode(r.deliver.refused)
	}
	if r.deliver.track(schemas.AudioTrack) != nil {
		return ""
	}
	if s, _, ok := r.conn.Start(schemas.AudioTrack); ok && now.Sub(s.Arrived) > soundPatience {
		for _, t := range r.conn.Selected() {
			if t.ID == schemas.AudioTrack {
				return cannotDecode(t.Encoding)
			}
		}
	}
	return ""
}

func cannotDecode(encoding string) string {
	switch name := soundName(encoding); name {
	case "AAC", "G.711", "Opus":
		return fmt.Sprintf("the sound is announced as %s and cannot be read as that: recorded without sound; set another kind of sound on the camera", name)
	}
	return fmt.Sprintf("the sound is %s, which GStreamer here cannot decode: recorded without sound; set AAC, G.711 or Opus on the camera", soundName(encoding))
}

// soundNames are what people call an encoding that SDP names otherwise.
var soundNames = map[string]string{
	"PCMU": "G.711", "PCMA": "G.711", "MPA": "MP3", "MPEG4-GENERIC": "AAC", "MP4A-LATM": "AAC", "AC3": "AC-3", "EAC3": "E-AC-3", "OPUS": "Opus",
	// As GStreamer names what its parsers give.
	"mpeg": "AAC", "x-opus": "Opus",
}

// soundName is an encoding of SDP as people write it: "G.729" for "G729".
func soundName(encoding string) string {
	name := printable(encoding)
	if n, ok := soundNames[name]; ok {
		return n
	}
	if strings.HasPrefix(name, "G7") {
		return "G." + name[1:]
	}
	return name
}
