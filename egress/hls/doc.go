// Package hls serves a log's cameras over HTTP Live Streaming (RFC 8216 and
// its second edition, draft-pantos-hls-rfc8216bis), plain and low latency.
//
// HLS is a function of the log. One fragment is one segment, one chunk is one
// part, the media sequence number is the fragment's seq and the discontinuity
// sequence number its session. [Playlist], [Multivariant], [Init], [Part] and
// [Segment] are that function, without clock or state; [Server] is the small
// handler around them: one tail a camera that all its viewers share (model.go
// holds what it told, stream.go drives it), and segments out of a cache, or made
// from the log on request (rebuild.go), or, where asked for, out of files that a
// web server gives out by itself too (files.go).
//
// No byte of media is held twice: a segment is the list of its parts, and what
// is a file is not in memory. Of a camera that is followed there are the parts
// of the fragment in progress and the newest segment; see keepTargets.
//
// Segments, parts and inits have the same bytes at the same URL on any server
// for as long as the log holds them.
package hls
