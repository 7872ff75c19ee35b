// Package cmaf makes fragmented MP4 of the log's chunks, as CMAF has it
// (ISO/IEC 23000-19): [Init] makes the header of a decoder configuration,
// [Chunk] a CMAF chunk of a chunk of the log, and [Segment] the CMAF segment of
// a fragment, which is its chunks, one after the other. [Gap] makes a segment
// without a picture for footage that is missing.
//
// All of them are functions of their arguments alone: whoever makes the bytes
// makes the same bytes. They are kept under URLs and in files that never change,
// so golden files hold them (testdata), and [Version] names them.
package cmaf

// Version names the bytes that this package makes of the same log. It stands in
// every media URL, so that a URL means the same bytes for as long as the log
// holds them. A change that alters the golden files, such as an upgrade of a
// library, needs a new version.
const Version = "m1"
