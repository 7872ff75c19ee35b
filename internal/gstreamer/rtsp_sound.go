package gstreamer

/*
#include "rtsp.h"
*/
import "C"

import (
	"time"
	"unsafe"

	"github.com/go-gst/go-gst/gst"

	"github.com/framelog/framelog/internal/rtspconn"
	"github.com/framelog/framelog/schemas"
)

// notSound are encodings in audio sections of SDP that are no sound: telephone
// keys (RFC 4733), and comfort noise (RFC 3389).
var notSound = map[string]bool{"TELEPHONE-EVENT": true, "CN": true}

// chainOf returns the chain for a stream of rtspsrc; nil if there is none.
func chainOf(t rtspconn.Track, caps *gst.Caps) *rtspChain {
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

// noSoundLocked remembers sound that was announced and has no chain. It counts only
// if no other sound is selected.
func (r *RTSP) noSoundLocked(t rtspconn.Track) {
	if r.noSound == "" && t.Encoding != "" && !notSound[t.Encoding] {
		r.noSound = t.Encoding
	}
}

// failSound ends the sound of this connection. The video goes on.
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

// videoEnded ends the connection, unless sound has come: then the connection ends
// with the sound.
func (r *RTSP) videoEnded() {
	r.collect()
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.tracks[schemas.AudioTrack]; t == nil || t.codec == "" {
		r.failLocked(rtspconn.ErrEnded)
	}
}

// SoundArrived returns when the first packet of the selected sound came; zero: none
// came. Packets count even if they are left out because SDP does not name their
// payload type.
func (r *RTSP) SoundArrived() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.soundArrived
}

// NoSound returns the encoding of announced sound that cannot be received, as in SDP
// and in upper case ("PAYLOAD-TYPE-77" if SDP does not name it); "" if there is none.
// The error is the reason: *rtspconn.UnsupportedError, *MissingError, or another error of
// its elements.
func (r *RTSP) NoSound() (encoding string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.selected {
		if t.ID == schemas.AudioTrack {
			return "", nil
		}
	}
	if r.noSound != "" && r.noSoundErr == nil {
		return r.noSound, &rtspconn.UnsupportedError{Encoding: r.noSound}
	}
	return r.noSound, r.noSoundErr
}
