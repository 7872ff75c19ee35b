// Package schemas is the contract of the log: topic names, records, and their
// encoding. It imports nothing else of Framelog; everything else imports it.
//
// docs/wire-format.md has the wire format for readers and processors in other
// languages, and docs/examples has two in Python. The files
// testdata/*.golden have the bytes of each version, and testdata/*.json the same as
// text. The bytes are never edited: a change of them needs a new version.
//
// Units. Public time is wall-clock time in microseconds since the Unix epoch.
// Media time is in ticks of a track's timescale; where no track is named, of
// [MediaTimescale] (1/90000 s), the clock of video over RTP (RFC 3551).
package schemas
