package people

import (
	"net/http"
	"time"

	"github.com/framelog/framelog/egress/answer"
	"github.com/framelog/framelog/schemas"
)

// longestShare is the longest life of a share link.
const longestShare = 30 * 24 * time.Hour

// link is what a share link holds.
type link struct {
	Camera    string    `json:"camera"`
	Rendition string    `json:"rendition"`
	Until     time.Time `json:"until"`
	// User is who made it, and Stamp their stamp. The link ends with their rights or their
	// password.
	User  string `json:"user"`
	Stamp string `json:"stamp,omitempty"`
}

// Shared is the answer of POST /v1/share/<camera>/<rendition>.
type Shared struct {
	Path     string    `json:"path"`     // of the page with this camera alone
	Playlist string    `json:"playlist"` // path of the multivariant playlist
	Until    time.Time `json:"until"`
}

// share answers POST /v1/share/<camera>/<rendition>, with the body {"for":"24h"}, by a link
// with which everybody may watch that rendition until it ends. Only the signature makes it
// valid, so nothing is kept of it.
func (s *Server) share(w http.ResponseWriter, r *http.Request) {
	var body struct{ For string }
	if err := decode(w, r, &body); err != nil {
		answer.Fail(w, http.StatusBadRequest, "the body is no share: "+err.Error(), `send JSON such as {"for":"24h"}`)
		return
	}
	d, err := time.ParseDuration(body.For)
	if err != nil || d < time.Minute || d > longestShare {
		answer.Fail(w, http.StatusBadRequest, "for: want how long the link is valid, from 1m to "+longestShare.String(), `send JSON such as {"for":"24h"}`)
		return
	}
	if !s.required() {
		answer.Fail(w, http.StatusNotFound, "nobody has to sign in here, so the address of the camera is a link for everybody", "")
		return
	}
	who := s.sender(r)
	l := link{Camera: r.PathValue("camera"), Rendition: r.PathValue("rendition"), Until: time.Now().Add(d).UTC().Truncate(time.Second)}
	if who == nil || who.link != nil || schemas.ValidateRendition(l.Rendition) != nil {
		answer.Denied(w, r, l.Camera)
		return
	}
	l.User, l.Stamp = who.user.Name, who.user.Stamp
	text, err := seal(s.users.SigningKey(), forShare, l)
	if err != nil {
		s.log.Error("cannot sign a share link", "err", err)
		answer.Fail(w, http.StatusInternalServerError, "the link cannot be signed", "see the server's log")
		return
	}
	s.log.Info("audit", "event", "share", "user", l.User, "by", who.by(), "camera", l.Camera, "rendition", l.Rendition, "until", l.Until, "address", s.address(r))
	playlist := "/hls/" + l.Camera + "/" + l.Rendition + "/index.m3u8"
	if l.Rendition == schemas.Raw {
		playlist = "/hls/" + l.Camera + "/index.m3u8"
	}
	answer.JSON(w, http.StatusCreated, Shared{Path: LinkPath + text + "/", Playlist: LinkPath + text + playlist, Until: l.Until})
}
