// Package hls serves a log's cameras over HTTP Live Streaming (RFC 8216 and
// its second edition, draft-pantos-hls-rfc8216bis), plain and low latency.
//
// HLS is a function of the log. One fragment is one segment, one chunk is one part,
// the media sequence number is the fragment's seq and the discontinuity sequence
// number its session. [Playlist] and [Multivariant] make the playlists, package
// cmaf makes the media; they have no clock and no state. [Server] is the handler
// around them (handler.go). All viewers of a camera share one tail of it
// (stream.go), and a model holds what the tail has delivered (model.go). A segment
// comes from memory (cache.go), from a file (files.go), or from the log
// (loader.go).
//
// No byte of media is held twice: a segment is the list of its parts, and a segment
// that is a file is not in memory. For a followed camera the parts of the
// unfinished fragment and the newest segment are in memory; see keepTargets.
//
// Segments, parts and inits have the same bytes at the same URL on any server for
// as long as the log holds them.
//
// A rendition is served as the camera's own footage (raw) is, with the same code and a
// playlist of its own. renditions.go knows which renditions exist. A rendition of timed
// metadata has no parts.
//
// There is no HLS for MJPEG, since browsers do not play it in HLS: the playlists of
// a camera that sends MJPEG are 406, and in the playlist of a camera that has
// changed its codec MJPEG footage is a gap. Segments and inits of MJPEG exist at
// their URLs.
//
// Package egress decides who may read, and sends the CORS headers.
package hls
