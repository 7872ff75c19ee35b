package schemas

import (
	"encoding/json"
	"time"
)

// Data is the JSON value of a sample of a track [JSON], as the processors of Framelog
// write it: what stands in a picture, or an event. Readers ignore keys that they do not
// know.
type Data struct {
	Boxes []Box   `json:"boxes,omitempty"`
	Score float64 `json:"score,omitempty"` // of the picture, by the processor's own measure
	Event *Event  `json:"event,omitempty"`
}

// Box is a rectangle in a picture. The picture is 1 wide and 1 high, and (0, 0) is its
// top left corner.
type Box struct {
	X     float64 `json:"x"`
	Y     float64 `json:"y"`
	W     float64 `json:"w"`
	H     float64 `json:"h"`
	Label string  `json:"label,omitempty"`
	Score float64 `json:"score,omitempty"` // 0 to 1
}

// Event is something that happened in a fragment. An event that goes on in the next
// fragment is another event there, which begins where this one ends.
type Event struct {
	Type  string          `json:"type"` // "motion"
	Start time.Time       `json:"start"`
	End   time.Time       `json:"end"`
	Value float64         `json:"value,omitempty"` // its peak, by the processor's own measure
	Boxes []Box           `json:"boxes,omitempty"` // where, over its whole time
	Data  json.RawMessage `json:"data,omitempty"`  // more, as the processor likes
}

// Note is the JSON value of an entry's note, as the processors of Framelog write it: the
// fragment's events, shortened for a timeline.
type Note struct {
	Events []NoteEvent `json:"events,omitempty"`
	More   int         `json:"more,omitempty"` // events that did not fit
}

// NoteEvent is an event in a [Note].
type NoteEvent struct {
	Type  string  `json:"t"`
	Start float64 `json:"s"` // seconds from the fragment's start
	End   float64 `json:"e"`
	Value float64 `json:"v,omitempty"`
}
