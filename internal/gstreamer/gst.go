//go:build cgo

package gstreamer

import (
	"cmp"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/go-gst/go-gst/gst"
)

// Built tells whether GStreamer is part of this binary.
const Built = true

// debianPackage is the Debian or Ubuntu package that holds an element. An element
// that is not named here counts as one of the base plugins.
func debianPackage(element string) string {
	switch element {
	case "rtspsrc", "rtpbin", "aacparse", "jpegenc", "jpegdec", "udpsrc", "deinterlace":
		return "gstreamer1.0-plugins-good"
	case "h264parse", "h265parse", "jpegparse", "voaacenc", "opusparse", "errorignore", "openh264enc", "openh264dec", "libde265dec":
		return "gstreamer1.0-plugins-bad"
	case "x264enc":
		return "gstreamer1.0-plugins-ugly"
	case "queue", "fakesink", "identity", "capsfilter", "tee":
		return "libgstreamer1.0-0"
	}
	if strings.HasPrefix(element, "rtp") && strings.HasSuffix(element, "depay") {
		return "gstreamer1.0-plugins-good"
	}
	if strings.HasPrefix(element, "av") {
		return "gstreamer1.0-libav"
	}
	return "gstreamer1.0-plugins-base"
}

// initOnce guards the variables that go-gst writes at each call of its Init.
var initOnce sync.Once

// Init makes GStreamer ready. It may be called any number of times, from any
// goroutine: only the first call does the work.
func Init() error {
	initOnce.Do(func() {
		resumeNoTLS()
		gst.Init(nil)
	})
	return Require("queue", "appsink")
}

// resumeNoTLS turns the resumption of TLS sessions off in this process. GLib keeps
// sessions by address and port, and checks no certificate when it resumes one: after
// a connection that accepts any certificate, a connection that must check it would
// accept it too. GLib resumes by tickets alone, and this variable is the only way to
// refuse them (glib-networking, GnuTLS's priority strings).
func resumeNoTLS() {
	const name = "G_TLS_GNUTLS_PRIORITY"
	_ = os.Setenv(name, cmp.Or(os.Getenv(name), "NORMAL:%COMPAT")+":%NO_TICKETS") // it fails only for a malformed name
}

// Require returns a [*MissingError] if an element is not installed. Call Init
// before.
func Require(elements ...string) error {
	var e MissingError
	for _, name := range elements {
		if Has(name) {
			continue
		}
		e.Elements = append(e.Elements, name)
		if p := debianPackage(name); !slices.Contains(e.Packages, p) {
			e.Packages = append(e.Packages, p)
		}
	}
	if e.Elements == nil {
		return nil
	}
	return &e
}

// Has reports whether an element is installed.
func Has(element string) bool { return gst.Find(element) != nil }
