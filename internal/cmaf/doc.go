// Package cmaf makes fragmented MP4 from the log's chunks, in the form of CMAF
// (ISO/IEC 23000-19). [Init] makes the header of a decoder configuration,
// [Chunk] a CMAF chunk of a chunk of the log, and [Segment] the CMAF segment of
// a fragment: its CMAF chunks, one after the other. [Gap] makes a segment
// without a picture for missing footage. [File] makes the header of a plain MP4 file that
// holds segments. Timed metadata is a track of its own (ISO/IEC
// 14496-12, handler `meta`, sample entry `mett`).
//
// The results depend on the arguments only, so all processes make the same
// bytes. These bytes are kept in files and under URLs that never change. So
// golden files (testdata) check them, and [Version] names their version.
package cmaf

// Version names the bytes that this package makes from the same log. It is in
// every media URL, so that a URL means the same bytes for as long as the log
// holds them. A change that alters the golden files, such as an upgrade of a
// library, needs a new version.
const Version = "m1"
