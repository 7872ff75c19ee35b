package schemas

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// Version is the major version of the records that this package writes. Readers
// read every older one, ignore keys that they do not know, and refuse a newer one.
// So upgrade readers first.
const Version = 1

// ErrNewer is returned for a record of a newer major version.
var ErrNewer = errors.New("record is of a newer schema version; upgrade this reader")

// MaxSamples is the most samples of one run. The length of a table comes from
// outside. No valid chunk has so many samples: they are 22 minutes of frames at
// 50 Hz.
const MaxSamples = 1 << 16

// Names of the record headers that repeat what routing needs, as decimal text.
const (
	HeaderVersion = "v"
	HeaderCodec   = "codec" // of the video track; without video, of the track that there is
	HeaderEpoch   = "epoch"
	HeaderSeq     = "seq"
	HeaderIndex   = "index"
	HeaderKey     = "key"  // "1": begins with a sync sample; without video, chunk 0
	HeaderLast    = "last" // "1": certainly the fragment's last chunk
)

// Header is one record header.
type Header struct {
	Key   string
	Value []byte
}

type wireLayout struct {
	ID     uint32 `msgpack:"n"`
	Target uint32 `msgpack:"td"`
	Part   uint32 `msgpack:"pt"`
	Video  Codec  `msgpack:"v,omitempty"`
	Audio  Codec  `msgpack:"a,omitempty"`
	Data   Codec  `msgpack:"d,omitempty"`
}

type wireTrack struct {
	ID         uint8  `msgpack:"id"`
	Codec      Codec  `msgpack:"c"`
	Timescale  uint32 `msgpack:"ts"`
	Config     []byte `msgpack:"cfg,omitempty"`
	Width      uint16 `msgpack:"w,omitempty"`
	Height     uint16 `msgpack:"h,omitempty"`
	SampleRate uint32 `msgpack:"sr,omitempty"`
	Channels   uint8  `msgpack:"ch,omitempty"`
}

type wireRun struct {
	Track     uint8    `msgpack:"t"`
	DTS       int64    `msgpack:"d"`
	Durations []uint32 `msgpack:"du"`
	Offsets   []int32  `msgpack:"po,omitempty"` // absent: all 0
	Sizes     []uint32 `msgpack:"sz"`
	Sync      []uint32 `msgpack:"k,omitempty"` // positions of sync samples; absent with "ak"
	AllSync   bool     `msgpack:"ak,omitempty"`
}

type wireLineage struct {
	Source    string `msgpack:"s"`
	Seq       uint64 `msgpack:"q"`
	Processor string `msgpack:"p"`
	Version   string `msgpack:"v"`
}

type wireChunk struct {
	V        int          `msgpack:"v"`
	Epoch    int64        `msgpack:"e"`
	Session  uint64       `msgpack:"se"`
	Layout   wireLayout   `msgpack:"ly"`
	Seq      uint64       `msgpack:"q"`
	Index    uint32       `msgpack:"i"`
	Last     bool         `msgpack:"l"`
	Ended    bool         `msgpack:"en,omitempty"`
	Start    int64        `msgpack:"st"`
	Media    int64        `msgpack:"m,omitempty"`
	Duration int64        `msgpack:"d,omitempty"`
	Captured int64        `msgpack:"ca"`
	Camera   int64        `msgpack:"cc,omitempty"`
	Tracks   []wireTrack  `msgpack:"tr,omitempty"`
	OpenGOP  bool         `msgpack:"og,omitempty"`
	Runs     []wireRun    `msgpack:"s"`
	Lineage  *wireLineage `msgpack:"ln,omitempty"`
	Payload  wirePayload  `msgpack:"b"`
}

// wirePayload is the bytes of the samples. The encoder writes them without a copy of
// the whole payload. The decoder reads them in one piece, as a copy or as a slice of
// the record.
type wirePayload struct {
	runs  []Run  // to encode
	size  int    // bytes of runs
	share []byte // the record that is decoded, if the payload shall be a slice of it
	read  []byte // decoded
}

// EncodeMsgpack implements msgpack.CustomEncoder.
func (p *wirePayload) EncodeMsgpack(e *msgpack.Encoder) error {
	if err := e.EncodeBytesLen(p.size); err != nil {
		return err
	}
	for _, r := range p.runs {
		for i := range r.Samples {
			if _, err := e.Writer().Write(r.Samples[i].Data); err != nil {
				return err
			}
		}
	}
	return nil
}

// DecodeMsgpack implements msgpack.CustomDecoder.
func (p *wirePayload) DecodeMsgpack(d *msgpack.Decoder) (err error) {
	r, ok := d.Buffered().(*bytes.Reader)
	if p.share == nil || !ok {
		p.read, err = d.DecodeBytes()
		return err
	}
	n, err := d.DecodeBytesLen()
	if err != nil {
		return err
	}
	n = max(n, 0) // -1 is nil
	if n > r.Len() {
		return io.ErrUnexpectedEOF
	}
	at := len(p.share) - r.Len()
	p.read = p.share[at : at+n : at+n]
	_, err = r.Seek(int64(n), io.SeekCurrent)
	return err
}

type wireEntry struct {
	V         int         `msgpack:"v"`
	Kind      Kind        `msgpack:"k"`
	Prev      int64       `msgpack:"pv"`
	Life      string      `msgpack:"lf,omitempty"`
	Seq       uint64      `msgpack:"q,omitempty"`
	Session   uint64      `msgpack:"se,omitempty"`
	Layout    *wireLayout `msgpack:"ly,omitempty"`
	Config    string      `msgpack:"cf,omitempty"`
	OpenGOP   bool        `msgpack:"og,omitempty"`
	Start     int64       `msgpack:"st,omitempty"`
	Media     int64       `msgpack:"m,omitempty"`
	Duration  int64       `msgpack:"d,omitempty"`
	Run       [][2]int64  `msgpack:"ds,omitempty"` // pairs of a number of seqs and the duration of each
	Bytes     int64       `msgpack:"by,omitempty"`
	Epoch     int64       `msgpack:"e,omitempty"`
	Partition int32       `msgpack:"p,omitempty"`
	First     int64       `msgpack:"o,omitempty"`
	Last      int64       `msgpack:"ol,omitempty"`
	Chunks    uint32      `msgpack:"n,omitempty"`
	Packets   uint32      `msgpack:"lp,omitempty"`
	Units     uint32      `msgpack:"lu,omitempty"`
	Ended     bool        `msgpack:"en,omitempty"`
	Reason    string      `msgpack:"r,omitempty"`
	Absent    int64       `msgpack:"ab,omitempty"`
	AbsentWhy string      `msgpack:"ar,omitempty"`
	Writer    string      `msgpack:"w,omitempty"`
	Host      string      `msgpack:"h,omitempty"`
	From      uint64      `msgpack:"fr,omitempty"`
	Unit      string      `msgpack:"fu,omitempty"`
	Processor string      `msgpack:"pr,omitempty"`
	Attempt   uint32      `msgpack:"at,omitempty"`
	Role      Role        `msgpack:"ro,omitempty"`
	Source    *wireCopy   `msgpack:"sc,omitempty"`
	Note      string      `msgpack:"nt,omitempty"`
}

type wireCopy struct {
	Epoch  int64  `msgpack:"e"`
	First  int64  `msgpack:"o"`
	Chunks uint32 `msgpack:"n"`
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(v int64) time.Time {
	if v == 0 {
		return time.Time{}
	}
	return time.UnixMicro(v).UTC()
}

// encode encodes v; size is the number of bytes to expect.
func encode(v any, size int) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(size)
	e := msgpack.GetEncoder()
	defer msgpack.PutEncoder(e)
	e.Reset(&b)
	e.UseCompactInts(true)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// decode decodes a map into v. It panics for no input, and uses little more memory
// than the input.
func decode(b []byte, version *int, v any) error {
	if _, err := shapeOf(b); err != nil {
		return err
	}
	err := msgpack.Unmarshal(b, v)
	if err != nil {
		// A newer version may have changed the type of a key. Then the version is the
		// cause to report.
		var only struct {
			V int `msgpack:"v"`
		}
		if msgpack.Unmarshal(b, &only) == nil {
			*version = only.V
		}
	}
	if *version > Version {
		return fmt.Errorf("%w (version %d, this reader knows up to %d)", ErrNewer, *version, Version)
	}
	if err != nil {
		return err
	}
	if *version < 1 {
		return errors.New("no schema version")
	}
	return nil
}

// VersionOf returns the schema version of a record of any kind, also of a newer one.
// Errors: b is no record.
func VersionOf(b []byte) (int, error) {
	var only struct {
		V int `msgpack:"v"`
	}
	if _, err := shapeOf(b); err != nil {
		return 0, fmt.Errorf("schemas: read version: %w", err)
	}
	if err := msgpack.Unmarshal(b, &only); err != nil {
		return 0, fmt.Errorf("schemas: read version: %w", err)
	}
	if only.V < 1 {
		return 0, errors.New("schemas: read version: no schema version")
	}
	return only.V, nil
}

// EncodeChunk encodes c as the value of a record of a media topic.
func EncodeChunk(c *Chunk) ([]byte, error) {
	w := wireChunk{
		V: Version, Epoch: c.Epoch, Session: c.Session, Layout: wireLayout(c.Layout),
		Seq: c.Seq, Index: c.Index, Last: c.Last, OpenGOP: c.OpenGOP, Ended: c.Ended,
		Start: micros(c.Start), Captured: micros(c.Captured), Camera: micros(c.CameraTime),
		Media: c.Media, Duration: c.Duration,
		Runs:    make([]wireRun, 0, len(c.Runs)),
		Payload: wirePayload{runs: c.Runs, size: c.Size()},
	}
	for _, t := range c.Tracks {
		w.Tracks = append(w.Tracks, wireTrack(t))
	}
	for _, r := range c.Runs {
		wr, err := encodeRun(r)
		if err != nil {
			return nil, fmt.Errorf("schemas: encode chunk %d.%d: %w", c.Seq, c.Index, err)
		}
		w.Runs = append(w.Runs, wr)
	}
	if c.Lineage != nil {
		l := wireLineage(*c.Lineage)
		w.Lineage = &l
	}
	b, err := encode(&w, w.Payload.size+1024)
	if err != nil {
		return nil, fmt.Errorf("schemas: encode chunk %d.%d: %w", c.Seq, c.Index, err)
	}
	return b, nil
}

func encodeRun(r Run) (wireRun, error) {
	n := len(r.Samples)
	if n > MaxSamples {
		return wireRun{}, fmt.Errorf("track %d: %d samples, at most %d", r.Track, n, MaxSamples)
	}
	w := wireRun{Track: r.Track, Durations: make([]uint32, n), Sizes: make([]uint32, n)}
	for i, s := range r.Samples {
		if i == 0 {
			w.DTS = s.DTS
		} else if p := r.Samples[i-1]; p.DTS+int64(p.Duration) != s.DTS {
			return wireRun{}, fmt.Errorf("track %d: sample %d begins at %d, the one before ends at %d", r.Track, i, s.DTS, p.DTS+int64(p.Duration))
		}
		w.Durations[i], w.Sizes[i] = s.Duration, uint32(len(s.Data))
		if s.PTSOffset != 0 && w.Offsets == nil {
			w.Offsets = make([]int32, n)
		}
		if s.Sync {
			w.Sync = append(w.Sync, uint32(i))
		}
	}
	for i := range w.Offsets {
		w.Offsets[i] = r.Samples[i].PTSOffset
	}
	if len(w.Sync) == n {
		w.Sync, w.AllSync = nil, true
	}
	return w, nil
}

// DecodeChunk decodes the value of a record of a media topic. Sample data are slices
// of one array that belongs to the chunk: the caller may use b again.
func DecodeChunk(b []byte) (*Chunk, error) { return decodeChunk(b, nil) }

// DecodeChunkShared is [DecodeChunk] without a copy of the payload: sample data are
// slices of b. So b must not change any more, and stays in memory as long as any of
// them. The rest of the chunk does not refer to b.
func DecodeChunkShared(b []byte) (*Chunk, error) { return decodeChunk(b, b) }

func decodeChunk(b, share []byte) (*Chunk, error) {
	w := wireChunk{Payload: wirePayload{share: share}}
	if err := decode(b, &w.V, &w); err != nil {
		return nil, fmt.Errorf("schemas: decode chunk: %w", err)
	}
	c := &Chunk{
		Epoch: w.Epoch, Session: w.Session, Layout: Layout(w.Layout), Media: w.Media, Duration: w.Duration,
		Seq: w.Seq, Index: w.Index, Last: w.Last, OpenGOP: w.OpenGOP, Ended: w.Ended,
		Start: fromMicros(w.Start), Captured: fromMicros(w.Captured), CameraTime: fromMicros(w.Camera),
	}
	for _, t := range w.Tracks {
		c.Tracks = append(c.Tracks, Track(t))
	}
	if w.Lineage != nil {
		l := Lineage(*w.Lineage)
		c.Lineage = &l
	}
	rest := w.Payload.read
	for i := range w.Runs {
		r, left, err := decodeRun(&w.Runs[i], rest)
		if err != nil {
			return nil, fmt.Errorf("schemas: decode chunk %d.%d: track %d: %w", w.Seq, w.Index, w.Runs[i].Track, err)
		}
		c.Runs, rest = append(c.Runs, r), left
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("schemas: decode chunk %d.%d: %d bytes of payload belong to no sample", w.Seq, w.Index, len(rest))
	}
	return c, nil
}

func decodeRun(w *wireRun, payload []byte) (Run, []byte, error) {
	n := len(w.Sizes)
	if n > MaxSamples {
		return Run{}, nil, fmt.Errorf("%d samples, at most %d", n, MaxSamples)
	}
	if len(w.Durations) != n || (len(w.Offsets) != 0 && len(w.Offsets) != n) {
		return Run{}, nil, fmt.Errorf("sample tables of %d sizes, %d durations and %d offsets", n, len(w.Durations), len(w.Offsets))
	}
	r := Run{Track: w.Track, Samples: make([]Sample, n)}
	dts := w.DTS
	for i := range r.Samples {
		size := int(w.Sizes[i])
		if size > len(payload) {
			return Run{}, nil, fmt.Errorf("sample %d of %d bytes is longer than the payload left (%d)", i, size, len(payload))
		}
		s := &r.Samples[i]
		s.DTS, s.Duration, s.Sync = dts, w.Durations[i], w.AllSync
		s.Data, payload = payload[:size:size], payload[size:]
		if len(w.Offsets) != 0 {
			s.PTSOffset = w.Offsets[i]
		}
		dts += int64(s.Duration)
	}
	for _, k := range w.Sync {
		if int(k) >= n {
			return Run{}, nil, fmt.Errorf("sync sample %d of %d", k, n)
		}
		r.Samples[k].Sync = true
	}
	return r, payload, nil
}

// ChunkHeaders returns the headers of a chunk's record.
func ChunkHeaders(c *Chunk) []Header {
	flag := func(b bool) []byte {
		if b {
			return []byte("1")
		}
		return []byte("0")
	}
	v := c.Video()
	return []Header{
		{HeaderVersion, strconv.AppendInt(nil, Version, 10)},
		{HeaderCodec, []byte(c.Layout.Codec())},
		{HeaderEpoch, strconv.AppendInt(nil, c.Epoch, 10)},
		{HeaderSeq, strconv.AppendUint(nil, c.Seq, 10)},
		{HeaderIndex, strconv.AppendUint(nil, uint64(c.Index), 10)},
		{HeaderKey, flag(len(v) > 0 && v[0].Sync || len(v) == 0 && c.Index == 0)},
		{HeaderLast, flag(c.Last)},
	}
}

// EncodeEntry encodes e as the value of a record of an index topic.
func EncodeEntry(e *Entry) ([]byte, error) {
	w := wireEntry{
		V: Version, Kind: e.Kind, Prev: e.Prev, Life: e.Life, Seq: e.Seq, Session: e.Session, Config: e.Config, OpenGOP: e.OpenGOP,
		Start: micros(e.Start), Media: e.Media, Duration: e.Duration, Bytes: e.Bytes,
		Epoch: e.Epoch, Partition: e.Partition, First: e.First, Last: e.Last, Chunks: e.Chunks,
		Packets: e.Lost.Packets, Units: e.Lost.Units, Ended: e.Ended, Reason: e.Reason,
		Absent: e.Absent, AbsentWhy: e.AbsentReason, Writer: e.Writer, Host: e.Host, From: e.From, Unit: e.Unit,
		Processor: e.Processor, Attempt: e.Attempt, Role: e.Role, Note: e.Note,
	}
	if e.Layout != (Layout{}) {
		l := wireLayout(e.Layout)
		w.Layout = &l
	}
	if e.Source != (Copy{}) {
		c := wireCopy(e.Source)
		w.Source = &c
	}
	if e.Run != nil {
		for _, d := range e.Run.Durations {
			if n := len(w.Run); n > 0 && w.Run[n-1][1] == d {
				w.Run[n-1][0]++
				continue
			}
			w.Run = append(w.Run, [2]int64{1, d})
		}
	}
	if len(e.Note) > MaxNote {
		return nil, fmt.Errorf("schemas: encode entry %d: a note of %d bytes, at most %d", e.Seq, len(e.Note), MaxNote)
	}
	b, err := encode(&w, 256)
	if err != nil {
		return nil, fmt.Errorf("schemas: encode entry %d: %w", e.Seq, err)
	}
	return b, nil
}

// slowEntry decodes any entry.
func slowEntry(b []byte) (Entry, error) {
	var w wireEntry
	if err := decode(b, &w.V, &w); err != nil {
		return Entry{}, err
	}
	e := Entry{
		Kind: w.Kind, Prev: w.Prev, Life: w.Life, Seq: w.Seq, Session: w.Session, Config: w.Config, OpenGOP: w.OpenGOP,
		Start: fromMicros(w.Start), Media: w.Media, Duration: w.Duration, Bytes: w.Bytes,
		Epoch: w.Epoch, Partition: w.Partition, First: w.First, Last: w.Last, Chunks: w.Chunks,
		Lost: Lost{Packets: w.Packets, Units: w.Units}, Ended: w.Ended, Reason: w.Reason,
		Absent: w.Absent, AbsentReason: w.AbsentWhy, Writer: w.Writer, Host: w.Host, From: w.From, Unit: w.Unit,
		Processor: w.Processor, Attempt: w.Attempt, Role: w.Role, Note: w.Note,
	}
	if w.Layout != nil {
		e.Layout = Layout(*w.Layout)
	}
	if w.Source != nil {
		e.Source = Copy(*w.Source)
	}
	if len(w.Run) > 0 {
		e.Run = &GapRun{}
		for _, r := range w.Run {
			if have := len(e.Run.Durations); r[0] < 1 || r[0] > int64(MaxGapRun-have) {
				return Entry{}, fmt.Errorf("entry %d: a run of gaps goes on with %d seqs after %d, at most %d", e.Seq, r[0], have, MaxGapRun)
			}
			e.Run.Durations = append(e.Run.Durations, slices.Repeat([]int64{r[1]}, int(r[0]))...)
		}
	}
	return e, nil
}
