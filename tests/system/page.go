package system

import (
	"slices"

	"github.com/framelog/framelog/tests/testenv"
)

// Player is what the page tells of one of its players.
type Player struct {
	Camera      string   `json:"camera"`
	Mode        string   `json:"mode"`
	Via         string   `json:"via"` // hls or socket
	State       string   `json:"state"`
	CurrentTime float64  `json:"currentTime"`
	Delay       *float64 `json:"delay"`
	Width       int      `json:"width"`
	Frames      int      `json:"frames"`
	Dropped     int      `json:"dropped"`
	Stalls      int      `json:"stalls"`
	FatalErrors int      `json:"fatalErrors"`
	Rebuilds    int      `json:"rebuilds"`
	FirstMS     *float64 `json:"firstPictureMs"`
	Errors      []string `json:"errors"`
}

// Players returns what the page tells of its players; none before it has loaded.
func Players(p *testenv.Page) []Player {
	var all []Player
	p.Eval("window.framelog ? window.framelog.players() : []", &all)
	return all
}

// Focused returns the player in focus, or the zero Player if there is none.
func Focused(p *testenv.Page) Player {
	all := Players(p)
	i := slices.IndexFunc(all, func(r Player) bool { return r.Mode == "focus" })
	if i < 0 {
		return Player{}
	}
	return all[i]
}
