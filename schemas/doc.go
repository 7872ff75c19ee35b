// Package schemas is the contract of the log: topic names, the records that
// stand in them, and how they are written down as bytes. It imports nothing
// else of Framelog; everything else imports it.
//
// The wire format for readers in other languages is docs/wire-format.md. The
// bytes of each version are held by testdata/*.golden, which are never edited:
// a change that alters them needs a new version.
//
// Units. Public time is wall-clock time in microseconds since the Unix epoch.
// Media time is in ticks of a track's timescale; where no track is named, of
// [MediaTimescale] (1/90000 s), the clock of video over RTP (RFC 3551).
package schemas
