package schemas

// Verdict is what a Judge finds of an entry.
type Verdict int

// Verdicts.
const (
	Valid Verdict = iota
	Void
	// Unknown: an `open` may stand between the entry's Prev and the first record that
	// the judge knows. The caller must look there.
	Unknown
)

// Judge decides which entries of an index are void. It is fed with every record
// from some offset on, in order. The zero Judge begins with the first record that it gets.
type Judge struct {
	start    int64 // the first offset that was fed
	lastOpen int64 // the newest `open` that was fed; -1: none
	fed      bool
}

// Start returns the first offset that j was fed with.
func (j *Judge) Start() int64 { return j.start }

// Skip feeds a record that is no entry.
func (j *Judge) Skip(offset int64) {
	if !j.fed {
		j.start, j.lastOpen, j.fed = offset, -1, true
	}
}

// Feed judges the next record. An `open` is always valid.
func (j *Judge) Feed(e *Entry) Verdict {
	j.Skip(e.Offset)
	switch {
	case e.Kind == KindOpen:
		j.lastOpen = e.Offset
		return Valid
	case e.Prev < 0 || e.Prev >= e.Offset:
		return Void // no correct writer makes such a record
	case e.Prev == e.Offset-1:
		return Valid // no record stands between
	case j.lastOpen > e.Prev:
		return Void
	case e.Prev+1 >= j.start:
		return Valid // all records between were fed, and none was an `open`
	}
	return Unknown
}
