package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/framelog/framelog/internal/summary"
)

// summaryMagic begins a file of summaries, and names its version. A file of another version is
// made again.
const summaryMagic = "framelog summary 1\n"

// summarised is an hour of a series that does not change while its files stay.
type summarised struct {
	at int64 // the hour, counted from 1970
	// Its files are those between two neighbours, which belong to it: first and last are the
	// seqs of these, and sum is of the names of all. A first that is zero means the beginning of
	// the series.
	first, last numbers
	sum         uint64
	// dense: no seq is missing between its files.
	dense bool
	hour  *summary.Hour
}

func hourOf(at time.Time) int64        { return at.Unix() / 3600 }
func (s *summarised) start() time.Time { return time.Unix(s.at*3600, 0).UTC() }

// Bits of an hour in a file.
const (
	flagDense = 1 << iota
	flagEmpty
)

// encodeSummary makes a file of hours that have amounts of the same step. It is
//
//	summaryMagic
//	number of amounts of each hour
//	for each hour: hour, flags, seqs of its neighbours, sum of its files; unless it is empty, its amounts and what is missing
//	SHA-256 of all before
//
// with numbers as varints, but for the sum. Times are nanoseconds, those of what is missing from the
// beginning of the hour.
func encodeSummary(all []*summarised) []byte {
	b := binary.AppendUvarint([]byte(summaryMagic), uint64(len(all[0].hour.Amounts)))
	for _, s := range all {
		flags := uint64(0)
		if s.dense {
			flags |= flagDense
		}
		if s.hour.Empty() {
			flags |= flagEmpty
		}
		b = binary.AppendVarint(b, s.at)
		for _, v := range []uint64{flags, s.first.first, s.first.last, s.last.first, s.last.last} {
			b = binary.AppendUvarint(b, v)
		}
		b = binary.BigEndian.AppendUint64(b, s.sum)
		if flags&flagEmpty != 0 {
			continue
		}
		for _, a := range s.hour.Amounts {
			for _, v := range []int64{int64(a.Footage), int64(a.Missing), a.Bytes, int64(a.Notes)} {
				b = binary.AppendVarint(b, v)
			}
		}
		b = binary.AppendUvarint(b, uint64(len(s.hour.Missing)))
		for _, m := range s.hour.Missing {
			b = binary.AppendVarint(b, int64(m.Start.Sub(s.start())))
			b = binary.AppendVarint(b, int64(m.End.Sub(m.Start)))
			for _, text := range []string{m.Kind, m.Reason} {
				b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
			}
		}
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

var errNoSummary = errors.New("it is no file of summaries of this version, or is cut off or changed")

// decodeSummary reads a file of hours.
func decodeSummary(b []byte) ([]*summarised, error) {
	if len(b) < len(summaryMagic)+sha256.Size || !bytes.HasPrefix(b, []byte(summaryMagic)) {
		return nil, errNoSummary
	}
	body, want := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], want) {
		return nil, errNoSummary
	}
	r := varints{b: body[len(summaryMagic):]}
	n := r.unsigned()
	if n != 1 && n != 60 {
		return nil, errNoSummary
	}
	empty := &summary.Hour{Amounts: make([]summary.Amount, n)}
	var all []*summarised
	for len(r.b) > 0 && !r.failed {
		s := &summarised{at: r.signed()}
		flags := r.unsigned()
		s.dense = flags&flagDense != 0
		s.first, s.last = numbers{r.unsigned(), r.unsigned()}, numbers{r.unsigned(), r.unsigned()}
		s.sum, s.hour = r.fixed(), empty
		if s.at < 0 || s.at > math.MaxInt64/3600/int64(time.Second) {
			return nil, errNoSummary
		}
		if flags&flagEmpty == 0 {
			s.hour = r.hour(int(n), s.start())
		}
		all = append(all, s)
	}
	if r.failed {
		return nil, errNoSummary
	}
	return all, nil
}

// varints reads numbers. After the end of the bytes all are 0, and failed is set.
type varints struct {
	b      []byte
	failed bool
}

func (r *varints) unsigned() uint64 {
	v, n := binary.Uvarint(r.b)
	return next(r, v, n)
}

func (r *varints) signed() int64 {
	v, n := binary.Varint(r.b)
	return next(r, v, n)
}

func next[V int64 | uint64](r *varints, v V, n int) V {
	if n <= 0 {
		r.b, r.failed = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *varints) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.b, r.failed = nil, true
		return nil
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *varints) fixed() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *varints) hour(n int, start time.Time) *summary.Hour {
	h := &summary.Hour{Amounts: make([]summary.Amount, n)}
	for i := range h.Amounts {
		a := &h.Amounts[i]
		a.Footage, a.Missing, a.Bytes, a.Notes = time.Duration(r.signed()), time.Duration(r.signed()), r.signed(), int(r.signed())
	}
	for n := r.unsigned(); n > 0 && !r.failed; n-- {
		m := summary.Missing{Start: start.Add(time.Duration(r.signed()))}
		m.End = m.Start.Add(time.Duration(r.signed()))
		m.Kind, m.Reason = string(r.take(r.unsigned())), string(r.take(r.unsigned()))
		h.Missing = append(h.Missing, m)
	}
	return h
}
