package gstreamer

/*
#include "rtsp.h"
*/
import "C"

import (
	"time"
	"unsafe"

	"github.com/go-gst/go-gst/gst"

	"github.com/framelog/framelog/schemas"
)

// notSound are encodings that stand among those of sound in SDP and are none:
// keys that were pressed (RFC 4733), and the noise of silence (RFC 3389).
var notSound = map[string]bool{"TELEPHONE-EVENT": true, "CN": true}

// chainOf is what leads a stream from rtspsrc to the log; nil: nothing does.
func chainOf(t RTSPTrack, caps *gst.Caps) *rtspChain {
	if c := rtspChains[t.Encoding]; c != nil || t.ID != schemas.AudioTrack || t.Encoding == "" || notSound[t.Encoding] {
		return c
	}
	depayloader := C.fl_rtsp_sound_depayloader((*C.GstCaps)(unsafe.Pointer(caps.Instance())))
	if depayloader == nil {
		return nil
	}
	defer C.g_free(C.gpointer(unsafe.Pointer(depayloader)))
	name := C.GoString(depayloader)
	if !soundDepayloaders[name] {
		return nil
	}
	return toAAC(t.Encoding, name)
}

// watchDecoded watches the sound that a chain of toAAC decodes.
func watchDecoded(bin *gst.Bin, clockRate uint32) {
	if convert, err := bin.GetElementByName("convert"); err == nil && convert != nil {
		C.fl_rtsp_decoded(element(convert), C.guint32(clockRate))
	}
}

// noSoundLocked remembers sound that was announced and has no chain. It counts
// only where no other is selected.
func (r *RTSP) noSoundLocked(t RTSPTrack) {
	if r.noSound == "" && t.Encoding != "" && !notSound[t.Encoding] {
		r.noSound = t.Encoding
	}
}

// failSound gives the sound of this connection up. The video goes on.
func (r *RTSP) failSound(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, t := range r.selected {
		if t.ID == schemas.AudioTrack {
			r.selected = append(r.selected[:i:i], r.selected[i+1:]...)
			r.noSound, r.noSoundErr = t.Encoding, err
			return
		}
	}
}

// videoEnded ends the connection where no sound has come whose end is still to
// be waited for.
func (r *RTSP) videoEnded() {
	r.collect()
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.tracks[schemas.AudioTrack]; t == nil || t.media == "" {
		r.failLocked(ErrRTSPEnded)
	}
}

// SoundArrived is when the first packet came of the sound that is selected, even
// where its payload type is none of those that SDP names for it and it is left out;
// zero: none came.
func (r *RTSP) SoundArrived() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.soundArrived
}

// NoSound tells of sound that the camera announces and that does not come: its
// encoding, as in SDP and in upper case ("PAYLOAD-TYPE-77" where SDP does not name
// it), or "" where there is none such, and why:
// *RTSPUnsupportedError, *MissingError, or another error of its elements.
func (r *RTSP) NoSound() (encoding string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.selected {
		if t.ID == schemas.AudioTrack {
			return "", nil
		}
	}
	if r.noSound != "" && r.noSoundErr == nil {
		return r.noSound, &RTSPUnsupportedError{Encoding: r.noSound}
	}
	return r.noSound, r.noSoundErr
}
